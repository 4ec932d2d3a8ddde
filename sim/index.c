/* SPDX-License-Identifier: Apache-2.0 */
/*
 * INDEX: the positions with the best scores. The step's tokens are taken by runs of neighbours of one sequence, whose
 * pages are unpacked once, and a run's positions by chunks: pages of a chunk are scored in parallel, then each token
 * keeps the best of what it has seen so far in a heap.
 */
#include "kernels/abi/card_math.h"
#include "sim/best.h"
#include "sim/internal.h"
#include "sim/lanes.h"
#include "sim/scores.h"
#include "sim/seen.h"

#define RUN_TOKENS 16u
#define CHUNK_PAGES 256u
#define CHUNK_POSITIONS (CHUNK_PAGES * CARD_PAGE_TOKENS)

/* Where things lie in the scratch (bytes); the workers' unpacked keys come first. */
struct shape {
    size_t page_bytes, query_bytes, keys; /* keys: of one worker */
    size_t queries, scores, best, scratch;
};

struct index_job {
    const struct sim_step *step;
    struct shape shape;
    uint8_t *scratch;
    uint32_t begin, end; /* tokens of the run */
    uint32_t first_page; /* of the chunk */
};

static struct shape shape_of(const struct card_descriptor *d, unsigned threads)
{
    const uint64_t tokens = d->tokens < RUN_TOKENS ? d->tokens : RUN_TOKENS;
    struct shape s = {.query_bytes = query_bytes(d->format, d->cols)};
    s.page_bytes = (size_t)card_page_bytes(d->format, 1, d->cols, 0);
    s.keys = (size_t)card_round_up(page_keys_bytes(d->format, d->cols), 64);
    s.queries = s.keys * threads;
    s.scores = (size_t)card_round_up(s.queries + tokens * d->rows * s.query_bytes, 64);
    s.best = s.scores + tokens * CHUNK_POSITIONS * sizeof(float);
    s.scratch = s.best + tokens * d->param[3] * sizeof(struct card_choice);
    return s;
}

uint64_t sim_index_scratch(const struct card_descriptor *d, unsigned threads) { return shape_of(d, threads).scratch; }

static const float *query_floats(const struct index_job *job, uint32_t token, uint32_t head)
{
    const struct card_descriptor *d = job->step->d;
    return (const float *)job->step->src + ((size_t)token * d->rows + head) * d->cols;
}
static void *made_query(const struct index_job *job, uint32_t token, uint32_t head)
{
    const size_t i = (size_t)(token - job->begin) * job->step->d->rows + head;
    return job->scratch + job->shape.queries + i * job->shape.query_bytes;
}
static float *token_scores(const struct index_job *job, uint32_t token)
{
    return (float *)(void *)(job->scratch + job->shape.scores) + (size_t)(token - job->begin) * CHUNK_POSITIONS;
}

/* ---- scores: items are pages of the chunk ---- */

/* sum[s] += weight * max(score[s], 0), for all 32, as that vectorizes. */
SIM_CLONES
static void add_head(float sum[CARD_PAGE_TOKENS], const float score[CARD_PAGE_TOKENS], float weight)
{
    for (uint32_t s = 0; s < CARD_PAGE_TOKENS; s++) {
        sum[s] = card_fma(weight, card_select(score[s] > 0.0f, score[s], 0.0f), sum[s]);
    }
}

static void score_page(const struct index_job *job, uint32_t token, const struct page_keys *keys, slot_set slots,
                       float sum[CARD_PAGE_TOKENS])
{
    const struct card_descriptor *d = job->step->d;
    const float *weight = (const float *)job->step->e_src + (size_t)token * d->rows;
    for (uint32_t s = 0; s < CARD_PAGE_TOKENS; s++) sum[s] = 0.0f;
    for (uint32_t h = 0; h < d->rows; h += PAGE_QUERIES) {
        struct queries queries = {.n = 0};
        float score[PAGE_QUERIES][CARD_PAGE_TOKENS] = {0};
        while (queries.n < PAGE_QUERIES && h + queries.n < d->rows) {
            const uint32_t head = h + queries.n;
            queries_add(&queries, d->format, d->cols, query_floats(job, token, head), made_query(job, token, head));
        }
        page_scores(keys, &queries, slots, sim_step_float(job->step, 1), score);
        for (uint32_t i = 0; i < queries.n; i++) add_head(sum, score[i], weight[h + i]);
    }
}

/* Slots of a page of the sequence that lie below `visible`. */
static slot_set visible_slots(uint32_t visible, uint32_t page)
{
    const uint32_t start = page * CARD_PAGE_TOKENS;
    if (visible <= start) return 0;
    return visible - start >= CARD_PAGE_TOKENS ? UINT32_MAX : (1u << (visible - start)) - 1;
}

/* How many positions the token chooses among; 0 if it chooses all, so that there is nothing to score. */
static uint32_t ranked(const struct index_job *job, uint32_t token)
{
    const uint32_t visible = sim_step_batch(job->step)[token].visible;
    return visible > job->step->d->param[3] ? visible : 0;
}

