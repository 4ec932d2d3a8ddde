/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine as other threads see it: open and close, submit, cancel, run, stop, count. A sequence crosses to the owner
 * through the inbox; cancelling sets a flag in the sequence. Both raise attention, which the owner looks at before
 * every step, so its token path takes no lock while nobody talks to it.
 */
#include "host/base/memory.h"
#include "host/engine/sequence.h"
#include "host/experts/experts.h"

#include <string.h>

#define DEFAULT_QUEUE_LIMIT 1024u

const char *finish_reason_name(enum finish_reason reason)
{
    switch (reason) {
    case FINISH_STOP: return "stop";
    case FINISH_LENGTH: return "length";
    case FINISH_CANCELLED: return "cancelled";
    case FINISH_ERROR: return "error";
    }
    return "error";
}

/* The arrays of one step, and the list of running sequences. */
static int allocate_arrays(struct engine *engine, struct error *err)
{
    const struct step_limits *limits = &engine->step_limits;
    size_t row_bytes = (size_t)engine->n_vocab * sizeof(float);
    engine->running = memory_array(engine->limits.max_sequences, sizeof *engine->running);
    engine->free_slots = memory_array(engine->limits.max_sequences, sizeof *engine->free_slots);
    engine->tokens = memory_array(limits->max_tokens, sizeof *engine->tokens);
    engine->batch = memory_array(limits->max_tokens, sizeof *engine->batch);
    if (engine->has_encoder) engine->sources = memory_array(limits->max_tokens, sizeof *engine->sources);
    engine->page_numbers = memory_array(limits->max_pages_in_tables, sizeof *engine->page_numbers);
    engine->logit_rows = memory_array(limits->max_logit_rows, sizeof *engine->logit_rows);
    engine->logits = memory_array(limits->max_logit_rows, row_bytes);
    if (!engine->running || !engine->free_slots || !engine->tokens || !engine->batch || !engine->page_numbers ||
        !engine->logit_rows || !engine->logits || (engine->has_encoder && !engine->sources))
        return error_set(err, ERROR_NO_MEMORY, "no host memory for steps of %u tokens and %u rows of logits",
                         limits->max_tokens, limits->max_logit_rows);
    for (uint32_t i = 0; i < engine->limits.max_sequences; i++)
        engine->free_slots[i] = engine->limits.max_sequences - 1 - i;
    return 0;
}

int engine_open(struct loaded_model *loaded, const struct tokenizer *tokenizer, const struct engine_options *options,
                struct engine **out, struct error *err)
{
    *out = NULL;
    struct engine *engine = memory_array(1, sizeof *engine);
    if (!engine) return error_set(err, ERROR_NO_MEMORY, "no host memory for the engine");
    engine->loaded = loaded;
    engine->tokenizer = tokenizer;
    engine_clock_open(&engine->clock, loaded_model_card(loaded));
    engine->n_vocab = model_get_config(loaded_model_source(loaded))->n_vocab;
    engine->queue_limit = options->queue_limit ? options->queue_limit : DEFAULT_QUEUE_LIMIT;
    engine->recurrent = model_get_config(loaded_model_source(loaded))->recurrent;
    engine->has_encoder = model_get_config(loaded_model_source(loaded))->n_encoder_layers > 0;
    engine->start_token = model_get_config(loaded_model_source(loaded))->start_token;
    engine->next_id = 1;
    pthread_mutex_init(&engine->mutex, NULL);
    pthread_cond_init(&engine->wake, NULL);
    grammars_open(&engine->grammars);

    int status = engine_choose_capacity(engine, options, err);
    if (status == 0) status = page_pool_open(&engine->pool, engine->limits.n_pages, err);
    if (status == 0) status = sampler_open(engine->n_vocab, &engine->sampler, err);
    if (status == 0) status = allocate_arrays(engine, err);
    if (status == 0) status = speculation_open(engine, options->draft, err);
    if (status < 0) {
        engine_close(engine);
        return status;
    }
    *out = engine;
    return 0;
}

void engine_close(struct engine *engine)
{
    if (!engine) return;
    pthread_mutex_lock(&engine->mutex);
    engine->stopping = true;
    pthread_mutex_unlock(&engine->mutex);
    engine_end_all(engine, FINISH_CANCELLED, NULL);
    free(engine->logits);
    free(engine->logit_rows);
    free(engine->page_numbers);
    free(engine->batch);
    free(engine->sources);
    free(engine->tokens);
    free(engine->running);
    free(engine->free_slots);
    free(engine->drafts);
    sampler_close(engine->sampler);
    grammars_close(&engine->grammars);
    page_pool_close(&engine->pool);
    step_memory_close(engine->memory);
    pthread_cond_destroy(&engine->wake);
    pthread_mutex_destroy(&engine->mutex);
    free(engine);
}

