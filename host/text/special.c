/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/special.h"
#include "host/base/memory.h"

#include <string.h>

static bool is_special(const struct vocabulary_token *token)
{
    return token->length &&
           (token->type == TOKEN_CONTROL || token->type == TOKEN_UNKNOWN || token->type == TOKEN_USER_DEFINED);
}

static int compare_texts(const void *a, const void *b, void *context)
{
    const struct vocabulary *vocabulary = context;
    const struct vocabulary_token *left = &vocabulary->tokens[*(const uint32_t *)a];
    const struct vocabulary_token *right = &vocabulary->tokens[*(const uint32_t *)b];
    size_t common = left->length < right->length ? left->length : right->length;
    int order = memcmp(left->text, right->text, common);
    return order ? order : (left->length > right->length) - (left->length < right->length);
}

int special_open(const struct vocabulary *vocabulary, struct special *special, struct error *err)
{
    *special = (struct special){.vocabulary = vocabulary};
    uint32_t n = 0;
    for (uint32_t id = 0; id < vocabulary->n_tokens; id++) n += is_special(&vocabulary->tokens[id]);
    special->ids = memory_array(n, sizeof *special->ids);
    if (!special->ids) return error_set(err, ERROR_NO_MEMORY, "vocabulary: out of memory for special tokens");
    for (uint32_t id = 0; id < vocabulary->n_tokens; id++) {
        if (!is_special(&vocabulary->tokens[id])) continue;
        special->ids[special->n_ids++] = id;
        special->starts[(uint8_t)vocabulary->tokens[id].text[0]] = true;
    }
    qsort_r(special->ids, n, sizeof *special->ids, compare_texts, (void *)(uintptr_t)vocabulary);
    return 0;
}

void special_close(struct special *special)
{
    free(special->ids);
    *special = (struct special){0};
}

/*
 * First index in [low, high) whose byte at depth is at least byte; the names there all agree before depth and go beyond
 * it.
 */
static uint32_t lower_bound(const struct special *special, uint32_t low, uint32_t high, size_t depth, unsigned byte)
{
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if ((uint8_t)special->vocabulary->tokens[special->ids[middle]].text[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest name that text[0..length) starts with. Narrows the range of names by one byte of the text at a time. */
static bool longest_at(const struct special *special, const char *text, size_t length, bool parse_special,
                       struct special_match *match)
{
    const struct vocabulary_token *tokens = special->vocabulary->tokens;
    uint32_t low = 0, high = special->n_ids;
    bool found = false;
    for (size_t depth = 0; depth < length; depth++) {
        unsigned byte = (uint8_t)text[depth];
        low = lower_bound(special, low, high, depth, byte);
        high = lower_bound(special, low, high, depth, byte + 1);
        if (low == high) break;
        /* The shortest name of the range stands first; if it ends here it is a match, and leaves the range. */
        const struct vocabulary_token *token = &tokens[special->ids[low]];
        if (token->length == depth + 1) {
            if (parse_special || token->type == TOKEN_USER_DEFINED) {
                match->length = depth + 1;
                match->id = special->ids[low];
                found = true;
            }
            if (++low == high) break;
        }
    }
    return found;
}

bool special_find(const struct special *special, const char *text, size_t length, size_t from, bool parse_special,
                  struct special_match *match)
{
    if (!special->n_ids) return false;
    for (size_t i = from; i < length; i++) {
        if (!special->starts[(uint8_t)text[i]]) continue;
        match->start = i;
        if (longest_at(special, text + i, length - i, parse_special, match)) return true;
    }
    return false;
}
