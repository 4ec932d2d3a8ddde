/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice bench: speed of prefill and of decode, apart. Timing windows:
 *   prefill  from the first step to the end of the last of BATCH prompts of -p tokens each, nothing sampled
 *   decode   BATCH sequences that start from one token each; from the step after the one that gave the last of them its first
 *            token to the end, -n steps of BATCH tokens
 *   load     from before the file is opened until the engine is ready; and on to the first token of a one-token prompt
 *   prefix   from the submission of a prompt to its first token: computed, then again from the pages that this left
 * One run of each but load warms up and is not counted. With --arrivals none of these: see bench_arrivals.h; nor with
 * --routing: see bench_routing.h.
 */
#include "host/base/memory.h"
#include "host/cli/bench_arrivals.h"
#include "host/cli/bench_routing.h"
#include "host/cli/commands.h"
#include "host/cli/experts_report.h"
#include "host/cli/file_hash.h"
#include "host/cli/progress.h"
#include "host/cli/session.h"
#include "host/cli/usage_report.h"
#include "sluice_revision.h"

#include <jansson.h>
#include <string.h>

#define MAX_REPEAT 1000u

struct bench_options {
    struct session_options session;
    uint32_t n_prompt, n_decode, n_prefix, batch, repeat;
    const char *arrivals; /* NULL, or the file */
    struct bench_routing_options routing;
    bool load, no_hash;
};

/* One measured window. */
struct sample {
    double seconds;
    uint64_t tokens, steps, drafted, accepted;
    struct usage_cards usage;
    struct experts_window experts;
};

struct bench_run {
    uint32_t n_started, n_ended; /* sequences that gave a token; that ended */
    uint32_t n_cached;           /* prompt tokens that came from the prefix cache */
    uint64_t n_tokens;
    struct error error; /* of the first sequence that failed; code 0: none */
};

/* The context of one sequence's callbacks. */
struct bench_sequence {
    struct bench_run *run;
    bool started;
};

static int on_token(void *context, uint32_t token)
{
    struct bench_sequence *sequence = context;
    (void)token;
    sequence->run->n_started += !sequence->started;
    sequence->started = true;
    sequence->run->n_tokens++;
    return 0;
}

static void on_end(void *context, enum finish_reason reason, const struct engine_usage *usage, const struct error *err)
{
    struct bench_sequence *sequence = context;
    sequence->run->n_ended++;
    sequence->run->n_cached += usage->cached_tokens;
    if (reason == FINISH_ERROR && sequence->run->error.code == 0) sequence->run->error = *err;
}

/* Tokens are spread over the vocabulary, so that experts and pages see what a text would do to them. */
static int submit_all(struct session *session, struct bench_sequence *sequences, uint32_t batch, uint32_t n_prompt,
                      uint32_t max_tokens, enum engine_prefix prefix, struct error *err)
{
    uint32_t n_vocab = model_get_config(session->model)->n_vocab;
    uint32_t *prompt = memory_array(n_prompt, sizeof *prompt);
    int status = prompt ? 0 : error_set(err, ERROR_NO_MEMORY, "no host memory for a prompt of %u tokens", n_prompt);
    for (uint32_t i = 0; i < batch && status == 0; i++) {
        uint64_t id;
        for (uint32_t j = 0; j < n_prompt; j++) prompt[j] = random_bits(1, i, j, 0) % n_vocab;
        const struct engine_request request = {
            .prompt = prompt,
            .n_prompt = n_prompt,
            .max_tokens = max_tokens,
            .ignore_eos = true,
            .prefix = prefix,
            .sampling = {.top_p = 1},
            .callbacks = {.token = on_token, .end = on_end},
            .context = &sequences[i],
        };
        status = engine_submit(session->engine, &request, &id, err);
    }
    free(prompt);
    return status;
}

static void begin_window(const struct session *session, struct sample *sample)
{
    struct engine_counters counters;
    engine_count(session->engine, &counters);
    usage_cards_begin(&session->cards, &sample->usage);
    experts_window_begin(session->loaded, &sample->experts);
    sample->steps = counters.steps;
    sample->drafted = counters.drafted_tokens;
    sample->accepted = counters.accepted_tokens;
    sample->seconds = seconds_now();
}