uint32_t engine_n_vocab(const struct engine *engine) { return engine->n_vocab; }

void engine_get_limits(const struct engine *engine, struct engine_limits *limits) { *limits = engine->limits; }

int engine_grammar(struct engine *engine, enum grammar_kind kind, const char *text, size_t length, struct grammar **out,
                   struct error *err)
{
    return grammars_get(&engine->grammars, engine->tokenizer, engine->n_vocab, kind, text, length, out, err);
}

static uint64_t pages_for(uint64_t tokens) { return (tokens + CARD_PAGE_TOKENS - 1) / CARD_PAGE_TOKENS; }

/* What an encoder reads takes whole pages of the context. */
static int check_source(const struct engine *engine, const struct engine_request *request, struct error *err)
{
    const uint32_t context = engine->limits.context;
    if (!engine->has_encoder && request->n_source > 0)
        return error_set(err, ERROR_BAD_ARGUMENT, "a source for an encoder, and the model has none");
    if (request->n_source > engine->limits.source)
        return error_set(err, ERROR_TOO_LARGE,
                         "the encoder's input has %zu tokens, it reads %u at most (a shorter one or a larger context)",
                         request->n_source, engine->limits.source);
    const uint64_t taken = pages_for(request->n_source) * CARD_PAGE_TOKENS;
    if (request->n_source > 0 && (taken > context || request->n_prompt > context - taken))
        return error_set(err, ERROR_TOO_LARGE,
                         "the encoder's input has %zu tokens and the decoder's beginning %zu, the context holds %u "
                         "(shorter ones or a "
                         "larger context)",
                         request->n_source, request->n_prompt, context);
    for (size_t i = 0; i < request->n_source; i++) {
        if (request->source[i] >= engine->n_vocab)
            return error_set(err, ERROR_BAD_ARGUMENT,
                             "token %u at place %zu of the encoder's input is not below the vocabulary's %u",
                             request->source[i], i, engine->n_vocab);
    }
    return 0;
}

static int check_request(const struct engine *engine, const struct engine_request *request, struct error *err)
{
    if (request->n_prompt == 0) return error_set(err, ERROR_BAD_ARGUMENT, "the prompt has no tokens");
    if (request->n_prompt > engine->limits.context)
        return error_set(err, ERROR_TOO_LARGE,
                         "the prompt has %zu tokens, the context holds %u (a shorter prompt or a larger context)",
                         request->n_prompt, engine->limits.context);
    for (size_t i = 0; i < request->n_prompt; i++) {
        if (request->prompt[i] >= engine->n_vocab)
            return error_set(err, ERROR_BAD_ARGUMENT,
                             "token %u at place %zu of the prompt is not below the vocabulary's %u", request->prompt[i],
                             i, engine->n_vocab);
    }
    for (uint32_t i = 0; i < request->sampling.n_biases; i++) {
        if (request->sampling.biases[i].token >= engine->n_vocab)
            return error_set(err, ERROR_BAD_ARGUMENT, "logit_bias for token %u, which is not below the vocabulary's %u",
                             request->sampling.biases[i].token, engine->n_vocab);
    }
    int status = check_source(engine, request, err);
    return status < 0 ? status : sampling_check(&request->sampling, err);
}

/*
 * The one place where wall time enters: a request that comes from outside. On the wall clock it has arrived now. On a
 * card's clock it has a time of its own, or it arrives when the owner, who alone may read that clock, takes it between
 * two steps; which two is all that wall time decides.
 */
static uint64_t arrival(const struct engine *engine, const struct engine_request *request)
{
    if (!engine->clock.card) return engine_clock_now(&engine->clock);
    return request->arrived_ps > 0 ? request->arrived_ps : NOT_YET;
}

void sequence_free(struct sequence *sequence)
{
    grammar_matcher_close(sequence->matcher);
    free(sequence->breakers);
    free(sequence);
}

static bool has_breaker(const struct text *text, const char *const *breakers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memmem(text->bytes, text->length, breakers[i], strlen(breakers[i]))) return true;
    return false;
}

