/* SPDX-License-Identifier: Apache-2.0 */
/* The float reference: what remembers a sequence in a state, the gated delta rule and the causal convolution. */
#include "host/card/card_ref.h"

/* One token of one head; state is f32[keys][values]. decay has one number, or one for each key dimension (each). */
struct scan_head {
    float *state;
    const float *query, *key, *value, *decay;
    double beta;
    uint32_t keys, values;
    int each;
};

static void scan_token(const struct scan_head *h, float *dst)
{
    for (size_t j = 0; j < h->values; j++) {
        double known = 0, out = 0;
        for (size_t i = 0; i < h->keys; i++) {
            float *state = &h->state[i * h->values + j];
            *state = (float)(*state * exp(h->decay[h->each ? i : 0]));
            known += (double)h->key[i] * *state;
        }
        const double delta = (h->value[j] - known) * h->beta;
        for (size_t i = 0; i < h->keys; i++) {
            float *state = &h->state[i * h->values + j];
            *state = (float)(*state + h->key[i] * delta);
            out += (double)h->query[i] * *state;
        }
        dst[j] = (float)out;
    }
}

void ref_scan(const struct sim_step *s)
{
    const struct card_descriptor *d = s->d;
    const uint32_t heads = d->rows, keys = d->cols, values = d->param[1], key_heads = d->param[2];
    const int each = sim_step_has(s, CARD_FLAG_EACH);
    for (size_t t = 0; t < d->tokens; t++) {
        const struct card_batch_token *token = &sim_step_batch(s)[t];
        for (size_t h = 0; h < heads; h++) {
            const size_t row = t * heads + h, state = (size_t)token->state * heads + h;
            const size_t shared = sim_step_has(s, CARD_FLAG_INTERLEAVED) ? h % key_heads : h / (heads / key_heads);
            const struct scan_head head = {
                .state = (float *)s->e_dst + state * keys * values,
                .query = ref_row(s->src, t * key_heads + shared, keys),
                .key = ref_row(s->weight, t * key_heads + shared, keys),
                .value = ref_row(s->e_src, row, values),
                .decay = ref_row(s->e_weight, row, each ? keys : 1),
                .beta = *ref_row(s->e_aux, row, 1),
                .keys = keys,
                .values = values,
                .each = each,
            };
            if (token->position == 0) memset(head.state, 0, (size_t)keys * values * 4);
            scan_token(&head, ref_result(s, row, values));
        }
    }
}

void ref_conv(const struct sim_step *s)
{
    const struct card_descriptor *d = s->d;
    const size_t n = d->cols, width = d->param[1], kept = width - 1;
    for (size_t t = 0; t < d->tokens; t++) {
        const struct card_batch_token *token = &sim_step_batch(s)[t];
        const float *src = ref_row(s->src, t, n);
        float *state = (float *)s->e_dst + token->state * kept * n;
        if (token->position == 0) memset(state, 0, kept * n * 4);
        for (size_t c = 0; c < n; c++) {
            const float *weight = ref_row(s->weight, c, width);
            double sum = (double)weight[kept] * src[c];
            for (size_t k = 0; k < kept; k++) sum += (double)weight[k] * state[k * n + c];
            ref_result(s, t, n)[c] = (float)(sum + (s->e_src ? *ref_row(s->e_src, c, 1) : 0));
        }
        memmove(state, state + n, (kept - 1) * n * 4);
        memcpy(state + (kept - 1) * n, src, n * 4);
    }
}
