/* SPDX-License-Identifier: Apache-2.0 */
#include "host/engine/draft_load.h"

#include "host/experts/experts.h"

#include <string.h>

/* The first token that two lists of strings do not share; the shorter one's length if there is none. */
static uint64_t first_difference(const struct gguf_value *a, const struct gguf_value *b)
{
    const uint64_t n = a->count < b->count ? a->count : b->count;
    struct gguf_cursor at = {0}, bt = {0};
    struct gguf_string x, y;
    for (uint64_t i = 0; i < n; i++) {
        if (gguf_next_string(a, &at, &x) <= 0 || gguf_next_string(b, &bt, &y) <= 0) return i;
        if (x.length != y.length || memcmp(x.bytes, y.bytes, x.length) != 0) return i;
    }
    return n;
}

/* Drafts in another vocabulary would all be wrong. Lists of different lengths are padded: the shorter one decides. */
static int check_vocabulary(const struct model *draft, const struct model *target, struct error *err)
{
    const struct gguf_value *a = gguf_find(model_file(draft), "tokenizer.ggml.tokens");
    const struct gguf_value *b = gguf_find(model_file(target), "tokenizer.ggml.tokens");
    if (!a || !b) return 0;
    const uint64_t shorter = a->count < b->count ? a->count : b->count, same = first_difference(a, b);
    if (same == shorter) return 0;
    return error_set(err, ERROR_UNSUPPORTED,
                     "%s cannot draft for %s: their vocabularies differ at token %llu (--draft)", model_name(draft),
                     model_name(target), (unsigned long long)same);
}

static int load_model(const struct draft_load_options *options, const struct model *target, struct card *card,
                      struct draft_load *out, struct error *err)
{
    const struct model_load_options how = {.threads = options->threads, .experts_resident = true};
    int status = model_open(options->model_path, &out->model, err);
    if (status == 0) status = check_vocabulary(out->model, target, err);
    if (status == 0) status = experts_load(out->model, card, &how, &out->loaded, err);
    if (status == 0) status = draft_model_make(out->loaded, &out->source, err);
    return status;
}

int draft_load(const struct draft_load_options *options, const struct model *target, struct card *card,
               struct draft_load *out, struct error *err)
{
    int status = 0;
    *out = (struct draft_load){0};
    if (options->model_path)
        status = load_model(options, target, card, out, err);
    else if (options->lookup)
        status = draft_lookup_make(&out->source, err);
    if (status < 0) draft_load_close(out);
    return status;
}

void draft_load_close(struct draft_load *load)
{
    draft_source_close(load->source);
    loaded_model_close(load->loaded);
    model_close(load->model);
    *load = (struct draft_load){0};
}