/* Marks the tokens with a breaker's text in them. */
static int mark_breakers(const struct engine *engine, const struct engine_request *request, struct sequence *sequence,
                         struct error *err)
{
    static const char *const usual[] = {"\n", ":", "\"", "*"};
    const char *const *breakers = request->dry_breakers ? request->dry_breakers : usual;
    size_t n = request->dry_breakers ? request->n_dry_breakers : sizeof usual / sizeof usual[0];
    struct text text = {0};
    if (!engine->tokenizer || !(request->sampling.dry_multiplier > 0)) return 0;
    uint32_t n_tokens = tokenizer_n_tokens(engine->tokenizer);
    sequence->breakers = memory_array((engine->n_vocab + 31) / 32, sizeof *sequence->breakers);
    if (!sequence->breakers) return error_set(err, ERROR_NO_MEMORY, "no host memory for a sequence");
    int status = text_append(&text, "", 0, err);
    for (uint32_t t = 0; t < n_tokens && t < engine->n_vocab && status == 0; t++) {
        text.length = 0;
        status = tokenizer_token_bytes(engine->tokenizer, t, &text, err);
        if (status == 0 && has_breaker(&text, breakers, n)) sequence->breakers[t / 32] |= 1u << t % 32;
    }
    text_free(&text);
    return status;
}

/* A checked request as a sequence with its prompt and room for its pages. NULL without memory. */
static struct sequence *make_sequence(const struct engine *engine, const struct engine_request *request)
{
    uint32_t n_prompt = (uint32_t)request->n_prompt, n_source = (uint32_t)request->n_source;
    uint32_t n_source_pages = (uint32_t)pages_for(n_source);
    uint32_t left = engine->limits.context - n_source_pages * CARD_PAGE_TOKENS - n_prompt;
    uint32_t max_new = request->max_tokens < left ? request->max_tokens : left;
    uint32_t n_pages = n_source_pages + (uint32_t)pages_for((uint64_t)n_prompt + max_new);
    size_t n_biases = request->sampling.n_biases;
    size_t n_words = (size_t)n_prompt + max_new + n_pages + n_source + 2 * n_biases;
    bool may_be_cached =
        !engine->recurrent && n_source == 0 &&
        (request->prefix == PREFIX_CACHED || (request->prefix == PREFIX_AUTO && !request->callbacks.logits));
    struct sequence *sequence = memory_array(1, sizeof *sequence + n_words * sizeof(uint32_t));
    if (!sequence) return NULL;
    uint32_t *words = (uint32_t *)(sequence + 1);
    memcpy(words, request->prompt, request->n_prompt * sizeof *words);
    sequence->priority = request->priority;
    sequence->client = request->client;
    sequence->callbacks = request->callbacks;
    sequence->context = request->context;
    sequence->sampling = request->sampling;
    struct logit_bias *biases = (struct logit_bias *)(void *)(words + (n_words - 2 * n_biases));
    if (n_biases > 0) memcpy(biases, request->sampling.biases, n_biases * sizeof *biases);
    sequence->sampling.biases = biases;
    sequence->n_top_logprobs = request->n_top_logprobs < SAMPLER_MOST_TOP ? request->n_top_logprobs : SAMPLER_MOST_TOP;
    sequence->mirostat_mu = 2 * (double)request->sampling.mirostat_tau;
    sequence->ignore_eos = request->ignore_eos;
    sequence->tokens = words;
    sequence->n_prompt = n_prompt;
    sequence->n_cacheable = may_be_cached ? n_prompt - 1 : 0; /* the last one's logits are wanted */
    sequence->max_new = max_new;
    sequence->nothing_to_compute = left == 0 && request->max_tokens > 0 && !request->callbacks.logits;
    sequence->table.pages = words + n_prompt + max_new;
    if (n_source > 0) memcpy(words + n_prompt + max_new + n_pages, request->source, n_source * sizeof *words);
    sequence->source = words + n_prompt + max_new + n_pages;
    sequence->n_source = n_source;
    sequence->n_source_pages = n_source_pages;
    sequence->n_worst_pages = n_pages;
    sequence->arrived_at = arrival(engine, request);
    sequence->admitted_at = sequence->first_token_at = NOT_YET;
    return sequence;
}

/* With the mutex held: why a sequence cannot be queued now, or 0. */
static int check_queue(const struct engine *engine, struct error *err)
{
    if (engine->unusable) return error_set(err, engine->failure.code, "%s", engine->failure.text);
    if (engine->stopping) return error_set(err, ERROR_BUSY, "the engine is stopping and takes no more requests");
    if (atomic_load_explicit(&engine->n_waiting_now, memory_order_relaxed) >= engine->queue_limit)
        return error_set(err, ERROR_BUSY, "%u requests are waiting already (try again later)", engine->queue_limit);
    return 0;
}

/* With the mutex held: tells the owner that something waits for it. */
static void call_owner(struct engine *engine)
{
    atomic_store_explicit(&engine->attention, true, memory_order_release);
    pthread_cond_signal(&engine->wake);
}

