/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether copies of experts and compute overlap in real time, on the simulated card with one compute thread: copies are paced at
 * a stated fraction of this machine's memory bandwidth (reading, one thread, measured first), and the time of the same steps is
 * taken with every expert resident (compute) and with some of the slots (total). Copies: bytes that came / pace. Prints one
 * JSON line for each workload, share of slots, way to guess and pace; ratio: total / the larger of compute and copies.
 *
 *   expert_overlap [MODEL [STEPS [FRACTION ...]]]     (no MODEL or "-": the demo model; fractions 4 16 64: 1/4, 1/16, 1/64)
 */
#include "host/experts/experts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHUNK 64u
#define READ_BYTES (256u << 20)

struct run {
    const struct model *model;
    unsigned long steps;
    uint32_t n_pages;
    float *logits;
};

struct result {
    double seconds;
    struct experts_traffic traffic;
};

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Bytes per second: the best of five passes over memory that no cache holds. */
static double read_bandwidth(void)
{
    uint64_t *words = malloc(READ_BYTES);
    double best = 0;
    if (!words) return 0;
    memset(words, 1, READ_BYTES);
    uint64_t kept = 0;
    for (int pass = 0; pass < 5; pass++) {
        uint64_t sum[8] = {0};
        const double start = seconds_now();
        for (size_t i = 0; i < READ_BYTES / sizeof *words; i += 8)
            for (size_t k = 0; k < 8; k++) sum[k] += words[i + k];
        for (size_t k = 0; k < 8; k++) kept += sum[k];
        const double rate = READ_BYTES / (seconds_now() - start);
        if (rate > best) best = rate;
    }
    free(words);
    return kept == 0 ? 0 : best;
}

/* One sequence from position `at` on. */
static int step(const struct run *run, struct loaded_model *loaded, struct step_memory *memory, uint32_t at, uint32_t n,
                struct error *err)
{
    uint32_t tokens[CHUNK], pages[64];
    struct card_batch_token batch[CHUNK];
    const uint32_t last = n - 1, n_vocab = model_get_config(run->model)->n_vocab;
    for (uint32_t i = 0; i < n; i++) {
        tokens[i] = (uint32_t)(((at + i) * 2654435761u >> 7) % n_vocab);
        batch[i] = (struct card_batch_token){.position = at + i, .visible = at + i + 1};
    }
    for (uint32_t i = 0; i < run->n_pages; i++) pages[i] = i;
    const struct step step = {n, tokens, batch, run->n_pages, pages, 1, &last, .sources = NULL};
    return model_step(loaded, memory, &step, run->logits, err);
}

/* The steps of a workload, each of `tokens` tokens, after three that are not counted. */
static int time_steps(const struct run *run, struct loaded_model *loaded, uint32_t tokens, struct result *result,
                      struct error *err)
{
    struct step_memory *memory;
    struct card_info info;
    struct experts_traffic before, after;
    card_describe(loaded_model_card(loaded), &info);
    const struct step_limits limits = {.max_tokens = CHUNK,
                                       .max_logit_rows = 1,
                                       .n_pages = run->n_pages,
                                       .max_pages_in_tables = run->n_pages,
                                       .kv_format = info.kv_default};
    int status = step_memory_open(loaded, &limits, &memory, err);
    if (status < 0) return status;
    const uint32_t room = run->n_pages * CARD_PAGE_TOKENS / tokens;
    for (uint32_t i = 0; i < 3 && status == 0; i++) status = step(run, loaded, memory, i * tokens, tokens, err);
    (void)experts_count_all(loaded, &before);
    const double start = seconds_now();
    for (unsigned long i = 0; i < run->steps && status == 0; i++)
        status = step(run, loaded, memory, (uint32_t)((i + 3) % room) * tokens, tokens, err);
    result->seconds = seconds_now() - start;
    (void)experts_count_all(loaded, &after);
    result->traffic = (struct experts_traffic){.hits = after.hits - before.hits,
                                               .misses = after.misses - before.misses,
                                               .ahead = after.ahead - before.ahead,
                                               .bytes = after.bytes - before.bytes};
    step_memory_close(memory);
    return status;
}

