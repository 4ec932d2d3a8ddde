/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice eval: how well a model predicts a text, and how far its predictions are from those of another card or file.
 *
 * The input is passages (eval_input.h), each of which starts anew. Sums are in double precision.
 */
#include "host/base/memory.h"
#include "host/cli/commands.h"
#include "host/cli/eval_input.h"
#include "host/cli/session.h"
#include "host/cli/vocabulary_input.h"
#include "sluice_revision.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

struct eval_options {
    struct session_options session;
    const char *text_file, *questions, *against_card, *against_model;
    uint32_t window;
    bool json;
};

/* Sums over predictions. */
struct score {
    uint64_t n;
    uint64_t n_passages, n_right; /* right: every token that was to be predicted had the largest logit */
    double log_likelihood;        /* natural logarithm */
    double kl, kl_largest;        /* of the other's distribution from this one, in nats */
    double error_ratio; /* squared error of the logits over the square of the other's distance from its mean */
    uint64_t same_top;
};

/* One passage in one session. The context of its callbacks. */
struct passage {
    const uint32_t *ids;
    uint32_t n, scored, n_vocab;
    float *keep;        /* where the rows go, [n][n_vocab]; NULL: nowhere */
    const float *other; /* the other session's rows, to compare with; NULL: nothing */
    struct score *score;
    bool wrong, ended;
    struct error end_error;
};

static uint32_t find_top(const float *logits, uint32_t n)
{
    uint32_t top = 0;
    for (uint32_t i = 1; i < n; i++) top = logits[i] > logits[top] ? i : top;
    return top;
}

/* log of the sum of e^logit. */
static double log_sum(const float *logits, uint32_t n)
{
    double largest = (double)logits[find_top(logits, n)], sum = 0;
    for (uint32_t i = 0; i < n; i++) sum += exp((double)logits[i] - largest);
    return largest + log(sum);
}

static void add_difference(struct score *score, const float *logits, const float *other, uint32_t n)
{
    const double norm = log_sum(logits, n), other_norm = log_sum(other, n);
    double kl = 0, mean = 0, error = 0, spread = 0;
    for (uint32_t i = 0; i < n; i++) mean += (double)other[i] / n;
    for (uint32_t i = 0; i < n; i++) {
        const double log_p = (double)other[i] - other_norm, log_q = (double)logits[i] - norm;
        const double difference = (double)logits[i] - (double)other[i], distance = (double)other[i] - mean;
        kl += exp(log_p) * (log_p - log_q);
        error += difference * difference;
        spread += distance * distance;
    }
    kl = kl > 0 ? kl : 0; /* what is below is rounding */
    score->kl += kl;
    score->kl_largest = kl > score->kl_largest ? kl : score->kl_largest;
    score->error_ratio += spread > 0 ? error / spread : 0;
    score->same_top += find_top(logits, n) == find_top(other, n);
}

static void on_logits(void *context, uint32_t position, const float *logits)
{
    struct passage *passage = context;
    const size_t row = (size_t)position * passage->n_vocab;
    if (passage->keep) memcpy(passage->keep + row, logits, passage->n_vocab * sizeof *logits);
    if (position + 1 < passage->scored || position + 1 >= passage->n) return;
    const uint32_t next = passage->ids[position + 1];
    passage->score->n++;
    passage->score->log_likelihood += (double)logits[next] - log_sum(logits, passage->n_vocab);
    passage->wrong |= find_top(logits, passage->n_vocab) != next;
    if (passage->other) add_difference(passage->score, logits, passage->other + row, passage->n_vocab);
}

static void on_end(void *context, enum finish_reason reason, const struct engine_usage *usage, const struct error *err)
{
    struct passage *passage = context;
    (void)usage;
    passage->ended = true;
    if (reason == FINISH_ERROR) passage->end_error = *err;
}

static int run_passage(const struct session *session, struct passage *passage, struct error *err)
{
    uint64_t id;
    const struct engine_request request = {
        .prompt = passage->ids,
        .n_prompt = passage->n,
        .ignore_eos = true,
        .sampling = {.top_p = 1},
        .callbacks = {.logits = on_logits, .end = on_end},
        .context = passage,
    };
    int status = engine_submit(session->engine, &request, &id, err);
    while (status >= 0 && !passage->ended) status = engine_step(session->engine, err);
    if (status < 0) return status;
    if (passage->end_error.code != 0) return error_set(err, passage->end_error.code, "%s", passage->end_error.text);
    passage->score->n_passages++;
    passage->score->n_right += !passage->wrong;
    return 0;
}