/* The request with both of what a model with an encoder takes. */
static struct engine_request whole_request(const struct engine *engine, const struct engine_request *request)
{
    struct engine_request whole = *request;
    if (!engine->has_encoder || request->source) return whole;
    whole.source = request->prompt;
    whole.n_source = request->n_prompt;
    whole.prompt = &engine->start_token;
    whole.n_prompt = request->n_prompt > 0;
    return whole;
}

int engine_submit(struct engine *engine, const struct engine_request *asked, uint64_t *id, struct error *err)
{
    const struct engine_request whole = whole_request(engine, asked), *request = &whole;
    int status = check_request(engine, request, err);
    if (status < 0) return status;
    struct sequence *sequence = make_sequence(engine, request);
    if (!sequence)
        return error_set(err, ERROR_NO_MEMORY, "no host memory for a prompt of %zu tokens", request->n_prompt);
    status = mark_breakers(engine, request, sequence, err);
    if (status == 0 && request->grammar) status = grammar_matcher_open(request->grammar, &sequence->matcher, err);
    if (status < 0) {
        sequence_free(sequence);
        return status;
    }

    pthread_mutex_lock(&engine->mutex);
    status = check_queue(engine, err);
    if (status == 0) {
        sequence->id = engine->next_id++;
        sequence->live_next = engine->live;
        if (engine->live) engine->live->live_previous = sequence;
        engine->live = sequence;
        atomic_fetch_add_explicit(&engine->n_waiting_now, 1, memory_order_relaxed);
        sequence_queue_push(&engine->inbox, sequence);
        *id = sequence->id; /* before the owner can see the sequence, so that callbacks may rely on it */
        call_owner(engine);
    }
    pthread_mutex_unlock(&engine->mutex);
    if (status < 0) sequence_free(sequence);
    return status;
}

void engine_cancel(struct engine *engine, uint64_t id)
{
    pthread_mutex_lock(&engine->mutex);
    struct sequence *sequence = engine->live;
    while (sequence && sequence->id != id) sequence = sequence->live_next;
    if (sequence) {
        atomic_store_explicit(&sequence->cancelled, true, memory_order_relaxed);
        call_owner(engine);
    }
    pthread_mutex_unlock(&engine->mutex);
}

void engine_stop(struct engine *engine, bool drain)
{
    pthread_mutex_lock(&engine->mutex);
    engine->draining = engine->stopping ? engine->draining && drain : drain; /* a drain may become a stop, not back */
    engine->stopping = true;
    call_owner(engine);
    pthread_mutex_unlock(&engine->mutex);
}

int engine_run(struct engine *engine, struct error *err)
{
    for (;;) {
        int status = engine_step(engine, err);
        if (status < 0) return status;
        if (status > 0) continue;
        pthread_mutex_lock(&engine->mutex);
        while (!engine->stopping && !atomic_load_explicit(&engine->attention, memory_order_relaxed))
            pthread_cond_wait(&engine->wake, &engine->mutex);
        bool done = engine->stopping && !atomic_load_explicit(&engine->attention, memory_order_relaxed);
        pthread_mutex_unlock(&engine->mutex);
        if (done) return 0; /* idle, and nothing more is taken */
    }
}

void engine_count(const struct engine *engine, struct engine_counters *counters)
{
    struct experts_traffic experts;
    (void)experts_count_all(engine->loaded, &experts);
    *counters = (struct engine_counters){
        .expert_hits = experts.hits,
        .expert_misses = experts.misses,
        .expert_bytes = experts.bytes,
        .expert_stall_ps = experts.stall_ps,
        .steps = atomic_load_explicit(&engine->steps, memory_order_relaxed),
        .prompt_tokens = atomic_load_explicit(&engine->prompt_tokens, memory_order_relaxed),
        .completion_tokens = atomic_load_explicit(&engine->completion_tokens, memory_order_relaxed),
        .running = (uint32_t)atomic_load_explicit(&engine->n_running_now, memory_order_relaxed),
        .waiting = (uint32_t)atomic_load_explicit(&engine->n_waiting_now, memory_order_relaxed),
        .pages_used = (uint32_t)atomic_load_explicit(&engine->pages_used, memory_order_relaxed),
        .pages_reserved = (uint32_t)atomic_load_explicit(&engine->pages_reserved, memory_order_relaxed),
        .pages_cached = (uint32_t)atomic_load_explicit(&engine->pages_cached, memory_order_relaxed),
        .cached_tokens = atomic_load_explicit(&engine->cached_tokens, memory_order_relaxed),
        .drafted_tokens = atomic_load_explicit(&engine->drafted_tokens, memory_order_relaxed),
        .accepted_tokens = atomic_load_explicit(&engine->accepted_tokens, memory_order_relaxed),
        .n_pages = engine->limits.n_pages,
    };
}
