/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/bench_arrivals.h"

#include "host/base/memory.h"
#include "host/cli/usage_report.h"
#include "sluice_revision.h"

#include <math.h>
#include <stdlib.h>

#define DIGITS 15 /* all that a double has: times are exact to the picosecond below a quarter of an hour */

/* One request on its way; times are virtual. */
struct served {
    struct bench *bench;
    uint64_t arrived_ps;
    uint64_t *token_ps; /* owned; [n_tokens] of output_tokens */
    uint32_t n_tokens;
    uint64_t queue_ps;
    enum finish_reason reason;
};

struct bench {
    struct session *session;
    const struct arrivals *arrivals;
    struct served *served; /* [arrivals->count] */
    size_t n_submitted, n_ended;
    uint64_t started_ps, idle_ps;
    struct error error; /* of the first request that failed; code 0: none */
    struct usage_cards usage;
};

static uint64_t now_ps(const struct bench *bench)
{
    uint64_t now = 0;
    (void)card_now(bench->session->card, &now, NULL); /* it has a clock: check_card */
    return now;
}

static int on_token(void *context, uint32_t token)
{
    struct served *served = context;
    (void)token;
    served->token_ps[served->n_tokens++] = now_ps(served->bench);
    return 0;
}

static void on_end(void *context, enum finish_reason reason, const struct engine_usage *usage, const struct error *err)
{
    struct served *served = context;
    struct bench *bench = served->bench;
    served->reason = reason;
    served->queue_ps = (uint64_t)llround(usage->queue_seconds * (double)TIMELINE_PS_PER_S);
    bench->n_ended++;
    if (reason == FINISH_ERROR && bench->error.code == 0) bench->error = *err;
}

/* Tokens are spread over the vocabulary, so that experts and pages see what a text would do to them. */
static int submit_next(struct bench *bench, struct error *err)
{
    const size_t index = bench->n_submitted++;
    const struct arrival *arrival = &bench->arrivals->list[index];
    struct served *served = &bench->served[index];
    const uint32_t n_vocab = model_get_config(bench->session->model)->n_vocab;
    uint32_t *prompt = memory_array(arrival->prompt_tokens, sizeof *prompt);
    uint64_t id;
    served->bench = bench;
    served->arrived_ps = bench->started_ps + arrival->at_ps;
    served->token_ps = memory_array(arrival->output_tokens, sizeof *served->token_ps);
    int status = 0;
    if (prompt && served->token_ps) {
        for (uint32_t i = 0; i < arrival->prompt_tokens; i++)
            prompt[i] = random_bits(1, (uint32_t)index, i, 0) % n_vocab;
        const struct engine_request request = {
            .prompt = prompt,
            .n_prompt = arrival->prompt_tokens,
            .max_tokens = arrival->output_tokens,
            .ignore_eos = true,
            .prefix = PREFIX_COMPUTED,
            .arrived_ps = served->arrived_ps,
            .sampling = {.top_p = 1},
            .callbacks = {.token = on_token, .end = on_end},
            .context = served,
        };
        status = engine_submit(bench->session->engine, &request, &id, err);
    } else {
        status = error_set(err, ERROR_NO_MEMORY, "no host memory for a request of %u tokens",
                           arrival->prompt_tokens + arrival->output_tokens);
    }
    free(prompt);
    return status;
}

/* Whoever has arrived by now is submitted; then a step, or if there is nothing to do, time until the next one comes. */
static int advance(struct bench *bench, struct error *err)
{
    const struct arrivals *arrivals = bench->arrivals;
    const uint64_t now = now_ps(bench);
    while (bench->n_submitted < arrivals->count &&
           bench->started_ps + arrivals->list[bench->n_submitted].at_ps <= now) {
        int status = submit_next(bench, err);
        if (status < 0) return status;
    }
    int status = engine_step(bench->session->engine, err);
    if (status != 0 || bench->n_submitted == arrivals->count) return status;
    const uint64_t idle_ps = bench->started_ps + arrivals->list[bench->n_submitted].at_ps - now;
    bench->idle_ps += idle_ps;
    for (unsigned i = 0; i < bench->session->cards.n && status == 0; i++)
        status = card_spend(bench->session->cards.card[i], idle_ps, err);
    return status;
}