/* Tokens of a passage at most. */
static int choose_window(const struct eval_options *options, const struct session *session, uint32_t *window,
                         struct error *err)
{
    struct engine_limits limits;
    engine_get_limits(session->engine, &limits);
    *window = options->window ? options->window : limits.context < 512 ? limits.context : 512;
    if (*window >= 2 && *window <= limits.context) return 0;
    return error_set(err, ERROR_TOO_LARGE, "--window %u: the context is %u tokens", *window, limits.context);
}

/* Every passage: in `other` first, if there is one, then in `session`. rows: room for the logits of one. */
static int score_passages(const struct session *session, const struct session *other, const struct eval_input *input,
                          float *rows, struct score *score, struct score *other_score, struct error *err)
{
    int status = 0;
    for (size_t i = 0; i < input->n_passages && status >= 0; i++) {
        const struct eval_passage *at = &input->passages[i];
        const struct passage passage = {.ids = input->tokens.ids + at->first,
                                        .n = at->n,
                                        .scored = at->scored,
                                        .n_vocab = model_get_config(session->model)->n_vocab};
        if (other) {
            struct passage first = passage;
            first.keep = rows;
            first.score = other_score;
            status = run_passage(other, &first, err);
            if (status < 0) return error_prefix(err, "against"), status;
        }
        struct passage second = passage;
        second.other = rows;
        second.score = score;
        status = run_passage(session, &second, err);
    }
    return status;
}

static const char *card_name(const struct session *session)
{
    struct card_info info;
    card_describe(session->card, &info);
    return session->cards_asked ? session->cards_asked : info.backend;
}

static int print_json(const struct session *session, const struct session *other, const struct score *score,
                      const struct score *other_score, struct error *err)
{
    const double n = (double)score->n;
    json_t *line =
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:f, s:f}", "name", "eval", "model", model_name(session->model),
                  "card", card_name(session), "passages", (json_int_t)score->n_passages, "passages_right",
                  (json_int_t)score->n_right, "predictions", (json_int_t)score->n, "perplexity",
                  exp(-score->log_likelihood / n), "nats_per_token", -score->log_likelihood / n);
    bool failed = !line;
    if (other && !failed) {
        json_t *against = json_pack("{s:s, s:s, s:f, s:f, s:f, s:f, s:f}", "model", model_name(other->model), "card",
                                    card_name(other), "perplexity", exp(-other_score->log_likelihood / n), "kl_mean",
                                    score->kl / n, "kl_largest", score->kl_largest, "nmse_mean", score->error_ratio / n,
                                    "top1_agreement", (double)score->same_top / n);
        failed = json_object_set_new(line, "against", against) < 0;
    }
    failed = failed || json_object_set_new(line, "revision", json_string(SLUICE_REVISION)) < 0 ||
             json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(7)) < 0 || putchar('\n') == EOF;
    json_decref(line);
    return failed ? error_set(err, ERROR_IO, "cannot write the result") : finish_output(err);
}

static void print_one(const struct session *session, const struct score *score, bool questions)
{
    printf("%s on %s: perplexity %.4f over %llu tokens", model_name(session->model), card_name(session),
           exp(-score->log_likelihood / (double)score->n), (unsigned long long)score->n);
    if (questions)
        printf(", %llu of %llu answers right", (unsigned long long)score->n_right,
               (unsigned long long)score->n_passages);
    putchar('\n');
}

static int print_lines(const struct session *session, const struct session *other, const struct score *score,
                       const struct score *other_score, bool questions, struct error *err)
{
    const double n = (double)score->n;
    print_one(session, score, questions);
    if (other) {
        print_one(other, other_score, questions);
        printf("KL divergence %.3e nats a token (largest %.3e), NMSE of logits %.3e, same top token %.2f %%\n",
               score->kl / n, score->kl_largest, score->error_ratio / n, 100 * (double)score->same_top / n);
    }
    return finish_output(err);
}

