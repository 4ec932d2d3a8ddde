/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ATTENTION over paged keys and values; kernels/README.md is the spec of the order of operations. Items are (run of
 * tokens, KV head): a run is neighbouring tokens of one sequence, and a page is unpacked once for all of them.
 */
#include "kernels/abi/card_math.h"
#include "kernels/abi/card_operands.h"
#include "sim/internal.h"
#include "sim/lanes.h"
#include "sim/scores.h"
#include "sim/seen.h"

#include <string.h>

#define RUN_TOKENS 32u

/* What touch_pages brings at most: half of a second cache level of today. */
#define TOUCH_BYTES (512u << 10)

/* Shapes, and where things lie in a page and in a worker's scratch (bytes). */
struct shape {
    unsigned format;
    int latent;
    uint32_t key_dims, value_dims, kv_heads, group;
    size_t key_bytes, value_bytes, page_bytes; /* blocks of one KV head */
    size_t query_bytes;                        /* of one query made integers */
    size_t values, states, queries, scratch;   /* unpacked keys lie at 0; scratch: all of a worker's */
};

struct attention {
    const struct sim_step *step;
    struct shape shape;
    uint8_t *scratch; /* of all workers */
    uint32_t *run;    /* first token of each run, and one past the last token */
};

/* e: the extension or NULL. */
static struct shape shape_of(const struct card_descriptor *d, const struct card_descriptor *e)
{
    struct shape s = {.format = d->format, .key_dims = d->cols, .kv_heads = d->param[2]};
    s.latent = (d->flags & CARD_FLAG_LATENT) != 0;
    s.value_dims = card_attention_values(d, e);
    s.group = d->rows / s.kv_heads;
    s.key_bytes = (size_t)card_page_block_bytes(s.format, s.key_dims);
    s.value_bytes = (size_t)card_page_block_bytes(s.format, s.value_dims);
    s.page_bytes = (size_t)card_page_bytes(s.format, s.kv_heads, s.key_dims, s.latent ? 0 : s.value_dims);
    s.query_bytes = query_bytes(s.format, s.key_dims);
    s.values = (size_t)card_round_up(page_keys_bytes(s.format, s.key_dims), 64);
    s.states = s.values + (size_t)CARD_PAGE_TOKENS * s.value_dims * sizeof(float);
    s.queries = s.states + (size_t)RUN_TOKENS * s.group * sizeof(struct softmax);
    s.scratch = (size_t)card_round_up(s.queries + (size_t)RUN_TOKENS * s.group * s.query_bytes, 64);
    return s;
}

uint64_t sim_attention_scratch(const struct card_descriptor *d, unsigned threads)
{
    const struct shape shape = shape_of(d, card_extension(d));
    return (uint64_t)shape.scratch * threads + ((uint64_t)d->tokens + 1) * sizeof(uint32_t);
}

/* ---- one query head on one page ---- */

/* score = cap tanh(score / cap). All 32, as that vectorizes; only those seen are used. */
SIM_CLONES
static void cap_scores(float score[CARD_PAGE_TOKENS], float cap)
{
    const float inverse = card_recip(cap);
    for (uint32_t s = 0; s < CARD_PAGE_TOKENS; s++) score[s] = cap * card_tanh(score[s] * inverse);
}

/* Adds one head's bias[2 reach + 1] by the distance of each position of the page to the token's own. */
static void bias_scores(float score[CARD_PAGE_TOKENS], slot_set slots, const float *bias, uint32_t reach, uint32_t page,
                        uint32_t own)
{
    for (uint32_t s = 0; s < CARD_PAGE_TOKENS; s++) {
        if (!(slots >> s & 1)) continue;
        int64_t distance = (int64_t)page * CARD_PAGE_TOKENS + s - own;
        distance = distance > (int64_t)reach ? (int64_t)reach : distance;
        distance = distance < -(int64_t)reach ? -(int64_t)reach : distance;
        score[s] += bias[distance + (int64_t)reach];
    }
}

