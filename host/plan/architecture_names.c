/* SPDX-License-Identifier: Apache-2.0 */
/* The built-in architectures (architectures/ and architecture_files.S): one JSON object each, parsed when asked for. */
#include "host/plan/architecture_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

extern const char sluice_architectures[], sluice_architectures_end[];

/* The entry that starts at *place, which moves behind it. NULL after the last. Owned: json_decref. */
static json_t *next_entry(const char **place)
{
    size_t left = (size_t)(sluice_architectures_end - *place);
    while (left > 0 && isspace((unsigned char)**place)) {
        ++*place;
        left--;
    }
    if (left == 0) return NULL;
    json_error_t fault;
    json_t *entry = json_loadb(*place, left, JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, &fault);
    if (entry != NULL) *place += fault.position;
    return entry;
}

static const char *text_of(const json_t *entry, const char *key)
{
    const char *text = json_string_value(json_object_get(entry, key));
    return text != NULL ? text : "";
}

/* Letters without case; what people write between the parts of a name counts as one sign. */
static bool same_name(const char *a, const char *b)
{
    for (;; a++, b++) {
        char x = (char)tolower((unsigned char)*a), y = (char)tolower((unsigned char)*b);
        if (strchr("_ :", x) != NULL && x != '\0') x = '-';
        if (strchr("_ :", y) != NULL && y != '\0') y = '-';
        if (x != y) return false;
        if (x == '\0') return true;
    }
}

static bool is_called(const json_t *entry, const char *name)
{
    size_t index;
    json_t *alias;
    if (same_name(text_of(entry, "name"), name)) return true;
    json_array_foreach(json_object_get(entry, "aliases"), index,
                       alias) if (same_name(json_string_value(alias), name)) return true;
    return false;
}

static int unknown_name(const char *name, struct error *err)
{
    char names[400];
    size_t used = 0;
    const char *place = sluice_architectures;
    for (json_t *entry; (entry = next_entry(&place)) != NULL; json_decref(entry)) {
        if (json_object_get(entry, "missing") != NULL || used >= sizeof names) continue;
        int n = snprintf(names + used, sizeof names - used, "%s%s", used == 0 ? "" : ", ", text_of(entry, "name"));
        used += n > 0 ? (size_t)n : 0;
    }
    return error_set(err, ERROR_NOT_FOUND, "no architecture is called %.60s (there are: %s)", name, names);
}

static int read_entry(json_t *entry, struct architecture **out, struct error *err)
{
    const char *name = text_of(entry, "name");
    if (json_object_get(entry, "missing") != NULL)
        return error_set(err, ERROR_NOT_FOUND, "%s is left out: %s", name, text_of(entry, "missing"));
    int result = config_json_object(json_object_get(entry, "config"), "", name, out, err);
    if (result == 0) architecture_put_text((*out)->source, sizeof(*out)->source, text_of(entry, "source"));
    return result;
}

int architecture_by_name(const char *name, struct architecture **out, struct error *err)
{
    const char *place = sluice_architectures;
    for (json_t *entry; (entry = next_entry(&place)) != NULL; json_decref(entry)) {
        if (!is_called(entry, name)) continue;
        int result = read_entry(entry, out, err);
        json_decref(entry);
        return result;
    }
    return unknown_name(name, err);
}

bool architecture_list(size_t index, struct architecture_name *out)
{
    const char *place = sluice_architectures;
    for (json_t *entry; (entry = next_entry(&place)) != NULL; json_decref(entry)) {
        if (index-- > 0) continue;
        architecture_put_text(out->name, sizeof out->name, text_of(entry, "name"));
        architecture_put_text(out->source, sizeof out->source, text_of(entry, "source"));
        architecture_put_text(out->missing, sizeof out->missing, text_of(entry, "missing"));
        json_decref(entry);
        return true;
    }
    return false;
}
