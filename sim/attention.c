/* SPDX-License-Identifier: Apache-2.0 */
/* KV_WRITE and ATTENTION over paged keys and values. kernels/README.md is the spec of the order of operations. */
#include "kernels/abi/card_math.h"
#include "sim/internal.h"
#include "sim/lanes.h"

#include <string.h>

/* Where token `position`'s page is in the layer's pool. */
static size_t page_offset(const struct sim_step *step, uint32_t token, uint32_t page, uint32_t kv_heads)
{
    uint32_t number = sim_step_pages(step)[(size_t)sim_step_batch(step)[token].first_page + page];
    return (size_t)number * card_page_bytes(step->d->format, kv_heads, step->d->cols);
}

/* ---- KV_WRITE: items are KV heads, so two tokens that name one slot write it in the order of the batch ---- */

SIM_CLONES
static void store_elements(uint8_t *to, const float *from, uint32_t n, unsigned format)
{
    if (format == CARD_FORMAT_F32) {
        memcpy(to, from, (size_t)n * 4);
        return;
    }
    uint32_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        uint16_t half[LANES];
        for (unsigned l = 0; l < LANES; l++) half[l] = card_f32_to_f16(from[i + l]);
        memcpy(to + (size_t)i * 2, half, sizeof half);
    }
    for (; i < n; i++) {
        uint16_t half = card_f32_to_f16(from[i]);
        memcpy(to + (size_t)i * 2, &half, 2);
    }
}

static void kv_write_part(void *job, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct sim_step *step = job;
    const struct card_descriptor *d = step->d;
    const size_t element = card_kv_element_bytes(d->format);
    const size_t values = (size_t)d->rows * CARD_PAGE_TOKENS * d->cols * element;
    for (uint32_t t = 0; t < d->tokens; t++) {
        uint32_t position = sim_step_batch(step)[t].position;
        uint8_t *page = (uint8_t *)step->dst + page_offset(step, t, position / CARD_PAGE_TOKENS, d->rows);
        for (uint32_t h = begin; h < end; h++) {
            size_t from = ((size_t)t * d->rows + h) * d->cols;
            size_t to = ((size_t)h * CARD_PAGE_TOKENS + position % CARD_PAGE_TOKENS) * d->cols * element;
            store_elements(page + to, (const float *)step->src + from, d->cols, d->format);
            store_elements(page + values + to, (const float *)step->weight + from, d->cols, d->format);
        }
    }
}

void sim_kv_write(struct pool *pool, const struct sim_step *step, void *scratch)
{
    (void)scratch;
    uint64_t work = 4ull * step->d->tokens * step->d->cols;
    pool_run(pool, step->d->rows, sim_grain(work), kv_write_part, (void *)step);
}

/* ---- ATTENTION: items are (run of tokens, KV head) ---- */

/* A run is neighbouring tokens of one sequence: a page is made floats once for all of them. */
#define RUN_TOKENS 16u

/* Running state of one query head of one token: largest score so far and the sum of exp(score - largest). */
struct softmax {
    float largest, sum;
};

struct attention {
    const struct sim_step *step;
    uint8_t *scratch;     /* of all workers */
    size_t scratch_bytes; /* of one */
    uint32_t *run;        /* first token of each run, and one past the last token */
};

/* Of one worker: keys and values of one page as floats, then the states of a run's heads. */
static uint64_t worker_scratch(const struct card_descriptor *d)
{
    uint64_t page = 2ull * CARD_PAGE_TOKENS * d->cols * sizeof(float);
    uint64_t states = (uint64_t)RUN_TOKENS * (d->rows / d->param[2]) * sizeof(struct softmax);
    return card_round_up(page + states, 64);
}

uint64_t sim_attention_scratch(const struct card_descriptor *d, unsigned threads)
{
    return worker_scratch(d) * threads + ((uint64_t)d->tokens + 1) * sizeof(uint32_t);
}

