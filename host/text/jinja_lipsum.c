/* SPDX-License-Identifier: Apache-2.0 */
/* lipsum(): paragraphs of filler text. The words are drawn anew by each rendering's generator, alike each time. */
#include "host/text/jinja_eval.h"

#include <ctype.h>
#include <string.h>

static const char *const words[] = {
    "lorem",   "ipsum",  "dolor", "sit",     "amet",    "consectetur", "adipiscing", "elit",   "sed",   "do",
    "eiusmod", "tempor", "ut",    "labore",  "et",      "dolore",      "magna",      "aliqua", "enim",  "ad",
    "minim",   "veniam", "quis",  "nostrud", "ullamco", "nisi",        "aliquip",    "ex",     "ea",    "commodo",
    "duis",    "aute",   "irure", "in",      "velit",   "esse",        "cillum",     "fugiat", "nulla", "pariatur"};

static uint32_t below(struct jinja_run *run, uint32_t n)
{
    run->random ^= run->random << 13;
    run->random ^= run->random >> 17;
    run->random ^= run->random << 5;
    return run->random % n;
}

/* Sentences of 4 to 15 words, now and then with a comma. */
static void put_paragraph(struct jinja_run *run, struct jinja_builder *out, int64_t n_words)
{
    uint32_t left = 0;
    for (int64_t i = 0; i < n_words && jinja_step(run, 1); i++) {
        const char *word = words[below(run, sizeof words / sizeof words[0])];
        const bool begins = left == 0;
        char first = begins ? (char)toupper((unsigned char)word[0]) : word[0];
        if (i > 0) jinja_put_text(run, out, " ");
        jinja_put(run, out, &first, 1);
        jinja_put_text(run, out, word + 1);
        left = begins ? 3 + below(run, 12) : left - 1;
        if (left == 0 || i + 1 == n_words)
            jinja_put_text(run, out, ".");
        else if (below(run, 8) == 0)
            jinja_put_text(run, out, ",");
    }
}

struct jinja_value jinja_lipsum(struct jinja_run *run, struct jinja_call *call)
{
    const int64_t n = jinja_arg_integer(run, call->arg[0], 5), min = jinja_arg_integer(run, call->arg[2], 20),
                  max = jinja_arg_integer(run, call->arg[3], 100);
    const bool html = jinja_arg_true(call->arg[1], true);
    struct jinja_builder out = {0};
    if (!jinja_failed(run) && n > 0 && (min < 0 || max <= min || max > UINT32_MAX))
        jinja_raise(run, "lipsum() needs 0 <= min < max, not %lld and %lld", (long long)min, (long long)max);
    for (int64_t i = 0; i < n && jinja_step(run, 1); i++) {
        if (i > 0) jinja_put_text(run, &out, html ? "\n" : "\n\n");
        if (html) jinja_put_text(run, &out, "<p>");
        put_paragraph(run, &out, min + below(run, (uint32_t)(max - min)));
        if (html) jinja_put_text(run, &out, "</p>");
    }
    return jinja_failed(run) ? jinja_nothing() : jinja_mark(jinja_built(run, &out), html);
}