static void score_part(void *opaque, uint32_t begin, uint32_t end, unsigned worker)
{
    const struct index_job *job = opaque;
    const struct sim_step *step = job->step;
    const uint32_t *pages = sim_step_pages(step) + sim_step_batch(step)[job->begin].first_page;
    for (uint32_t i = begin; i < end; i++) {
        const uint32_t page = job->first_page + i;
        slot_set all = 0;
        for (uint32_t t = job->begin; t < job->end; t++) all |= visible_slots(ranked(job, t), page);
        const uint8_t *block = sim_step_page(step, pages[page], job->shape.page_bytes);
        const struct page_keys keys =
            page_keys_read(step, block, step->d->cols, all, job->scratch + worker * job->shape.keys);
        for (uint32_t t = job->begin; t < job->end; t++) {
            const slot_set slots = visible_slots(ranked(job, t), page);
            if (slots) score_page(job, t, &keys, slots, token_scores(job, t) + (size_t)i * CARD_PAGE_TOKENS);
        }
    }
}

/* ---- choice: items are tokens ---- */

/* The best positions of a token so far, in the places of experts. */
static struct card_choice *token_best(const struct index_job *job, uint32_t token)
{
    return (struct card_choice *)(void *)(job->scratch + job->shape.best) +
           (size_t)(token - job->begin) * job->step->d->param[3];
}

static void choose_part(void *opaque, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct index_job *job = opaque;
    const uint32_t most = job->step->d->param[3], start = job->first_page * CARD_PAGE_TOKENS;
    for (uint32_t t = job->begin + begin; t < job->begin + end; t++) {
        const uint32_t visible = ranked(job, t);
        const float *score = token_scores(job, t);
        uint32_t n = start < most ? start : most;
        for (uint32_t i = 0; i < CHUNK_POSITIONS && start + i < visible; i++) {
            best_offer(token_best(job, t), &n, most, (struct card_choice){start + i, score[i]});
        }
    }
}

/* Moves value down from `at` in a heap of n numbers whose root is the largest. */
static void sink_number(uint32_t *heap, uint32_t n, uint32_t at, uint32_t value)
{
    for (uint32_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && heap[child + 1] > heap[child]) child++;
        if (heap[child] <= value) break;
        heap[at] = heap[child];
    }
    heap[at] = value;
}

static void sort_numbers(uint32_t *number, uint32_t n)
{
    for (uint32_t i = n / 2; i-- > 0;) sink_number(number, n, i, number[i]);
    for (uint32_t i = n; i-- > 1;) {
        const uint32_t last = number[i];
        number[i] = number[0];
        sink_number(number, i, 0, last);
    }
}

static void finish_part(void *opaque, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct index_job *job = opaque;
    const uint32_t n = job->step->d->param[3];
    for (uint32_t t = job->begin + begin; t < job->begin + end; t++) {
        uint32_t *chosen = (uint32_t *)job->step->dst + (size_t)t * n;
        const uint32_t visible = sim_step_batch(job->step)[t].visible;
        if (ranked(job, t)) {
            for (uint32_t i = 0; i < n; i++) chosen[i] = token_best(job, t)[i].expert;
            sort_numbers(chosen, n);
        } else {
            for (uint32_t i = 0; i < n; i++) chosen[i] = i < visible ? i : CARD_NO_POSITION;
        }
    }
}

/* ---- runs ---- */

static void query_part(void *opaque, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct index_job *job = opaque;
    const struct card_descriptor *d = job->step->d;
    for (uint32_t i = begin; i < end; i++) {
        const uint32_t token = job->begin + i / d->rows, head = i % d->rows;
        query_make(d->format, d->cols, query_floats(job, token, head), made_query(job, token, head));
    }
}

static void index_run(struct pool *pool, struct index_job *job)
{
    const struct card_descriptor *d = job->step->d;
    const uint32_t tokens = job->end - job->begin;
    uint32_t most = 0;
    for (uint32_t t = job->begin; t < job->end; t++) most = ranked(job, t) > most ? ranked(job, t) : most;
    const uint32_t pages = (most + CARD_PAGE_TOKENS - 1) / CARD_PAGE_TOKENS;
    if (pages && kv_is_integer(d->format)) pool_run(pool, tokens * d->rows, sim_grain(4ull * d->cols), query_part, job);
    for (job->first_page = 0; job->first_page < pages; job->first_page += CHUNK_PAGES) {
        const uint32_t left = pages - job->first_page, n = left < CHUNK_PAGES ? left : CHUNK_PAGES;
        const uint64_t work = (uint64_t)CARD_PAGE_TOKENS * d->cols * d->rows * tokens;
        pool_run(pool, n, sim_grain(work), score_part, job);
        pool_run(pool, tokens, sim_grain(4ull * n * CARD_PAGE_TOKENS), choose_part, job);
    }
    pool_run(pool, tokens, sim_grain(most ? 8ull * d->param[3] : d->param[3]), finish_part, job);
}

void sim_index(struct pool *pool, const struct sim_step *step, void *scratch)
{
    const struct card_batch_token *batch = sim_step_batch(step);
    struct index_job job = {.step = step, .shape = shape_of(step->d, pool_threads(pool)), .scratch = scratch};
    for (job.begin = 0; job.begin < step->d->tokens; job.begin = job.end) {
        job.end = job.begin + 1;
        while (job.end < step->d->tokens && job.end - job.begin < RUN_TOKENS &&
               batch[job.end].first_page == batch[job.begin].first_page)
            job.end++;
        index_run(pool, &job);
    }
}