static void end_window(const struct session *session, struct sample *sample)
{
    struct engine_counters counters;
    sample->seconds = seconds_now() - sample->seconds;
    engine_count(session->engine, &counters);
    usage_cards_end(&session->cards, &sample->usage);
    experts_window_end(session->loaded, &sample->experts);
    sample->steps = counters.steps - sample->steps;
    sample->drafted = counters.drafted_tokens - sample->drafted;
    sample->accepted = counters.accepted_tokens - sample->accepted;
}

/* One run of prefill (max_tokens 0) or decode; the window of decode opens when every sequence has a token. */
static int measure(struct session *session, uint32_t batch, uint32_t n_prompt, uint32_t max_tokens,
                   struct sample *sample, struct error *err)
{
    struct bench_run run = {0};
    bool open = max_tokens == 0;
    uint64_t before = 0;
    struct bench_sequence *sequences = memory_array(batch, sizeof *sequences);
    if (!sequences) return error_set(err, ERROR_NO_MEMORY, "no host memory for %u sequences", batch);
    for (uint32_t i = 0; i < batch; i++) sequences[i].run = &run;
    int status = submit_all(session, sequences, batch, n_prompt, max_tokens, PREFIX_COMPUTED, err);
    if (open) begin_window(session, sample);
    while (status == 0 && run.n_ended < batch) {
        if (engine_step(session->engine, err) < 0) status = err->code;
        if (open || run.n_started < batch) continue;
        open = true;
        before = run.n_tokens;
        begin_window(session, sample);
    }
    if (status == 0 && run.error.code != 0) status = error_set(err, run.error.code, "%s", run.error.text);
    if (status == 0) end_window(session, sample);
    sample->tokens = max_tokens == 0 ? (uint64_t)batch * n_prompt : run.n_tokens - before;
    if (status < 0) engine_close(session->engine), session->engine = NULL; /* no callback may outlive sequences */
    free(sequences);
    return status;
}

static double speed(const struct sample *sample)
{
    return sample->seconds > 0 ? (double)sample->tokens / sample->seconds : 0;
}

static int compare_speed(const void *a, const void *b)
{
    double x = speed(a), y = speed(b);
    return x < y ? -1 : x > y;
}

/* The JSON line of one measurement; samples are sorted by speed. The median stands for all. */
static int print_line(const struct session *session, const struct bench_options *options, const char *name,
                      const char *hash, const struct sample *samples, struct error *err)
{
    const struct sample *median = &samples[options->repeat / 2];
    const struct card_counters *done = &median->usage.all.counters;
    struct card_info info;
    struct engine_limits limits;
    card_describe(session->card, &info);
    engine_get_limits(session->engine, &limits);
    json_t *line = json_pack("{s:s, s:s, s:s?, s:s, s:s?, s:i, s:i, s:i, s:i, s:i, s:I, s:f, s:f, s:f, s:f}", "name",
                             name, "model", model_name(session->model), "file_sha256", hash, "card", info.backend,
                             "card_profile", card_profile(&info), "threads", (int)info.threads, "batch",
                             (int)options->batch, "chunk", (int)limits.chunk, "context", (int)limits.context, "repeat",
                             (int)options->repeat, "tokens", (json_int_t)median->tokens, "seconds", median->seconds,
                             "tokens_per_s_wall", speed(median), "tokens_per_s_wall_min", speed(&samples[0]),
                             "tokens_per_s_wall_max", speed(&samples[options->repeat - 1]));
    json_t *counters =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "steps", (json_int_t)median->steps, "programs",
                  (json_int_t)done->programs, "bytes_to_card", (json_int_t)done->bytes_to_card, "bytes_from_card",
                  (json_int_t)done->bytes_from_card, "weight_bytes", (json_int_t)done->weight_bytes, "kv_bytes",
                  (json_int_t)done->kv_bytes, "multiply_adds", (json_int_t)done->multiply_adds, "drafted_tokens",
                  (json_int_t)median->drafted, "accepted_tokens", (json_int_t)median->accepted);
    bool failed = !line || !counters || !usage_set_json(&median->usage.all, median->tokens, line) ||
                  !usage_cards_set_json(&session->cards, session->loaded, &median->usage, line) ||
                  !experts_set_json(session->loaded, &median->experts, line) ||
                  json_object_set(line, "counters", counters) < 0 ||
                  json_object_set_new(line, "revision", json_string(SLUICE_REVISION)) < 0 ||
                  json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(7)) < 0 || putchar('\n') == EOF ||
                  fflush(stdout) != 0;
    json_decref(counters);
    json_decref(line);
    return failed ? error_set(err, ERROR_IO, "cannot write the result") : 0;
}