static int serve_all(struct bench *bench, struct error *err)
{
    int status = 0;
    bench->started_ps = now_ps(bench);
    usage_cards_begin(&bench->session->cards, &bench->usage);
    while (status >= 0 && bench->n_ended < bench->arrivals->count) status = advance(bench, err);
    usage_cards_end(&bench->session->cards, &bench->usage);
    bench->usage.all.usage.busy_ps[TIMELINE_HOST] -= bench->idle_ps; /* it had nothing to do */
    if (status >= 0 && bench->error.code != 0) status = error_set(err, bench->error.code, "%s", bench->error.text);
    return status < 0 ? status : 0;
}

static int compare_times(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Times of one kind, in the order of requests until they are sorted. */
struct times {
    uint64_t *ps; /* owned */
    size_t n;
};

/* The smallest time that at least percent of them do not exceed; sorted, not empty. */
static uint64_t percentile(const struct times *times, size_t percent)
{
    const size_t rank = (times->n * percent + 99) / 100;
    return times->ps[rank > 0 ? rank - 1 : 0];
}

static double ms(uint64_t ps) { return (double)ps / 1e9; }

/* Sorts. Null without any times. */
static json_t *times_json(struct times *times)
{
    if (times->n == 0) return json_null();
    double sum = 0;
    qsort(times->ps, times->n, sizeof *times->ps, compare_times);
    for (size_t i = 0; i < times->n; i++) sum += ms(times->ps[i]);
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "mean", sum / (double)times->n, "p50", ms(percentile(times, 50)),
                     "p90", ms(percentile(times, 90)), "p95", ms(percentile(times, 95)), "p99",
                     ms(percentile(times, 99)), "max", ms(times->ps[times->n - 1]));
}

static void add_gaps(const struct served *served, struct times *times)
{
    for (uint32_t i = 1; i < served->n_tokens; i++)
        times->ps[times->n++] = served->token_ps[i] - served->token_ps[i - 1];
}

/* Takes line over; NULL: it could not be made. */
static int print_line(json_t *line, struct error *err)
{
    const bool failed = !line || json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(DIGITS)) < 0 ||
                        putchar('\n') == EOF || fflush(stdout) != 0;
    json_decref(line);
    return failed ? error_set(err, ERROR_IO, "cannot write the result") : 0;
}

static int print_request(const struct bench *bench, size_t index, struct error *err)
{
    const struct arrival *arrival = &bench->arrivals->list[index];
    const struct served *served = &bench->served[index];
    struct times gaps = {.ps = memory_array(served->n_tokens, sizeof *gaps.ps)};
    if (!gaps.ps) return error_set(err, ERROR_NO_MEMORY, "no host memory for the results");
    add_gaps(served, &gaps);
    const uint64_t first = served->n_tokens > 0 ? served->token_ps[0] : served->arrived_ps;
    const uint64_t last = served->n_tokens > 0 ? served->token_ps[served->n_tokens - 1] : served->arrived_ps;
    json_t *line =
        json_pack("{s:s, s:I, s:f, s:i, s:i, s:s, s:f, s:f, s:o, s:f, s:f}", "name", "request", "line",
                  (json_int_t)arrival->line, "at_ms", ms(arrival->at_ps), "prompt_tokens", (int)arrival->prompt_tokens,
                  "output_tokens", (int)served->n_tokens, "finish", finish_reason_name(served->reason), "queue_ms",
                  ms(served->queue_ps), "ttft_ms", ms(first - served->arrived_ps), "inter_token_ms", times_json(&gaps),
                  "total_ms", ms(last - served->arrived_ps), "end_ms", ms(last - bench->started_ps));
    free(gaps.ps);
    return print_line(line, err);
}

