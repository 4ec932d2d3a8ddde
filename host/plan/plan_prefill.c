/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/memory.h"
#include "host/plan/plan_stage.h"

#include <string.h>

#define RUN_WHOLE 6u /* chunks of a prompt that is run chunk by chunk anyway */

/* Of one stage: what each full chunk of a prompt but the last took. */
struct chunk_times {
    double *ps, *nj; /* owned; [n]; nj: all energy but static and host's */
    uint32_t n;
};

/* Position at which time per chunk changes its slope or jumps, as chunks; 0: none. Several for chunked attention. */
static void mark_kinks(const struct architecture_layer *layer, uint32_t chunk, uint32_t n, bool *run)
{
    const struct attention_shape *attention = &layer->attention;
    const uint32_t kinks[] = {attention->window, attention->indexer.top_k,
                              attention->indexer.top_k * (attention->compress_rate ? attention->compress_rate : 1)};
    for (unsigned i = 0; i < sizeof kinks / sizeof kinks[0]; i++)
        for (uint32_t at = kinks[i] / chunk, end = at + 2; kinks[i] > 0 && at < n && at < end; at++) run[at] = true;
    if (attention->chunk == 0) return;
    for (uint64_t position = attention->chunk; position / chunk < n; position += attention->chunk) {
        uint32_t at = (uint32_t)(position / chunk);
        run[at] = true;
        if (at > 0) run[at - 1] = true;
        if (at + 1 < n) run[at + 1] = true;
    }
}

/* Which chunks are run. */
static void choose_chunks(const struct plan_speed *speed, const struct plan_stage *stage, bool whole, uint32_t n,
                          bool *run)
{
    if (whole || n <= RUN_WHOLE) {
        memset(run, true, n * sizeof *run);
        return;
    }
    for (uint32_t i = 1; i < n; i *= 4) run[i] = true;
    run[0] = run[n - 1] = true;
    for (uint32_t i = stage->first_layer; i < stage->end_layer; i++)
        mark_kinks(&speed->options.architecture->layers[i], speed->chunk, n, run);
}

static double dynamic_nj(const struct clock_step *step)
{
    double sum = 0;
    for (unsigned k = 0; k < TIMELINE_ENERGIES; k++)
        if (k != TIMELINE_ENERGY_STATIC && k != TIMELINE_ENERGY_HOST) sum += (double)step->used.energy_nj[k];
    return sum;
}

/* The chunks that were run as they are, those between in proportion. */
static void interpolate(double *values, const bool *run, uint32_t n)
{
    for (uint32_t from = 0, to; from + 1 < n; from = to) {
        for (to = from + 1; !run[to];) to++;
        for (uint32_t i = from + 1; i < to; i++)
            values[i] = values[from] + (values[to] - values[from]) * (i - from) / (to - from);
    }
}

static int time_chunks(struct plan_speed *speed, const struct plan_stage *stage, bool whole, struct chunk_times *times,
                       bool *sampled, struct error *err)
{
    struct plan_clock *clock;
    bool *run = memory_array(times->n, sizeof *run);
    int status = run ? 0 : error_set(err, ERROR_NO_MEMORY, "no host memory for a prompt of %u chunks", times->n);
    if (status == 0) status = plan_stage_clock(speed, stage, &clock, err);
    if (status == 0) choose_chunks(speed, stage, whole, times->n, run);
    for (uint32_t i = 0; i < times->n && status == 0; i++) {
        const struct shape_sequence sequence = {i * speed->chunk, speed->chunk, 0};
        struct clock_step step;
        *sampled = *sampled || !run[i];
        if (run[i]) status = plan_clock_step(clock, &sequence, 1, &step, err);
        if (!run[i] || status < 0) continue;
        times->ps[i] = (double)step.ps;
        times->nj[i] = dynamic_nj(&step);
    }
    if (status == 0) interpolate(times->ps, run, times->n);
    if (status == 0) interpolate(times->nj, run, times->n);
    free(run);
    return status;
}