static int bench_one(struct session *session, const struct bench_options *options, bool decode, const char *hash,
                     struct error *err)
{
    uint32_t n_prompt = decode ? 1 : options->n_prompt;
    uint32_t max_tokens = decode ? options->n_decode + 1 : 0; /* the first one is outside the window */
    struct sample *samples = memory_array(options->repeat + 1, sizeof *samples);
    int status = samples ? 0 : error_set(err, ERROR_NO_MEMORY, "no host memory for the results");
    for (uint32_t i = 0; i <= options->repeat && status == 0; i++) /* the first warms up; its place is used again */
        status = measure(session, options->batch, n_prompt, max_tokens, &samples[i > 0 ? i - 1 : 0], err);
    if (status == 0) {
        qsort(samples, options->repeat, sizeof *samples, compare_speed);
        status = print_line(session, options, decode ? "decode" : "prefill", hash, samples, err);
    }
    free(samples);
    return status;
}

/* From the submission of a prompt to its first token. */
struct first_token {
    double seconds;
    uint64_t virtual_ps; /* 0 without a clock */
    uint32_t n_cached;   /* tokens of the prompt that came from the prefix cache */
};

static uint64_t virtual_now(const struct session *session)
{
    uint64_t now = 0;
    return card_now(session->card, &now, NULL) == 0 ? now : 0;
}

static int time_first_token(struct session *session, uint32_t n_prompt, enum engine_prefix prefix,
                            struct first_token *first, struct error *err)
{
    struct bench_run run = {0};
    struct bench_sequence sequence = {.run = &run};
    const double start = seconds_now();
    const uint64_t virtual_start = virtual_now(session);
    int status = submit_all(session, &sequence, 1, n_prompt, 1, prefix, err);
    *first = (struct first_token){0};
    while (status == 0 && run.n_ended < 1) {
        if (engine_step(session->engine, err) < 0) status = err->code;
        if (run.n_started == 0 || first->seconds > 0) continue;
        first->seconds = seconds_now() - start;
        first->virtual_ps = virtual_now(session) - virtual_start;
    }
    if (status == 0 && run.error.code != 0) status = error_set(err, run.error.code, "%s", run.error.text);
    if (status < 0) engine_close(session->engine), session->engine = NULL; /* no callback may outlive sequence */
    first->n_cached = run.n_cached;
    return status;
}

/* Seconds of virtual time, null without a clock. */
static json_t *virtual_seconds(uint64_t ps)
{
    return ps > 0 ? json_real((double)ps / (double)TIMELINE_PS_PER_S) : json_null();
}

/* hash: NULL if unknown. Takes line over; NULL: it could not be made. */
static int print_times(const struct session *session, const char *hash, json_t *line, struct error *err)
{
    struct card_info info;
    card_describe(session->card, &info);
    bool failed = !line || json_object_set_new(line, "model", json_string(model_name(session->model))) < 0 ||
                  json_object_set_new(line, "file_sha256", hash ? json_string(hash) : json_null()) < 0 ||
                  json_object_set_new(line, "card", json_string(info.backend)) < 0 ||
                  json_object_set_new(line, "card_profile",
                                      card_profile(&info) ? json_string(card_profile(&info)) : json_null()) < 0 ||
                  json_object_set_new(line, "threads", json_integer((json_int_t)info.threads)) < 0 ||
                  json_object_set_new(line, "revision", json_string(SLUICE_REVISION)) < 0 ||
                  json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(7)) < 0 || putchar('\n') == EOF ||
                  fflush(stdout) != 0;
    json_decref(line);
    return failed ? error_set(err, ERROR_IO, "cannot write the result") : 0;
}