/* Elements [from, to) as floats, in their place in `floats`; F32 pages are used where they lie. */
SIM_CLONES
static const float *page_floats(const uint8_t *page, unsigned format, size_t from, size_t to, float *floats)
{
    if (format == CARD_FORMAT_F32) return (const float *)(const void *)page;
    const uint16_t *half = (const uint16_t *)(const void *)page;
    size_t i = from;
    for (; i + LANES <= to; i += LANES) {
        for (unsigned l = 0; l < LANES; l++) floats[i + l] = card_f16_to_f32(half[i + l]);
    }
    for (; i < to; i++) floats[i] = card_f16_to_f32(half[i]);
    return floats;
}

/* Adds positions [from, to) of a page to one query head's softmax and weighted sum (acc[n]). */
SIM_CLONES
static void attend_page(struct softmax *state, float *restrict acc, const float *query, const float *key,
                        const float *value, uint32_t from, uint32_t to, uint32_t n, float scale)
{
    float score[CARD_PAGE_TOKENS] = {0};
    float largest = state->largest;
    for (uint32_t s = from; s < to; s++) {
        score[s] = lanes_dot(query, key + (size_t)s * n, n) * scale;
        largest = score[s] > largest ? score[s] : largest;
    }
    /* Before the first finite score the sums are zeros, and -infinity - -infinity would spoil them. */
    float rescale = state->largest == -CARD_INFINITY ? 0.0f : card_exp(state->largest - largest);
    float sum = state->sum * rescale;
    /* All 32, as that vectorizes; only those of [from, to) are used. */
    for (uint32_t s = 0; s < CARD_PAGE_TOKENS; s++) score[s] = card_exp(score[s] - largest);
    for (uint32_t s = from; s < to; s++) sum += score[s];
    uint32_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        float lane[LANES];
        for (unsigned l = 0; l < LANES; l++) lane[l] = acc[i + l] * rescale;
        for (uint32_t s = from; s < to; s++) {
            const float *v = value + (size_t)s * n + i;
            for (unsigned l = 0; l < LANES; l++) lane[l] = card_fma(score[s], v[l], lane[l]);
        }
        memcpy(acc + i, lane, sizeof lane);
    }
    for (; i < n; i++) {
        acc[i] *= rescale;
        for (uint32_t s = from; s < to; s++) acc[i] = card_fma(score[s], value[(size_t)s * n + i], acc[i]);
    }
    state->largest = largest;
    state->sum = sum;
}

/* The query heads of one KV head, of one token, over page p of its sequence; key and value: the page as floats. */
static void attend_token(const struct sim_step *step, uint32_t token, uint32_t kv_head, uint32_t p, const float *key,
                         const float *value, struct softmax *state)
{
    const struct card_descriptor *d = step->d;
    const uint32_t n = d->cols, group = d->rows / d->param[2], start = p * CARD_PAGE_TOKENS;
    const uint32_t position = sim_step_batch(step)[token].position, first = sim_step_first_seen(step, position);
    const size_t head = (size_t)token * d->rows + (size_t)kv_head * group;
    if (position < start || first >= start + CARD_PAGE_TOKENS) return;
    const uint32_t from = first > start ? first - start : 0;
    const uint32_t to = position - start < CARD_PAGE_TOKENS ? position - start + 1 : CARD_PAGE_TOKENS;
    for (uint32_t h = 0; h < group; h++) {
        attend_page(&state[h], (float *)step->dst + (head + h) * n, (const float *)step->src + (head + h) * n, key,
                    value, from, to, n, sim_step_float(step, 1));
    }
}

/* First and last position that a run's tokens see. */
static void run_span(const struct sim_step *step, uint32_t begin, uint32_t end, uint32_t *first, uint32_t *last)
{
    *first = UINT32_MAX;
    *last = 0;
    for (uint32_t t = begin; t < end; t++) {
        const uint32_t position = sim_step_batch(step)[t].position, seen = sim_step_first_seen(step, position);
        *first = seen < *first ? seen : *first;
        *last = position > *last ? position : *last;
    }
}

