/* SPDX-License-Identifier: Apache-2.0 */
#include "host/engine/kv_format.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    unsigned format;
} formats[] = {
    {"f16", CARD_FORMAT_F16},
    {"int8", CARD_FORMAT_INT8},
    {"int4", CARD_FORMAT_INT4},
    {"f32", CARD_FORMAT_F32},
};
enum { N_FORMATS = sizeof formats / sizeof formats[0] };

unsigned kv_format_find(const char *name)
{
    for (int i = 0; i < N_FORMATS; i++)
        if (strcmp(formats[i].name, name) == 0) return formats[i].format;
    return 0;
}

const char *kv_format_name(unsigned format)
{
    for (int i = 0; i < N_FORMATS; i++)
        if (formats[i].format == format) return formats[i].name;
    return "unknown";
}

int kv_format_check(unsigned format, const struct card_info *info, struct error *err)
{
    char list[64] = "none";
    size_t used = 0;
    if (format == 0 || (format < 32 && info->kv_formats >> format & 1u)) return 0;
    for (int i = 0; i < N_FORMATS; i++) {
        if (info->kv_formats >> formats[i].format & 1u)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", formats[i].name);
    }
    return error_set(err, ERROR_UNSUPPORTED, "the %s card has no KV pages in %s; it has %s (--kv)", info->backend,
                     kv_format_name(format), list);
}