static int compare_seconds(const void *a, const void *b)
{
    double x = ((const struct first_token *)a)->seconds, y = ((const struct first_token *)b)->seconds;
    return x < y ? -1 : x > y;
}

static int bench_prefix(struct session *session, const struct bench_options *options, const char *hash,
                        struct error *err)
{
    uint32_t n = options->repeat, n_prompt = options->n_prefix + 1;
    struct first_token *computed = memory_array((size_t)n + 1, sizeof *computed),
                       *cached = memory_array((size_t)n + 1, sizeof *cached);
    int status = computed && cached ? 0 : error_set(err, ERROR_NO_MEMORY, "no host memory for the results");
    for (uint32_t i = 0; i <= n && status == 0; i++) { /* the first warms up; its place is used again */
        uint32_t place = i > 0 ? i - 1 : 0;
        status = time_first_token(session, n_prompt, PREFIX_COMPUTED, &computed[place], err);
        if (status == 0) status = time_first_token(session, n_prompt, PREFIX_CACHED, &cached[place], err);
    }
    if (status == 0) {
        qsort(computed, n, sizeof *computed, compare_seconds);
        qsort(cached, n, sizeof *cached, compare_seconds);
        const struct first_token *a = &computed[n / 2], *b = &cached[n / 2];
        json_t *line =
            json_pack("{s:s, s:i, s:i, s:i, s:f, s:f, s:o, s:o}", "name", "prefix", "repeat", (int)n, "prompt_tokens",
                      (int)n_prompt, "cached_tokens", (int)b->n_cached, "seconds_computed", a->seconds,
                      "seconds_cached", b->seconds, "seconds_computed_virtual", virtual_seconds(a->virtual_ps),
                      "seconds_cached_virtual", virtual_seconds(b->virtual_ps));
        status = print_times(session, hash, line, err);
    }
    free(computed);
    free(cached);
    return status;
}

/* start: seconds_now() before the session was opened; ready: after. No hash: reading all of the file is no part of it. */
static int bench_load(struct session *session, double start, double ready, struct error *err)
{
    struct first_token first;
    const uint64_t virtual_ready = virtual_now(session); /* the card's clock starts as it is opened */
    int status = time_first_token(session, 1, PREFIX_COMPUTED, &first, err);
    if (status < 0) return status;
    json_t *line = json_pack("{s:s, s:f, s:f, s:o, s:o}", "name", "load", "seconds", ready - start,
                             "seconds_first_token", ready - start + first.seconds, "seconds_virtual",
                             virtual_seconds(virtual_ready), "seconds_first_token_virtual",
                             virtual_seconds(virtual_ready > 0 ? virtual_ready + first.virtual_ps : 0));
    return print_times(session, NULL, line, err);
}

static int check_lengths(const struct session *session, const struct bench_options *options, struct error *err)
{
    struct engine_limits limits;
    engine_get_limits(session->engine, &limits);
    uint32_t needed = options->n_prompt > options->n_decode + 2 ? options->n_prompt : options->n_decode + 2;
    if (options->n_prefix > 0 && needed < options->n_prefix + 2) needed = options->n_prefix + 2;
    if (needed <= limits.context) return 0;
    return error_set(err, ERROR_TOO_LARGE,
                     "-p %u, -n %u and --prefix %u need a context of %u tokens, it is %u (give less, or a larger -c)",
                     options->n_prompt, options->n_decode, options->n_prefix, needed, limits.context);
}