/* When a stage is done with each chunk; ends[] holds when the stage before it was. */
static void pass_stage(const struct chunk_times *times, double last_ps, double *ends)
{
    double free_at = 0;
    for (uint32_t i = 0; i <= times->n; i++) {
        double begins = ends[i] > free_at ? ends[i] : free_at;
        free_at = ends[i] = begins + (i < times->n ? times->ps[i] : last_ps);
    }
}

/* The last chunk of a prompt: ended by the last layer's KV write, or by logits. */
struct last_chunk {
    struct clock_step bare, with_logits;
};

/* One stage: its chunks, and the last one both ways. */
static int run_stage(struct plan_speed *speed, const struct plan_stage *stage, bool whole, struct plan_prefill *out,
                     struct chunk_times *times, struct last_chunk *last, struct error *err)
{
    struct plan_clock *clock;
    const uint32_t rest = out->prompt - times->n * speed->chunk;
    const struct shape_sequence bare = {times->n * speed->chunk, rest, 0}, sequence = {bare.first_position, rest, 1};
    int status = time_chunks(speed, stage, whole, times, &out->sampled, err);
    if (status == 0) status = plan_stage_clock(speed, stage, &clock, err);
    if (status == 0) status = plan_clock_step(clock, &bare, 1, &last->bare, err);
    return status < 0 ? status : plan_clock_step(clock, &sequence, 1, &last->with_logits, err);
}

/* When each chunk left the cards: with the last one bare, and with its logits. */
struct chunk_ends {
    double *bare, *with_logits; /* owned; [chunks] */
};

/* Stage after stage; those of one shape in a row are run once. ends[n] becomes the time of the first token, in ps. */
static int run_stages(struct plan_speed *speed, const struct memory_layout *layout, bool whole,
                      struct plan_prefill *out, struct chunk_times *times, struct chunk_ends *ends, double *nj,
                      struct last_chunk *last, struct error *err)
{
    const struct plan_stage *before = NULL;
    for (uint32_t i = 0; i < layout->n_stages; i++) {
        const struct plan_stage *stage = &layout->stages[i];
        bool again = before && plan_stage_same(speed->options.architecture, before, stage);
        int status = again ? 0 : run_stage(speed, stage, whole, out, times, last, err);
        if (status < 0) return status;
        before = stage;
        pass_stage(times, (double)last->bare.ps, ends->bare);
        pass_stage(times, (double)last->with_logits.ps, ends->with_logits);
        for (uint32_t chunk = 0; chunk < times->n; chunk++) *nj += times->nj[chunk];
        *nj += dynamic_nj(&last->bare);
    }
    return 0;
}

int plan_speed_prefill(struct plan_speed *speed, const struct memory_layout *layout, bool whole,
                       struct plan_prefill *out, struct error *err)
{
    struct chunk_times times = {.n = (out->prompt - 1) / speed->chunk};
    struct last_chunk last = {0};
    struct chunk_ends ends = {memory_array((size_t)times.n + 1, sizeof *ends.bare),
                              memory_array((size_t)times.n + 1, sizeof *ends.with_logits)};
    double nj = 0, joules[TIMELINE_ENERGIES];
    times.ps = memory_array((size_t)times.n + 1, sizeof *times.ps);
    times.nj = memory_array((size_t)times.n + 1, sizeof *times.nj);
    int status = 0;
    if (!ends.bare || !ends.with_logits || !times.ps || !times.nj)
        status = error_set(err, ERROR_NO_MEMORY, "no host memory for a prompt of %u chunks", times.n);
    out->sampled = false;
    if (status == 0) status = run_stages(speed, layout, whole, out, &times, &ends, &nj, &last, err);
    if (status == 0) {
        double seconds = ends.bare[times.n] * 1e-12;
        (void)plan_stage_joules(speed, &last.bare, 0, seconds, joules);
        out->first_token_ps = (uint64_t)ends.with_logits[times.n];
        out->tokens_per_s = out->prompt / seconds;
        out->j_per_token = (joules[TIMELINE_ENERGY_STATIC] + nj * 1e-9) / out->prompt;
    }
    free(ends.bare);
    free(ends.with_logits);
    free(times.ps);
    free(times.nj);
    return status;
}