/* What every line of a benchmark names (DESIGN section 6); threads and wall time have no say here. */
static json_t *summary_json(const struct bench *bench, const char *hash, uint64_t n_tokens, uint64_t n_prompt_tokens)
{
    const struct session *session = bench->session;
    struct card_info info;
    struct engine_limits limits;
    struct engine_counters counters;
    card_describe(session->card, &info);
    engine_get_limits(session->engine, &limits);
    engine_count(session->engine, &counters);
    json_t *line = json_pack("{s:s, s:s, s:s?, s:s, s:s?, s:n, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:n}", "name",
                             "arrivals", "model", model_name(session->model), "file_sha256", hash, "card", info.backend,
                             "card_profile", card_profile(&info), "threads", "batch", (int)limits.max_sequences,
                             "chunk", (int)limits.chunk, "context", (int)limits.context, "requests",
                             (json_int_t)bench->arrivals->count, "tokens", (json_int_t)n_tokens, "prompt_tokens",
                             (json_int_t)n_prompt_tokens, "steps", (json_int_t)counters.steps, "tokens_per_s_wall");
    if (line && (!usage_set_json(&bench->usage.all, n_tokens, line) ||
                 !usage_cards_set_json(&session->cards, session->loaded, &bench->usage, line)))
        json_decref(line), line = NULL;
    return line;
}

static int print_summary(const struct bench *bench, const char *hash, struct error *err)
{
    const size_t n_requests = bench->arrivals->count;
    uint64_t n_tokens = 0, n_prompt_tokens = 0;
    for (size_t i = 0; i < n_requests; i++) {
        n_tokens += bench->served[i].n_tokens;
        n_prompt_tokens += bench->arrivals->list[i].prompt_tokens;
    }
    struct times first = {.ps = memory_array(n_requests, sizeof *first.ps)},
                 total = {.ps = memory_array(n_requests, sizeof *total.ps)},
                 gaps = {.ps = memory_array(n_tokens, sizeof *gaps.ps)};
    json_t *line = first.ps && total.ps && gaps.ps ? summary_json(bench, hash, n_tokens, n_prompt_tokens) : NULL;
    for (size_t i = 0; i < n_requests && line; i++) {
        const struct served *served = &bench->served[i];
        if (served->n_tokens == 0) continue;
        first.ps[first.n++] = served->token_ps[0] - served->arrived_ps;
        total.ps[total.n++] = served->token_ps[served->n_tokens - 1] - served->arrived_ps;
        add_gaps(served, &gaps);
    }
    bool failed = !line || json_object_set_new(line, "ttft_ms", times_json(&first)) < 0 ||
                  json_object_set_new(line, "inter_token_ms", times_json(&gaps)) < 0 ||
                  json_object_set_new(line, "total_ms", times_json(&total)) < 0 ||
                  json_object_set_new(line, "revision", json_string(SLUICE_REVISION)) < 0;
    free(first.ps);
    free(total.ps);
    free(gaps.ps);
    if (!failed) return print_line(line, err);
    json_decref(line);
    return error_set(err, ERROR_NO_MEMORY, "no host memory for the results");
}

static int check(const struct session *session, const struct arrivals *arrivals, struct error *err)
{
    struct engine_limits limits;
    uint64_t now;
    engine_get_limits(session->engine, &limits);
    if (card_now(session->card, &now, err) < 0) return error_prefix(err, "--arrivals");
    for (size_t i = 0; i < arrivals->count; i++) {
        const struct arrival *arrival = &arrivals->list[i];
        if ((uint64_t)arrival->prompt_tokens + arrival->output_tokens > limits.context)
            return error_set(err, ERROR_TOO_LARGE,
                             "--arrivals: line %zu: %u and %u tokens need a larger context than %u (give less, or a "
                             "larger -c)",
                             arrival->line, arrival->prompt_tokens, arrival->output_tokens, limits.context);
    }
    return 0;
}

int bench_arrivals(struct session *session, const struct arrivals *arrivals, const char *hash, struct error *err)
{
    struct bench bench = {.session = session, .arrivals = arrivals};
    int status = check(session, arrivals, err);
    if (status < 0) return status;
    bench.served = memory_array(arrivals->count, sizeof *bench.served);
    if (!bench.served) return error_set(err, ERROR_NO_MEMORY, "no host memory for %zu requests", arrivals->count);
    status = serve_all(&bench, err);
    for (size_t i = 0; i < arrivals->count && status == 0; i++) status = print_request(&bench, i, err);
    if (status == 0) status = print_summary(&bench, hash, err);
    if (bench.n_ended < bench.n_submitted) engine_close(session->engine), session->engine = NULL; /* callbacks end */
    for (size_t i = 0; i < arrivals->count; i++) free(bench.served[i].token_ps);
    free(bench.served);
    return status;
}