/* acc[n] / sum, or zeros if nothing was seen. */
SIM_CLONES
static void finish_head(float *acc, uint32_t n, float sum, int seen)
{
    const float inverse = card_recip(sum);
    for (uint32_t i = 0; i < n; i += LANES) {
        float pad[LANES], lane[LANES];
        const float *from = lanes_at(acc + i, n - i, pad);
        for (unsigned l = 0; l < LANES; l++) lane[l] = card_select(seen, one_nan(from[l] * inverse), 0.0f);
        lanes_put(acc + i, lane, n - i);
    }
}

/* ---- runs ---- */

/* One run on one KV head. The query heads are numbered through the run: (token - begin) * group + head of the group. */
struct run {
    const struct attention *job;
    uint32_t begin, end, kv_head;
    uint8_t *scratch; /* of this worker */
    struct softmax *state;
    struct seen seen[RUN_TOKENS];
    int any[RUN_TOKENS]; /* whether the token saw something */
};

/* A page of the run's sequence, unpacked; or where it lies, if few queries meet halves. */
struct page {
    uint32_t number; /* in the sequence */
    struct page_keys key;
    const uint16_t *value_halves; /* NULL: value */
    struct kv_floats value;
};

/* Index of a query head among the heads of the step. */
static size_t head_index(const struct run *run, uint32_t token, uint32_t head)
{
    return (size_t)token * run->job->step->d->rows + (size_t)run->kv_head * run->job->shape.group + head;
}

static void *made_query(const struct run *run, uint32_t token, uint32_t head)
{
    const struct shape *shape = &run->job->shape;
    const size_t i = (size_t)(token - run->begin) * shape->group + head;
    return run->scratch + shape->queries + i * shape->query_bytes;
}

static void start_run(struct run *run)
{
    const struct sim_step *step = run->job->step;
    const struct shape *shape = &run->job->shape;
    const float *sinks = sim_step_e_has(step, CARD_FLAG_SINKS) ? step->e_src : NULL;
    run->state = (struct softmax *)(void *)(run->scratch + shape->states);
    for (uint32_t t = run->begin; t < run->end; t++) {
        run->seen[t - run->begin] = seen_by(step, t);
        run->any[t - run->begin] = 0;
        for (uint32_t h = 0; h < shape->group; h++) {
            const size_t head = head_index(run, t, h);
            struct softmax *state = run->state + (size_t)(t - run->begin) * shape->group + h;
            *state = (struct softmax){.largest = -CARD_INFINITY};
            if (sinks) *state = (struct softmax){.largest = sinks[run->kv_head * shape->group + h], .sum = 1.0f};
            memset((float *)step->dst + head * shape->value_dims, 0, shape->value_dims * sizeof(float));
            query_make(shape->format, shape->key_dims, (const float *)step->src + head * shape->key_dims,
                       made_query(run, t, h));
        }
    }
}

/* Whether so few queries of the run meet a page of halves that it is not worth unpacking. */
static int reads_halves(const struct run *run)
{
    const struct shape *shape = &run->job->shape;
    return shape->format == CARD_FORMAT_F16 && !shape->latent && (shape->key_dims | shape->value_dims) % LANES == 0 &&
           (run->end - run->begin) * shape->group <= run->job->step->page_kernels->few;
}

static struct page read_page(const struct run *run, uint32_t number, slot_set slots)
{
    const struct sim_step *step = run->job->step;
    const struct shape *shape = &run->job->shape;
    const uint32_t first = sim_step_batch(step)[run->begin].first_page;
    const uint8_t *at = sim_step_page(step, sim_step_pages(step)[(size_t)first + number], shape->page_bytes);
    const uint8_t *key = at + run->kv_head * shape->key_bytes;
    const uint8_t *value = at + shape->kv_heads * shape->key_bytes + run->kv_head * shape->value_bytes;
    float *floats = (float *)(void *)(run->scratch + shape->values);
    struct page page = {.number = number};
    if (reads_halves(run)) {
        page.key = (struct page_keys){.format = shape->format,
                                      .dims = shape->key_dims,
                                      .halves = (const uint16_t *)(const void *)key,
                                      .kernels = step->page_kernels};
        page.value_halves = (const uint16_t *)(const void *)value;
        return page;
    }
    page.key = page_keys_read(step, key, shape->key_dims, slots, run->scratch);
    if (!shape->latent)
        page.value = kv_read_floats(step->page_kernels, value, shape->format, shape->value_dims, shape->value_dims,
                                    slots, floats);
    else if (kv_is_integer(shape->format))
        page.value =
            kv_read_floats(step->page_kernels, key, shape->format, shape->key_dims, shape->value_dims, slots, floats);
    else
        page.value = page.key.floats;
    return page;
}

