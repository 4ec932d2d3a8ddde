/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the virtual clock costs of the wall time of a functional run: steps of the engine with the clock at work and steps
 * of the same process without, in turn, so that both see the same machine. The linker puts a switch before each of the
 * clock's functions (--wrap); bits do not depend on it, virtual times of this program mean nothing.
 *
 *   clock_share [MODEL [CARD [THREADS [STEPS]]]]     default: the demo model, sim:u55c, 1, 2000
 *
 * Prints a JSON line for decoding with 1 and 8 sequences and for prompts of 256 tokens: the quartiles of the step's
 * time both ways, and what the clock adds to the time without it, from the medians and from the lower quartiles (which
 * other work on the machine disturbs less).
 */
#include "host/base/memory.h"
#include "host/cli/progress.h"
#include "host/cli/session.h"
#include "sim/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BATCH 8u
#define CONTEXT 1024u
#define PROMPT 256u
#define BLOCK 4u

/* ---- the switch ---- */

static bool without_clock; /* of the engine's thread, between two steps */

#define WRAP(name)                                                                                                     \
    __typeof__(sim_clock_##name) __real_sim_clock_##name;                                                              \
    __typeof__(sim_clock_##name) __wrap_sim_clock_##name;

WRAP(run)
WRAP(begin)
WRAP(end)
WRAP(copy)
WRAP(wait)

void __wrap_sim_clock_run(struct sim_clock *clock, const struct sim_step *step, const struct sim_work *work,
                          unsigned descriptor)
{
    if (!without_clock) __real_sim_clock_run(clock, step, work, descriptor);
}

int __wrap_sim_clock_begin(struct sim_clock *clock, const struct sim_clock_order *order,
                           const struct card_descriptor *program, unsigned n_descriptors, struct error *err)
{
    return without_clock ? 0 : __real_sim_clock_begin(clock, order, program, n_descriptors, err);
}

void __wrap_sim_clock_end(struct sim_clock *clock)
{
    if (!without_clock) __real_sim_clock_end(clock);
}

int __wrap_sim_clock_copy(struct sim_clock *clock, enum sim_clock_copy direction, const struct sim_clock_order *order,
                          card_addr address, uint64_t bytes, struct error *err)
{
    return without_clock ? 0 : __real_sim_clock_copy(clock, direction, order, address, bytes, err);
}

void __wrap_sim_clock_wait(struct sim_clock *clock, uint64_t event)
{
    if (!without_clock) __real_sim_clock_wait(clock, event);
}

/* ---- steps ---- */

/* Sequences under way. */
struct run {
    unsigned ended;
    struct error error; /* of one that failed; code 0: none */
};

struct series {
    double *seconds[2]; /* owned; with the clock, without */
    size_t n[2], capacity;
    uint64_t steps; /* that might have counted */
    struct run run;
};

static int on_token(void *context, uint32_t token)
{
    (void)context;
    (void)token;
    return 0;
}

static void on_end(void *context, enum finish_reason reason, const struct engine_usage *usage, const struct error *err)
{
    struct run *run = context;
    (void)usage;
    run->ended++;
    if (reason == FINISH_ERROR && err) run->error = *err;
}

static int submit(struct session *session, struct run *run, uint32_t seed, uint32_t n_prompt, uint32_t max_tokens,
                  struct error *err)
{
    uint32_t prompt[PROMPT];
    uint64_t id;
    const uint32_t n_vocab = model_get_config(session->model)->n_vocab;
    for (uint32_t i = 0; i < n_prompt; i++) prompt[i] = random_bits(1, seed, i, 0) % n_vocab;
    const struct engine_request request = {.prompt = prompt,
                                           .n_prompt = n_prompt,
                                           .max_tokens = max_tokens,
                                           .ignore_eos = true,
                                           .prefix = PREFIX_COMPUTED,
                                           .sampling = {.top_p = 1},
                                           .callbacks = {.token = on_token, .end = on_end},
                                           .context = run};
    return engine_submit(session->engine, &request, &id, err);
}

/* One step; if it may count, with the clock and without by BLOCK steps in turn, of which the first finds the other's caches. */
static int step(struct session *session, struct series *series, bool counted, struct error *err)
{
    const uint64_t number = counted ? series->steps++ : 0;
    const unsigned way = number / BLOCK % 2 != 0;
    without_clock = way == 1;
    const double begin = seconds_now();
    const int rc = engine_step(session->engine, err);
    const double seconds = seconds_now() - begin;
    without_clock = false;
    if (rc < 0) return rc;
    if (counted && number % BLOCK != 0 && series->n[way] < series->capacity)
        series->seconds[way][series->n[way]++] = seconds;
    return 0;
}

/* Sequences of max_tokens each, batch at a time, until there are enough steps. */
static int measure(struct session *session, struct series *series, uint32_t batch, uint32_t n_prompt,
                   uint32_t max_tokens, struct error *err)
{
    int status = 0;
    for (uint32_t round = 0; status == 0 && series->n[1] < series->capacity; round++) {
        struct run *run = &series->run;
        run->ended = 0;
        for (uint32_t i = 0; i < batch && status == 0; i++)
            status = submit(session, run, round * batch + i, n_prompt, max_tokens, err);
        for (uint32_t n = 0; status == 0 && run->ended == 0; n++)
            status = step(session, series, round > 0 && (max_tokens == 0 || n > 3), err);
        while (status == 0 && run->ended < batch) status = engine_step(session->engine, err) < 0 ? err->code : 0;
        if (status == 0 && run->error.code) status = error_set(err, run->error.code, "%s", run->error.text);
    }
    return status;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void print_line(const struct session *session, const struct series *series, const char *what, uint32_t batch)
{
    const double *with = series->seconds[0], *without = series->seconds[1];
    const size_t a = series->n[0], b = series->n[1];
    struct card_info info;
    card_describe(session->card, &info);
    for (unsigned way = 0; way < 2; way++) qsort(series->seconds[way], series->n[way], sizeof(double), compare);
    printf("{\"name\":\"clock_share\",\"model\":\"%s\",\"card_profile\":\"%s\",\"threads\":%u,\"step\":\"%s\","
           "\"batch\":%u,"
           "\"steps\":%zu,\"step_us\":[%.2f,%.2f,%.2f],\"step_us_without\":[%.2f,%.2f,%.2f],"
           "\"clock_percent_median\":%.2f,\"clock_percent_quartile\":%.2f}\n",
           model_name(session->model), info.profile, info.threads, what, batch, a + b, with[a / 4] * 1e6,
           with[a / 2] * 1e6, with[a - a / 4 - 1] * 1e6, without[b / 4] * 1e6, without[b / 2] * 1e6,
           without[b - b / 4 - 1] * 1e6, (with[a / 2] / without[b / 2] - 1) * 100,
           (with[a / 4] / without[b / 4] - 1) * 100);
    fflush(stdout);
}

static int measure_and_print(struct session *session, size_t steps, const char *what, uint32_t batch, uint32_t n_prompt,
                             uint32_t max_tokens, struct error *err)
{
    struct series series = {.capacity = steps / 2};
    int status = 0;
    for (unsigned way = 0; way < 2; way++) series.seconds[way] = memory_array(series.capacity, sizeof(double));
    if (!series.seconds[0] || !series.seconds[1]) status = error_set(err, ERROR_NO_MEMORY, "no memory for the times");
    if (status == 0) status = measure(session, &series, batch, n_prompt, max_tokens, err);
    if (status == 0) print_line(session, &series, what, batch);
    if (status < 0) engine_close(session->engine), session->engine = NULL; /* its callbacks are about to go */
    free(series.seconds[0]);
    free(series.seconds[1]);
    return status;
}

int main(int argc, char **argv)
{
    struct session_options options = {.model_path = argc > 1 && argv[1][0] ? argv[1] : NULL,
                                      .card = argc > 2 ? argv[2] : "sim:u55c",
                                      .threads = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 1,
                                      .context = CONTEXT,
                                      .max_sequences = MAX_BATCH};
    const unsigned long steps = argc > 4 ? strtoul(argv[4], NULL, 10) : 2000;
    struct session session = {0};
    struct error err = {0};
    if (steps < 8 || steps > 1000000 || options.threads < 1 || options.threads > 256) {
        fprintf(stderr, "usage: clock_share [MODEL [CARD [THREADS up to 256 [STEPS from 8 to 1000000]]]]\n");
        return 2;
    }
    int status = session_open(&options, false, true, &session, &err);
    if (status == 0) status = measure_and_print(&session, steps, "decode", 1, 1, 512, &err);
    if (status == 0) status = measure_and_print(&session, steps, "decode", MAX_BATCH, 1, 512, &err);
    if (status == 0) status = measure_and_print(&session, steps / 10 + 8, "prefill", 1, PROMPT, 0, &err);
    if (status < 0) fprintf(stderr, "clock_share: %s\n", err.text);
    session_close(&session);
    return status < 0;
}
