/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of a profile with their sources, as its file has them: for reports. */
#include "bitstreams/profiles/profile_parts.h"

#include <stdio.h>
#include <string.h>

struct figures {
    void (*figure)(void *context, const struct profile_figure *figure);
    void *context;
};

static void tell(const struct figures *to, const char *path, const json_t *number)
{
    char value[64], source[640];
    const char *note = json_string_value(json_object_get(number, "note"));
    const char *disputed = json_string_value(json_object_get(number, "disputed"));
    snprintf(value, sizeof value, "%.10g %s", json_number_value(json_object_get(number, "value")),
             json_string_value(json_object_get(number, "unit")));
    snprintf(source, sizeof source, "%s%s%s%s%s", json_string_value(json_object_get(number, "source")),
             note ? "; " : "", note ? note : "", disputed ? "; disputed: " : "", disputed ? disputed : "");
    to->figure(to->context, &(struct profile_figure){path, value, source});
}

/* A profile that was read without a mistake: its depth is that of its tables, and objects with a value are numbers. */
static void walk(const struct figures *to, const json_t *node, const char *path)
{
    const char *key;
    json_t *child;
    char full[128];
    if (json_is_object(node) && json_object_get(node, "value")) {
        tell(to, path, node);
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)node, key, child)
    {
        profile_path(full, sizeof full, path, key);
        if (strcmp(key, "notes") != 0) walk(to, child, full);
    }
    for (size_t i = 0; i < json_array_size(node); i++) {
        snprintf(full, sizeof full, "%s[%zu]", path, i);
        walk(to, json_array_get(node, i), full);
    }
}

static int figures_of(enum profile_kind kind, const char *name, const struct figures *to, struct error *err)
{
    struct profile_file file;
    json_t *root;
    int status = profile_file_open(kind, name, &file, err);
    if (status < 0) return status;
    const struct profile_reader reader = {file.text, file.n_bytes, file.label, err};
    status = profile_load(&reader, &root);
    if (status >= 0) {
        walk(to, root, "");
        json_decref(root);
    }
    profile_file_close(&file);
    return status;
}

int card_profile_figures(const char *name, void (*figure)(void *context, const struct profile_figure *figure),
                         void *context, struct error *err)
{
    const struct figures to = {figure, context};
    struct card_profile card; /* refuses what walk could not cope with */
    int status = card_profile_open(name, &card, err);
    if (status >= 0) status = figures_of(PROFILE_CARD, name, &to, err);
    if (status >= 0) status = figures_of(PROFILE_KERNELS, card.kernels, &to, err);
    return status;
}

int host_profile_figures(const char *name, void (*figure)(void *context, const struct profile_figure *figure),
                         void *context, struct error *err)
{
    const struct figures to = {figure, context};
    struct host_profile host;
    int status = host_profile_open(name, &host, err);
    return status < 0 ? status : figures_of(PROFILE_HOST, name, &to, err);
}