/* Opens what --against-card and --against-model name; what is not named is as in the first session. */
static int open_other(const struct eval_options *options, const struct session *session, uint32_t window,
                      struct session *other, struct error *err)
{
    struct session_options asked = options->session;
    asked.context = window;
    asked.kv = NULL; /* the card's best */
    asked.trace = NULL;
    if (options->against_card) asked.card = options->against_card, asked.cards = NULL;
    if (options->against_model) asked.model_path = options->against_model;
    int status = session_open(&asked, true, true, other, err);
    if (status < 0) return error_prefix(err, "against"), status;
    const uint32_t n = model_get_config(session->model)->n_vocab, n_other = model_get_config(other->model)->n_vocab;
    if (n == n_other) return 0;
    return error_set(err, ERROR_BAD_ARGUMENT, "%s has a vocabulary of %u tokens, %s of %u: nothing to compare",
                     model_name(session->model), n, model_name(other->model), n_other);
}

static int read_input(const struct eval_options *options, const struct session *session, uint32_t window,
                      struct eval_input *input, struct error *err)
{
    if (options->questions) return eval_input_questions(session->tokenizer, options->questions, window, input, err);
    return eval_input_text(session->tokenizer, options->text_file, window, input, err);
}

static int evaluate(const struct eval_options *options, struct error *err)
{
    const bool compares = options->against_card || options->against_model;
    struct session session = {0}, other = {0};
    struct eval_input input = {0};
    struct score score = {0}, other_score = {0};
    uint32_t window = 0;
    float *rows = NULL;
    int status = session_open(&options->session, true, true, &session, err);
    if (status == 0) status = choose_window(options, &session, &window, err);
    if (status == 0) status = read_input(options, &session, window, &input, err);
    if (status == 0 && compares) status = open_other(options, &session, window, &other, err);
    if (status == 0 && compares) {
        rows = memory_array(window, model_get_config(session.model)->n_vocab * sizeof *rows);
        if (!rows) status = error_set(err, ERROR_NO_MEMORY, "no host memory for the logits of %u tokens", window);
    }
    const struct session *against = compares ? &other : NULL;
    if (status == 0) status = score_passages(&session, against, &input, rows, &score, &other_score, err);
    if (status == 0) status = session_end_trace(&session, err);
    if (status == 0 && options->json) status = print_json(&session, against, &score, &other_score, err);
    if (status == 0 && !options->json)
        status = print_lines(&session, against, &score, &other_score, options->questions != NULL, err);
    free(rows);
    eval_input_free(&input);
    session_close(&other);
    session_close(&session);
    return status;
}

static int run(const struct command *self, int argc, char **argv)
{
    struct eval_options o = {0};
    const struct option table[] = {
        {"text-file", 0, OPTION_TEXT, &o.text_file, "FILE", "the text (default: standard input)", 0, 0},
        {"questions", 0, OPTION_TEXT, &o.questions, "FILE", "JSON lines with \"question\" and \"answer\" instead", 0,
         0},
        {"window", 'w', OPTION_U32, &o.window, "N", "tokens of a passage, at most (default 512, or the context)", 2,
         1 << 22},
        {"against-card", 0, OPTION_TEXT, &o.against_card, "NAME", "compare with the same model on this card", 0, 0},
        {"against-model", 0, OPTION_TEXT, &o.against_model, "FILE", "compare with this model", 0, 0},
        {"json", 0, OPTION_FLAG, &o.json, NULL, "one JSON object", 0, 0},
        SESSION_OPTION_ROWS(&o.session),
        TRACE_OPTION_ROW(&o.session),
        {0},
    };
    int n_operands;
    int status = options_parse(self, table, argc, argv, &o.session.model_path, 1, &n_operands);
    if (status < 0) status = session_check(self, &o.session);
    if (status >= 0) return status;
    if (o.text_file && o.questions) return usage_error(self, "give --text-file or --questions, not both");
    if (!o.session.max_sequences) o.session.max_sequences = 1;

    struct error err = {0};
    if (evaluate(&o, &err) < 0) return failure("eval: %s", err.text);
    return EXIT_DONE;
}

const struct command command_eval = {
    .name = "eval",
    .synopsis = "[MODEL] (--text-file F | --questions F) [--against-card NAME] [--against-model FILE] [--json]",
    .summary = "Perplexity of a text or of answers, and KL divergence from another card or model.",
    .details = "A text is read in windows that each start anew; names of special tokens in it are those tokens. Of "
               "questions only\n"
               "the answers count, and one is right if every token of it had the largest logit. KL is the divergence "
               "of this\n"
               "run's predictions from those compared with, in nats a token.",
    .run = run,
};
