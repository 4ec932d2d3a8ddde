/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/special.h"
#include "host/base/memory.h"
#include "host/text/character.h"
#include "host/text/utf8.h"

#include <string.h>

int special_add(struct special *special, const struct special_name *name, struct error *err)
{
    if (name->length == 0) return 0;
    if (special->n_names == special->room) {
        uint32_t room = special->room ? special->room * 2 : 64;
        struct special_name *names = memory_grow(special->names, room, sizeof *names);
        if (!names) return error_set(err, ERROR_NO_MEMORY, "vocabulary: out of memory for special tokens");
        special->names = names;
        special->room = room;
    }
    special->names[special->n_names++] = *name;
    special->starts[(uint8_t)name->text[0]] = true;
    return 0;
}

int special_add_all(struct special *special, const struct vocabulary *vocabulary, struct error *err)
{
    int status = 0;
    for (uint32_t id = 0; !status && id < vocabulary->n_tokens; id++) {
        const struct vocabulary_token *token = &vocabulary->tokens[id];
        bool user = token->type == TOKEN_USER_DEFINED;
        if (!user && token->type != TOKEN_CONTROL && token->type != TOKEN_UNKNOWN) continue;
        struct special_name name = {.text = token->text, .length = token->length, .id = id, .is_special = !user};
        status = special_add(special, &name, err);
    }
    return status;
}

int special_finish(struct special *special, struct error *err)
{
    struct trie_entry *entries = memory_array(special->n_names, sizeof *entries);
    if (!entries) return error_set(err, ERROR_NO_MEMORY, "vocabulary: out of memory for special tokens");
    for (uint32_t i = 0; i < special->n_names; i++)
        entries[i] = (struct trie_entry){special->names[i].text, special->names[i].length, i};
    int status = trie_open(entries, special->n_names, &special->trie, err);
    free(entries);
    return status;
}

void special_close(struct special *special)
{
    free(special->names);
    trie_close(&special->trie);
    *special = (struct special){0};
}

/* The longest name that text[0..length) starts with. */
static bool longest_at(const struct special *special, const char *text, size_t length, struct special_match *match)
{
    uint32_t node = 0;
    bool found = false;
    for (size_t depth = 0; depth < length; depth++) {
        node = trie_step(&special->trie, node, (uint8_t)text[depth]);
        if (node == 0) break;
        uint32_t index = special->trie.nodes[node].id;
        if (index == TOKEN_NONE) continue;
        match->length = depth + 1;
        match->name = &special->names[index];
        match->id = match->name->id;
        found = true;
    }
    return found;
}

/* The character that ends before end, which is above floor; its length, or 0 if it is none. */
static unsigned character_before(const char *text, size_t floor, size_t end, uint32_t *c)
{
    size_t start = end;
    while (start > floor && end - start < 4)
        if (((uint8_t)text[--start] & 0xc0) != 0x80) break;
    unsigned n;
    if (start == end || utf8_scan((const uint8_t *)text + start, end - start, &n) != UTF8_CHARACTER || start + n != end)
        return 0;
    *c = utf8_decode((const uint8_t *)text + start, n);
    return n;
}

static unsigned character_after(const char *text, size_t length, size_t start, uint32_t *c)
{
    unsigned n;
    if (start == length || utf8_scan((const uint8_t *)text + start, length - start, &n) != UTF8_CHARACTER) return 0;
    *c = utf8_decode((const uint8_t *)text + start, n);
    return n;
}

static bool stands_alone(const char *text, size_t length, const struct special_match *match)
{
    uint32_t c;
    if (character_before(text, 0, match->start, &c) && character_is_word(c)) return false;
    return !(character_after(text, length, match->start + match->length, &c) && character_is_word(c));
}

bool special_find(const struct special *special, const char *text, size_t length, size_t from, bool parse_special,
                  struct special_match *match)
{
    if (!special->n_names) return false;
    for (size_t i = from; i < length;) {
        match->start = i;
        if (!special->starts[(uint8_t)text[i]] || !longest_at(special, text + i, length - i, match)) {
            i++;
            continue;
        }
        bool wanted = parse_special || !match->name->is_special;
        if (wanted && (!match->name->is_single_word || stands_alone(text, length, match))) return true;
        i += match->length;
    }
    return false;
}

void special_widen(const char *text, size_t length, size_t floor, struct special_match *match)
{
    uint32_t c;
    unsigned n;
    size_t end = match->start + match->length;
    while (match->name->eats_left && (n = character_before(text, floor, match->start, &c)) > 0 && character_is_space(c))
        match->start -= n;
    while (match->name->eats_right && (n = character_after(text, length, end, &c)) > 0 && character_is_space(c))
        end += n;
    match->length = end - match->start;
}