/* Query heads of a run that meet a page together, by their numbers. */
struct batch {
    uint32_t n, number[PAGE_QUERIES];
    slot_set slots[PAGE_QUERIES];
};

/* What changes a score after its product: the cap, then the bias. */
static void adjust_scores(const struct run *run, const struct batch *batch, const struct page *page,
                          float (*score)[CARD_PAGE_TOKENS])
{
    const struct sim_step *step = run->job->step;
    const uint32_t group = run->job->shape.group, reach = sim_step_e_param(step, 2);
    const float cap = step->e ? float_of_bits(step->e->param[0]) : 0.0f;
    const float *bias = sim_step_e_has(step, CARD_FLAG_BIAS) ? step->e_weight : NULL;
    for (uint32_t i = 0; i < batch->n; i++) {
        if (cap != 0.0f) cap_scores(score[i], cap);
        if (!bias) continue;
        const size_t head = (size_t)run->kv_head * group + batch->number[i] % group;
        const uint32_t own = sim_step_batch(step)[run->begin + batch->number[i] / group].position;
        bias_scores(score[i], batch->slots[i], bias + head * (2 * (size_t)reach + 1), reach, page->number, own);
    }
}

static void attend_batch(const struct run *run, const struct batch *batch, const struct page *page)
{
    const struct sim_step *step = run->job->step;
    const struct shape *shape = &run->job->shape;
    struct queries queries = {.n = 0};
    float *acc[PAGE_QUERIES], rescale[PAGE_QUERIES], score[PAGE_QUERIES][CARD_PAGE_TOKENS];
    struct softmax *state[PAGE_QUERIES];
    slot_set any = 0;
    for (uint32_t i = 0; i < batch->n; i++) {
        state[i] = run->state + batch->number[i];
        const uint32_t token = run->begin + batch->number[i] / shape->group, h = batch->number[i] % shape->group;
        const size_t head = head_index(run, token, h);
        const float *x = (const float *)step->src + head * shape->key_dims;
        queries_add(&queries, shape->format, shape->key_dims, x, made_query(run, token, h));
        acc[i] = (float *)step->dst + head * shape->value_dims;
        any |= batch->slots[i];
    }
    page_scores(&page->key, &queries, any, sim_step_float(step, 1), score);
    if (step->e) adjust_scores(run, batch, page, score);
    step->page_kernels->soften(state, rescale, batch->n, score, batch->slots);
    if (page->value_halves)
        step->page_kernels->weigh_halves(acc, rescale, batch->n, (const float(*)[CARD_PAGE_TOKENS])score, batch->slots,
                                         page->value_halves, shape->value_dims);
    else
        step->page_kernels->weigh(acc, rescale, batch->n, (const float(*)[CARD_PAGE_TOKENS])score, batch->slots,
                                  page->value.at, page->value.stride, shape->value_dims);
}

/* All query heads of the run on one page, of which token i sees slots[i]. */
static void attend_page(const struct run *run, const struct page *page, const slot_set slots[RUN_TOKENS])
{
    const uint32_t group = run->job->shape.group;
    struct batch batch = {.n = 0};
    for (uint32_t number = 0; number < (run->end - run->begin) * group; number++) {
        if (slots[number / group] == 0) continue;
        batch.number[batch.n] = number;
        batch.slots[batch.n++] = slots[number / group];
        if (batch.n < PAGE_QUERIES) continue;
        attend_batch(run, &batch, page);
        batch.n = 0;
    }
    if (batch.n) attend_batch(run, &batch, page);
}