/* Tokens [begin, end) of one run for one KV head. */
static void attend_run(const struct sim_step *step, uint32_t begin, uint32_t end, uint32_t kv_head, float *key_floats)
{
    const struct card_descriptor *d = step->d;
    const uint32_t n = d->cols, kv_heads = d->param[2], group = d->rows / kv_heads;
    const size_t elements = (size_t)CARD_PAGE_TOKENS * n, head_bytes = elements * card_kv_element_bytes(d->format);
    float *value_floats = key_floats + elements;
    struct softmax *state = (struct softmax *)(void *)(value_floats + elements);
    uint32_t first, last;
    run_span(step, begin, end, &first, &last);
    for (uint32_t i = 0; i < (end - begin) * group; i++) state[i] = (struct softmax){.largest = -CARD_INFINITY};
    for (uint32_t t = begin; t < end; t++) {
        float *acc = (float *)step->dst + ((size_t)t * d->rows + (size_t)kv_head * group) * n;
        memset(acc, 0, (size_t)group * n * sizeof *acc);
    }
    for (uint32_t p = first / CARD_PAGE_TOKENS; p <= last / CARD_PAGE_TOKENS; p++) {
        const uint32_t start = p * CARD_PAGE_TOKENS;
        const uint8_t *page = (const uint8_t *)step->weight + page_offset(step, begin, p, kv_heads);
        const size_t from = first > start ? (size_t)(first - start) * n : 0;
        const size_t to = last - start < CARD_PAGE_TOKENS ? (size_t)(last - start + 1) * n : elements;
        const float *key = page_floats(page + kv_head * head_bytes, d->format, from, to, key_floats);
        const float *value = page_floats(page + (kv_heads + kv_head) * head_bytes, d->format, from, to, value_floats);
        for (uint32_t t = begin; t < end; t++) {
            attend_token(step, t, kv_head, p, key, value, state + (size_t)(t - begin) * group);
        }
    }
    for (uint32_t i = 0; i < (end - begin) * group; i++) {
        const size_t head = (size_t)(begin + i / group) * d->rows + (size_t)kv_head * group + i % group;
        float *acc = (float *)step->dst + head * n;
        const float inverse = card_recip(state[i].sum);
        for (uint32_t k = 0; k < n; k++) acc[k] *= inverse;
    }
}

static void attention_part(void *job, uint32_t begin, uint32_t end, unsigned worker)
{
    const struct attention *attention = job;
    const uint32_t kv_heads = attention->step->d->param[2];
    float *scratch = (float *)(void *)(attention->scratch + worker * attention->scratch_bytes);
    for (uint32_t i = begin; i < end; i++) {
        const uint32_t *run = attention->run + i / kv_heads;
        attend_run(attention->step, run[0], run[1], i % kv_heads, scratch);
    }
}

/*
 * Cuts the step into runs. A token that sees pages which no neighbour of the run sees would read page numbers that were
 * not checked for the run's first token, so a run's first pages and positions ascend without gaps.
 */
static uint32_t cut_runs(const struct sim_step *step, uint32_t *run)
{
    const struct card_batch_token *batch = sim_step_batch(step);
    uint32_t n = 0;
    for (uint32_t t = 0; t < step->d->tokens; t++) {
        const int follows = t > 0 && batch[t].first_page == batch[t - 1].first_page &&
                            batch[t].position == batch[t - 1].position + 1 && t - run[n - 1] < RUN_TOKENS;
        if (!follows) run[n++] = t;
    }
    run[n] = step->d->tokens;
    return n;
}

void sim_attention(struct pool *pool, const struct sim_step *step, void *scratch)
{
    const struct card_descriptor *d = step->d;
    struct attention attention = {.step = step, .scratch = scratch, .scratch_bytes = worker_scratch(d)};
    attention.run = (uint32_t *)(void *)(attention.scratch + attention.scratch_bytes * pool_threads(pool));
    const uint32_t runs = cut_runs(step, attention.run);
    uint64_t positions = (uint64_t)sim_step_batch(step)[d->tokens - 1].position + 1;
    uint64_t work = 2 * positions * d->cols * (d->rows / d->param[2]) * (d->tokens / runs);
    pool_run(pool, runs * d->param[2], sim_grain(work), attention_part, &attention);
}
