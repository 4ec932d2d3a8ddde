/* SPDX-License-Identifier: Apache-2.0 */
/* The table of families. A new one is a file in families/, a declaration in family.h and an entry in both lists here. */
#include "host/model/family.h"

#include <string.h>

static const struct family *const families[] = {&family_llama, &family_qwen2, &family_qwen3, &family_qwen3moe};
static const char *const names[] = {"llama", "qwen2", "qwen3", "qwen3moe", NULL}; /* the same, in the same order */
_Static_assert(sizeof names / sizeof names[0] == sizeof families / sizeof families[0] + 1,
               "every family has a name in the list");

const struct family *family_find(struct gguf_string architecture)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        const char *name = families[i]->architecture;
        if (architecture.length == strlen(name) && memcmp(architecture.bytes, name, architecture.length) == 0)
            return families[i];
    }
    return NULL;
}

const char *const *family_names(void) { return names; }