static int measure(const struct run *run, const struct model_load_options *options, uint32_t tokens,
                   struct result *result, struct error *err)
{
    struct card *card;
    struct loaded_model *loaded;
    int status = card_open("sim", &(struct card_options){.threads = 1}, &card, err);
    if (status < 0) return status;
    status = experts_load(run->model, card, options, &loaded, err);
    if (status == 0) {
        status = time_steps(run, loaded, tokens, result, err);
        loaded_model_close(loaded);
    }
    card_close(card);
    return status;
}

static void print(const struct run *run, const struct model_load_options *options, uint32_t tokens, double bandwidth,
                  const struct result *compute, const struct result *total)
{
    const double copies = (double)total->traffic.bytes / (double)options->expert_pace;
    const double limit = copies > compute->seconds ? copies : compute->seconds;
    printf("{\"name\":\"expert_overlap\",\"model\":\"%s\",\"tokens_a_step\":%u,\"steps\":%lu,\"slots\":%u,"
           "\"guess\":\"%s\",\"memory_gb_per_s\":%.2f,\"pace_gb_per_s\":%.3f,\"hits\":%llu,\"misses\":%llu,"
           "\"ahead\":%llu,\"compute_s\":%.4f,\"copies_s\":%.4f,\"total_s\":%.4f,\"ratio\":%.3f}\n",
           model_name(run->model), tokens, run->steps, options->expert_slots, options->expert_guess, bandwidth / 1e9,
           (double)options->expert_pace / 1e9, (unsigned long long)total->traffic.hits,
           (unsigned long long)total->traffic.misses, (unsigned long long)total->traffic.ahead, compute->seconds,
           copies, total->seconds, total->seconds / limit);
    fflush(stdout);
}

static int measure_all(const struct run *run, double bandwidth, double fraction, struct error *err)
{
    static const char *const guesses[] = {"none", "router"};
    const struct model_config *config = model_get_config(run->model);
    int status = 0;
    for (uint32_t tokens = 1; tokens <= CHUNK; tokens *= CHUNK) {
        struct result compute, total;
        status =
            measure(run, &(struct model_load_options){.threads = 1, .experts_resident = true}, tokens, &compute, err);
        for (unsigned i = 0; i < 6 && status == 0; i++) {
            const struct model_load_options options = {
                .threads = 1,
                .expert_slots = config->n_layers * config->n_experts * (i / 2 + 1) / 4,
                .expert_guess = guesses[i % 2],
                .expert_pace = (uint64_t)(bandwidth / fraction),
            };
            status = measure(run, &options, tokens, &total, err);
            if (status == 0) print(run, &options, tokens, bandwidth, &compute, &total);
        }
        if (status < 0) break;
    }
    return status;
}

int main(int argc, char **argv)
{
    static const char *const usual[] = {"4", "16", "64"};
    struct error err = {0};
    struct model *model;
    struct run run = {.steps = argc > 2 ? strtoul(argv[2], NULL, 10) : 200, .n_pages = 8};
    const char *path = argc > 1 && strcmp(argv[1], "-") != 0 ? argv[1] : NULL;
    const double bandwidth = read_bandwidth();
    int status = model_open(path, &model, &err);
    if (status == 0 && (model_get_config(model)->n_experts == 0 || bandwidth == 0 || run.steps == 0))
        status =
            error_set(&err, ERROR_BAD_ARGUMENT, "expert_overlap: a model with experts, memory and steps are needed");
    run.model = status == 0 ? model : NULL;
    run.logits = status == 0 ? malloc(model_get_config(model)->n_vocab * sizeof *run.logits) : NULL;
    const int n = argc > 3 ? argc - 3 : 3;
    for (int i = 0; i < n && status == 0 && run.logits; i++) {
        const double fraction = strtod(argc > 3 ? argv[3 + i] : usual[i], NULL);
        if (fraction >= 1) status = measure_all(&run, bandwidth, fraction, &err);
    }
    if (status < 0) fprintf(stderr, "expert_overlap: %s\n", err.text);
    free(run.logits);
    if (run.model) model_close(model);
    return status < 0;
}