/* The lines of --arrivals: the file is read before the model is. */
static int bench_file(const struct bench_options *options, struct error *err)
{
    struct session session = {0};
    struct arrivals arrivals;
    char digits[FILE_HASH_HEX];
    struct session_options asked = options->session;
    int status = arrivals_read(options->arrivals, &arrivals, err);
    asked.queue_limit = arrivals.count < UINT32_MAX ? (uint32_t)arrivals.count : UINT32_MAX;
    if (status == 0) status = session_open(&asked, false, true, &session, err);
    if (status == 0 && !options->no_hash) model_hash(session.model, digits);
    if (status == 0) status = bench_arrivals(&session, &arrivals, options->no_hash ? NULL : digits, err);
    if (status == 0) status = session_end_trace(&session, err);
    session_close(&session);
    arrivals_free(&arrivals);
    return status;
}

static int bench(const struct bench_options *options, struct error *err)
{
    struct session session;
    char digits[FILE_HASH_HEX];
    double start = seconds_now();
    int status = session_open(&options->session, false, true, &session, err);
    if (status < 0) return status;
    double ready = seconds_now();
    status = check_lengths(&session, options, err);
    if (status == 0 && options->load) status = bench_load(&session, start, ready, err);
    if (status == 0 && !options->no_hash) model_hash(session.model, digits);
    const char *hash = options->no_hash ? NULL : digits;
    if (status == 0 && options->n_prompt > 0) status = bench_one(&session, options, false, hash, err);
    if (status == 0 && options->n_decode > 0) status = bench_one(&session, options, true, hash, err);
    if (status == 0 && options->n_prefix > 0) status = bench_prefix(&session, options, hash, err);
    if (status == 0) status = session_end_trace(&session, err);
    session_close(&session);
    return status;
}

static int bench_trace(struct bench_options *options)
{
    struct bench_routing_options *routing = &options->routing;
    struct error err = {0};
    routing->card = options->session.card;
    routing->policy = options->session.expert_policy;
    routing->slots = options->session.expert_slots;
    routing->steps = options->n_decode;
    routing->batch = options->batch;
    routing->model_path = options->session.model_path;
    return bench_routing(routing, &err) < 0 ? failure("bench: %s", err.text) : EXIT_DONE;
}