static void attend_run(struct run *run)
{
    const struct shape *shape = &run->job->shape;
    const uint32_t n = run->end - run->begin;
    start_run(run);
    for (;;) {
        slot_set slots[RUN_TOKENS], all = 0;
        uint32_t number = NO_PAGE;
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t next = seen_page(&run->seen[i]);
            number = next < number ? next : number;
        }
        if (number == NO_PAGE) break;
        for (uint32_t i = 0; i < n; i++) {
            slots[i] = seen_take(&run->seen[i], number);
            all |= slots[i];
        }
        const struct page page = read_page(run, number, all);
        attend_page(run, &page, slots);
        for (uint32_t i = 0; i < n; i++) run->any[i] |= slots[i] != 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        float *acc = (float *)run->job->step->dst + head_index(run, run->begin + i, 0) * shape->value_dims;
        for (uint32_t h = 0; h < shape->group; h++) {
            finish_head(acc + (size_t)h * shape->value_dims, shape->value_dims,
                        run->state[(size_t)i * shape->group + h].sum, run->any[i]);
        }
    }
}

/* The vectors of `slots` of the blocks of `heads` KV heads that follow each other; returns the bytes. */
static size_t touch_blocks(const uint8_t *block, size_t block_bytes, uint32_t heads, slot_set slots)
{
    const size_t vector_bytes = block_bytes / CARD_PAGE_TOKENS;
    const size_t begin = (size_t)__builtin_ctz(slots) * vector_bytes;
    const size_t end = (CARD_PAGE_TOKENS - (size_t)__builtin_clz(slots)) * vector_bytes;
    for (uint32_t h = 0; h < heads; h++, block += block_bytes)
        for (size_t at = begin; at < end; at += CARD_WORD_BYTES) (void)*(const volatile uint8_t *)(block + at);
    return (end - begin) * heads;
}

/*
 * Brings the first pages of a run with few queries into the cache, all keys of a page that this thread will read and then all values,
 * as they follow each other in memory. Head by head a page is read in pieces of a few KiB, and prefetchers need 64 to reach
 * the memory's speed (pieces of 8 KiB: 10 GB/s of 30 on an AMD EPYC).
 */
static void touch_pages(const struct run *run, uint32_t heads)
{
    const struct sim_step *step = run->job->step;
    const struct shape *shape = &run->job->shape;
    const uint32_t first = sim_step_batch(step)[run->begin].first_page;
    struct seen seen = seen_by(step, run->begin);
    uint32_t number;
    for (size_t bytes = 0; bytes < TOUCH_BYTES && (number = seen_page(&seen)) != NO_PAGE;) {
        const slot_set slots = seen_take(&seen, number);
        const uint8_t *page = sim_step_page(step, sim_step_pages(step)[(size_t)first + number], shape->page_bytes);
        const uint8_t *value = page + shape->kv_heads * shape->key_bytes;
        bytes += touch_blocks(page + run->kv_head * shape->key_bytes, shape->key_bytes, heads, slots);
        bytes += touch_blocks(value + run->kv_head * shape->value_bytes, shape->value_bytes, heads, slots);
    }
}

static void attention_part(void *opaque, uint32_t begin, uint32_t end, unsigned worker)
{
    const struct attention *job = opaque;
    struct run run = {.job = job, .scratch = job->scratch + worker * job->shape.scratch};
    for (uint32_t i = begin; i < end; i++) {
        const uint32_t *first = job->run + i / job->shape.kv_heads;
        run.begin = first[0];
        run.end = first[1];
        run.kv_head = i % job->shape.kv_heads;
        if ((i == begin || run.kv_head == 0) && reads_halves(&run)) {
            const uint32_t heads = job->shape.kv_heads - run.kv_head;
            touch_pages(&run, heads < end - i ? heads : end - i);
        }
        attend_run(&run);
    }
}

/* Cuts the step into runs; returns how many. The tokens of a run have one page table. */
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
    struct attention job = {.step = step, .shape = shape_of(d, step->e), .scratch = scratch};
    job.run = (uint32_t *)(void *)(job.scratch + job.shape.scratch * pool_threads(pool));
    const uint32_t runs = cut_runs(step, job.run);
    const uint64_t positions = seen_count(seen_by(step, d->tokens - 1)) + 1;
    uint64_t work = positions * (job.shape.key_dims + job.shape.value_dims) * job.shape.group * (d->tokens / runs);
    pool_run(pool, runs * job.shape.kv_heads, sim_grain(work), attention_part, &job);
}