static int run(const struct command *self, int argc, char **argv)
{
    struct bench_options o = {.n_prompt = 128,
                              .n_decode = 64,
                              .batch = 1,
                              .repeat = 3,
                              .routing = {.warm_steps = 256, .position = 1023, .seed = 7}};
    bool json; /* what it prints anyway */
    const struct option table[] = {
        {"prompt", 'p', OPTION_U32, &o.n_prompt, "N", "tokens of a prompt (default 128; 0: no prefill line)", 0,
         1 << 24},
        {"decode", 'n', OPTION_U32, &o.n_decode, "N", "tokens to decode (default 64; 0: no decode line)", 0, 1 << 24},
        {"prefix", 0, OPTION_U32, &o.n_prefix, "N",
         "time to first token after N tokens, computed and from the prefix cache (default 0: no line)", 0, 1 << 24},
        {"arrivals", 0, OPTION_TEXT, &o.arrivals, "FILE",
         "serve the requests of FILE in virtual time instead (needs --card sim:PROFILE)", 0, 0},
        {"routing", 0, OPTION_TEXT, &o.routing.routing, "FILE",
         "decode by a routing trace in virtual time instead, without a model (needs --card sim:PROFILE)", 0, 0},
        {"arch", 0, OPTION_TEXT, &o.routing.architecture, "NAME",
         "of --routing: a name of sluice plan (default: the trace's model)", 0, 0},
        {"resident", 0, OPTION_U32, &o.routing.resident_percent, "PERCENT",
         "of --routing: experts in card memory (default: a line for 25, 50 and 75)", 1, 100},
        {"warm", 0, OPTION_U32, &o.routing.warm_steps, "N",
         "of --routing: steps that fill the slots and are not counted (default 256)", 0, 1 << 24},
        {"position", 0, OPTION_U32, &o.routing.position, "N",
         "of --routing: at which each token is decoded (default 1023)", 0, 1 << 20},
        {"no-guesses", 0, OPTION_FLAG, &o.routing.no_guesses, NULL,
         "of --routing: what the trace predicts of the next layer is not copied ahead", 0, 0},
        {"seed", 0, OPTION_U64, &o.routing.seed, "N", "of --routing: of a recipe's trace (default 7)", 0, 0},
        {"load", 0, OPTION_FLAG, &o.load, NULL, "a line with the time to load and to a first token", 0, 0},
        {"no-hash", 0, OPTION_FLAG, &o.no_hash, NULL, "leave out the file's hash, which reads all of it", 0, 0},
        {"batch", 'b', OPTION_U32, &o.batch, "N", "sequences at the same time (default 1)", 1, 1024},
        {"repeat", 'r', OPTION_U32, &o.repeat, "N", "measured runs; the median is printed (default 3)", 1, MAX_REPEAT},
        {"json", 0, OPTION_FLAG, &json, NULL, "JSON lines, as always", 0, 0},
        SESSION_OPTION_ROWS(&o.session),
        SPECULATION_OPTION_ROWS(&o.session),
        TRACE_OPTION_ROW(&o.session),
        {0},
    };
    int n_operands;
    int status = options_parse(self, table, argc, argv, &o.session.model_path, 1, &n_operands);
    if (status < 0) status = session_check(self, &o.session);
    if (status >= 0) return status;
    if (o.routing.routing &&
        (o.arrivals || o.load || o.n_prefix > 0 || o.n_decode == 0 || (o.routing.architecture && o.session.model_path)))
        return usage_error(self, "--routing measures by itself: give -n and MODEL or --arch, and leave out --arrivals, "
                                 "--load and --prefix");
    if (o.routing.routing && o.session.cards)
        return usage_error(self, "--routing runs on one card: --card sim:PROFILE");
    if (o.arrivals && (o.load || o.n_prefix > 0))
        return usage_error(self, "--arrivals measures by itself: leave out --load and --prefix");
    if (!o.arrivals && o.n_prompt == 0 && o.n_decode == 0 && o.n_prefix == 0 && !o.load)
        return usage_error(self, "-p 0 and -n 0 leave nothing to measure");
    if (!o.arrivals && o.session.max_sequences < o.batch) o.session.max_sequences = o.batch;

    struct error err = {0};
    if (o.routing.routing) return bench_trace(&o);
    if ((o.arrivals ? bench_file(&o, &err) : bench(&o, &err)) < 0) return failure("bench: %s", err.text);
    return EXIT_DONE;
}

const struct command command_bench = {
    .name = "bench",
    .synopsis = "[MODEL] [-p N] [-n N] [-t THREADS] [-b BATCH] [--prefix N] [--load] [--arrivals FILE] "
                "[--routing FILE] [--trace FILE]",
    .summary = "Measures the speed of prefill and decode.",
    .details =
        "Prints one JSON object per line: prefill of -p tokens for each of BATCH sequences, and -n decode steps of "
        "BATCH\n"
        "tokens that start from prompts of one token. End tokens are ignored. Virtual time, energy, bandwidth and\n"
        "utilisation are null but on --card sim:PROFILE.\n"
        "With --arrivals, for each line of FILE, {\"at_ms\": 12.5, \"prompt_tokens\": 512, \"output_tokens\": 64} or\n"
        "12.5,512,64, what became of that request in virtual time, then percentiles; -p, -n, -b and -r have no part "
        "in\n"
        "it, --max-seqs and --chunk do. The same file gives the same bytes on any machine, with any --threads.\n"
        "With --routing, decode of a model's shape whose experts stream as FILE, a routing trace, or the generator's\n"
        "recipe of that name (mixtral-8x7b, qwen3-30b-a3b, deepseek-v3, kimi-k2) says: -n steps after --warm, for "
        "each\n"
        "share of experts --resident, with --expert-policy. No weight is read, and the card's memory is as large as\n"
        "that needs.",
    .run = run,
};
