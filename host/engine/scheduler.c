/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The owner's step: take messages, admit, write the batch, run it, hand out what came. Nothing here allocates, and the
 * mutex is taken only when another thread left something or a sequence ends.
 */
#include "host/engine/sequence.h"
#include "host/experts/experts.h"

#include "host/base/memory.h"

void sequence_queue_push(struct sequence_queue *queue, struct sequence *sequence)
{
    sequence->next = NULL;
    if (queue->last)
        queue->last->next = sequence;
    else
        queue->first = sequence;
    queue->last = sequence;
}

static void publish_counters(struct engine *engine)
{
    atomic_store_explicit(&engine->n_running_now, engine->n_running, memory_order_relaxed);
    atomic_store_explicit(&engine->pages_used, engine->pool.n_held, memory_order_relaxed);
    atomic_store_explicit(&engine->pages_cached, engine->pool.cache.n_idle, memory_order_relaxed);
    atomic_store_explicit(&engine->pages_reserved, engine->pool.n_reserved, memory_order_relaxed);
}

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

static void usage_of(const struct engine *engine, const struct sequence *sequence, struct engine_usage *usage)
{
    uint64_t now = engine_clock_now(&engine->clock), arrived = earlier(sequence->arrived_at, now);
    uint64_t admitted = earlier(sequence->admitted_at, now), first = earlier(sequence->first_token_at, now);
    *usage = (struct engine_usage){
        .prompt_tokens = sequence->n_source > 0 ? sequence->n_source : sequence->n_prompt,
        .completion_tokens = sequence->n_sampled,
        .cached_tokens = sequence->n_cached,
        .drafted_tokens = sequence->n_drafted,
        .accepted_tokens = sequence->n_accepted,
        .queue_seconds = engine_clock_seconds(arrived, admitted),
        .prefill_seconds = engine_clock_seconds(admitted, first),
        .decode_seconds = engine_clock_seconds(first, now),
    };
}

/* The sequence is in no list of the owner any more: its pages go back, its owner hears of it, it is gone. */
static void end_sequence(struct engine *engine, struct sequence *sequence, enum finish_reason reason,
                         const struct error *err)
{
    pages_release(&engine->pool, &sequence->table);
    publish_counters(engine);

    pthread_mutex_lock(&engine->mutex);
    if (sequence->live_previous)
        sequence->live_previous->live_next = sequence->live_next;
    else
        engine->live = sequence->live_next;
    if (sequence->live_next) sequence->live_next->live_previous = sequence->live_previous;
    pthread_mutex_unlock(&engine->mutex);

    struct engine_usage usage;
    usage_of(engine, sequence, &usage);
    if (sequence->callbacks.end)
        sequence->callbacks.end(sequence->context, reason, &usage,
                                reason != FINISH_ERROR   ? NULL
                                : sequence->failure.code ? &sequence->failure
                                                         : err);
    sequence_free(sequence);
}

static void leave_waiting(struct engine *engine)
{
    atomic_fetch_sub_explicit(&engine->n_waiting_now, 1, memory_order_relaxed);
}

/* Takes running sequences that are marked as ended out of the list, in order, then ends them. */
static bool sweep_running(struct engine *engine, const struct error *err)
{
    bool any = false;
    for (uint32_t i = 0; i < engine->n_running;) {
        struct sequence *sequence = engine->running[i];
        if (!sequence->ended) {
            i++;
            continue;
        }
        for (uint32_t j = i + 1; j < engine->n_running; j++) engine->running[j - 1] = engine->running[j];
        engine->n_running--;
        speculation_leave(engine, sequence);
        engine->free_slots[engine->limits.max_sequences - engine->n_running - 1] = sequence->slot;
        end_sequence(engine, sequence, sequence->reason, err);
        any = true;
    }
    return any;
}

static void mark_ended(struct sequence *sequence, enum finish_reason reason)
{
    if (sequence->ended) return;
    sequence->ended = true;
    sequence->reason = reason;
}

static bool is_cancelled(const struct sequence *sequence)
{
    return atomic_load_explicit(&sequence->cancelled, memory_order_relaxed);
}

/* Takes every sequence out of waiting that was cancelled (or all of them) and ends it. */
static bool sweep_waiting(struct engine *engine, bool all, enum finish_reason reason, const struct error *err)
{
    struct sequence_queue old = engine->waiting;
    bool any = false;
    engine->waiting = (struct sequence_queue){0};
    for (struct sequence *next, *sequence = old.first; sequence; sequence = next) {
        next = sequence->next;
        if (!all && !is_cancelled(sequence)) {
            sequence_queue_push(&engine->waiting, sequence);
            continue;
        }
        leave_waiting(engine);
        end_sequence(engine, sequence, reason, err);
        any = true;
    }
    return any;
}

/* Moves what was submitted to the waiting list. Returns true if sequences shall be dropped because of engine_stop. */
static bool take_inbox(struct engine *engine)
{
    pthread_mutex_lock(&engine->mutex);
    atomic_store_explicit(&engine->attention, false, memory_order_relaxed);
    struct sequence_queue inbox = engine->inbox;
    engine->inbox = (struct sequence_queue){0};
    bool stop_now = engine->stopping && !engine->draining;
    pthread_mutex_unlock(&engine->mutex);
    for (struct sequence *next, *sequence = inbox.first; sequence; sequence = next) {
        next = sequence->next;
        if (sequence->arrived_at == NOT_YET) sequence->arrived_at = engine_clock_now(&engine->clock);
        sequence_queue_push(&engine->waiting, sequence);
    }
    return stop_now;
}

void engine_end_all(struct engine *engine, enum finish_reason reason, const struct error *err)
{
    take_inbox(engine);
    for (uint32_t i = 0; i < engine->n_running; i++) mark_ended(engine->running[i], reason);
    sweep_running(engine, err);
    sweep_waiting(engine, true, reason, err);
}

/* What other threads asked for since the last step. Returns whether anything was done. */
static bool take_messages(struct engine *engine)
{
    if (!atomic_load_explicit(&engine->attention, memory_order_acquire)) return false;
    if (take_inbox(engine)) {
        engine_end_all(engine, FINISH_CANCELLED, NULL);
        return true;
    }
    for (uint32_t i = 0; i < engine->n_running; i++) {
        if (is_cancelled(engine->running[i])) mark_ended(engine->running[i], FINISH_CANCELLED);
    }
    bool any = sweep_running(engine, NULL);
    return sweep_waiting(engine, false, FINISH_CANCELLED, NULL) || any;
}

/* Reserves the sequence's pages, those that the prefix cache has among them. */
static bool reserve_pages(struct engine *engine, struct sequence *sequence)
{
    if (!pages_reserve(&engine->pool, &sequence->table, sequence->n_worst_pages, sequence->tokens,
                       sequence->n_cacheable))
        return false;
    sequence->n_cached = sequence->n_computed = sequence->n_written = sequence->table.n_pages * CARD_PAGE_TOKENS;
    atomic_fetch_add_explicit(&engine->cached_tokens, sequence->n_cached, memory_order_relaxed);
    return true;
}

static void take_from_waiting(struct engine *engine, const struct sequence *sequence)
{
    struct sequence_queue *waiting = &engine->waiting;
    struct sequence *before = NULL;
    for (struct sequence *s = waiting->first; s != sequence; s = s->next) before = s;
    if (before)
        before->next = sequence->next;
    else
        waiting->first = sequence->next;
    if (waiting->last == sequence) waiting->last = before;
    leave_waiting(engine);
}

/* The next one that does not fit stops those behind it, so that it cannot starve. */
static bool admit(struct engine *engine)
{
    bool any = false;
    while (engine->waiting.first && engine->n_running < engine->limits.max_sequences) {
        struct sequence *sequence =
            admission_next(&engine->admission, &engine->waiting, engine->running, engine->n_running);
        bool nothing = sequence->nothing_to_compute;
        if (!nothing && !reserve_pages(engine, sequence)) break;
        take_from_waiting(engine, sequence);
        admission_took(&engine->admission, sequence);
        sequence->admitted_at = engine_clock_now(&engine->clock);
        any = true;
        if (nothing) {
            end_sequence(engine, sequence, FINISH_LENGTH, NULL);
            continue;
        }
        sequence->slot = engine->free_slots[engine->limits.max_sequences - engine->n_running - 1];
        engine->running[engine->n_running++] = sequence;
        speculation_join(engine, sequence);
    }
    publish_counters(engine);
    return any;
}

static bool is_decoding(const struct sequence *sequence) { return sequence->n_computed >= sequence->n_prompt; }

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* Drafts for the sequences that decode, n_decoding of them; beside prompts they get half of the room at most. */
static void share_drafts(struct engine *engine, uint32_t n_decoding, uint32_t n_prompt_tokens, uint32_t *room,
                         uint32_t *spare_rows)
{
    const uint32_t all = *room;
    struct speculation_room left = {.tokens = n_prompt_tokens > 0 ? least(engine->limits.chunk, all) / 2 : all,
                                    .rows = *spare_rows};
    speculation_draft(engine, n_prompt_tokens, n_decoding, &left);
    for (uint32_t i = 0; i < engine->n_running; i++) *room -= engine->running[i]->n_draft;
    *spare_rows = left.rows;
}

/*
 * Gives every sequence its share of the step: one token and a draft to those that decode, then prompts in order of
 * admission until the chunk is used up. spare_rows are the rows of logits beyond one for each sequence; whoever wants
 * the logits of all positions gets no more tokens than rows.
 */
static void share_step(struct engine *engine)
{
    uint32_t n_decoding = 0, n_prompt_tokens = 0;
    for (uint32_t i = 0; i < engine->n_running; i++) {
        const struct sequence *sequence = engine->running[i];
        n_decoding += is_decoding(sequence);
        if (!is_decoding(sequence))
            n_prompt_tokens = least(engine->limits.chunk, n_prompt_tokens + sequence->n_prompt - sequence->n_computed);
    }
    uint32_t room = engine->step_limits.max_tokens - n_decoding;
    uint32_t spare_rows = engine->step_limits.max_logit_rows - engine->limits.max_sequences;
    share_drafts(engine, n_decoding, least(n_prompt_tokens, room), &room, &spare_rows);
    uint32_t budget = least(engine->limits.chunk, room);
    for (uint32_t i = 0; i < engine->n_running; i++) {
        struct sequence *sequence = engine->running[i];
        uint32_t count = 1 + sequence->n_draft;
        if (!is_decoding(sequence)) {
            count = least(sequence->n_prompt - sequence->n_computed, budget);
            if (sequence->callbacks.logits) {
                count = least(count, spare_rows + 1);
                if (count > 0) spare_rows -= count - 1;
            }
            budget -= count;
        }
        sequence->step_count = count;
    }
}

/* The first that an encoder has to read for; NULL: there is none. */
static struct sequence *find_unread(const struct engine *engine)
{
    for (uint32_t i = 0; i < engine->n_running; i++) {
        if (engine->running[i]->n_source > 0 && !engine->running[i]->is_encoded) return engine->running[i];
    }
    return NULL;
}

/* A step for its source alone: every token of it sees all of them, so none can wait for another step. */
static void write_source(struct engine *engine, struct sequence *sequence, struct step *step)
{
    const uint32_t n = sequence->n_source;
    for (uint32_t i = 0; i < engine->n_running; i++) engine->running[i]->step_count = engine->running[i]->n_draft = 0;
    pages_take(&engine->pool, &sequence->table, sequence->n_source_pages);
    for (uint32_t i = 0; i < n; i++) {
        engine->tokens[i] = sequence->source[i];
        engine->batch[i] = (struct card_batch_token){.position = i, .visible = n, .state = sequence->slot};
    }
    for (uint32_t i = 0; i < sequence->n_source_pages; i++) engine->page_numbers[i] = sequence->table.pages[i];
    sequence->step_count = step->n_tokens = n;
    step->n_pages = sequence->n_source_pages;
    step->encodes = true;
}

/* Writes one sequence's tokens, page table and logit rows into the step. */
static void write_sequence(struct engine *engine, struct sequence *sequence, struct step *step)
{
    uint32_t first = step->n_tokens, count = sequence->step_count, end = sequence->n_computed + count;
    if (end > sequence->n_written) sequence->n_written = end;
    pages_take(&engine->pool, &sequence->table,
               sequence->n_source_pages + (end + CARD_PAGE_TOKENS - 1) / CARD_PAGE_TOKENS);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t position = sequence->n_computed + i;
        engine->tokens[first + i] = sequence->tokens[position];
        engine->batch[first + i] = (struct card_batch_token){
            .position = position,
            .first_page = step->n_pages + sequence->n_source_pages,
            .visible = position + 1,
            .state = sequence->slot,
        };
        if (engine->has_encoder)
            engine->sources[first + i] =
                (struct card_batch_token){.first_page = step->n_pages, .visible = sequence->n_source};
    }
    for (uint32_t i = 0; i < sequence->table.n_pages; i++)
        engine->page_numbers[step->n_pages + i] = sequence->table.pages[i];

    bool last_wanted = end >= sequence->n_prompt && sequence->max_new > 0;
    sequence->step_first = first;
    sequence->step_row = step->n_logit_rows;
    sequence->step_n_rows = sequence->callbacks.logits ? count : last_wanted ? 1 + sequence->n_draft : 0;
    for (uint32_t i = 0; i < sequence->step_n_rows; i++)
        engine->logit_rows[step->n_logit_rows++] = first + count - sequence->step_n_rows + i;
    step->n_tokens += count;
    step->n_pages += sequence->table.n_pages;
}

static void write_step(struct engine *engine, struct step *step)
{
    *step = (struct step){
        .tokens = engine->tokens,
        .batch = engine->batch,
        .pages = engine->page_numbers,
        .logit_rows = engine->logit_rows,
        .sources = engine->sources,
    };
    struct sequence *unread = engine->has_encoder ? find_unread(engine) : NULL;
    if (unread) {
        write_source(engine, unread, step);
        publish_counters(engine);
        return;
    }
    share_step(engine);
    for (uint32_t i = 0; i < engine->n_running; i++) {
        if (engine->running[i]->step_count > 0) write_sequence(engine, engine->running[i], step);
    }
    publish_counters(engine);
}

/* The next token by the sequence's grammar and sampling, or -1: the grammar has none. The logits are changed. */
static int64_t choose_token(struct engine *engine, struct sequence *sequence, uint32_t position, float *logits)
{
    struct sampler_history history = {.tokens = sequence->tokens,
                                      .n_tokens = position,
                                      .n_prompt = sequence->n_prompt,
                                      .breakers = sequence->breakers,
                                      .mirostat_mu = &sequence->mirostat_mu};
    if (sequence->matcher && grammar_matcher_mask(sequence->matcher, &history.allowed, &sequence->failure) < 0)
        return -1;
    return sampler_choose(engine->sampler, &sequence->sampling, &history, position, logits);
}

/* Where the answer stands after the token. Nothing may follow what the grammar ends with, so no step is spent on that. */
static void follow_grammar(struct sequence *sequence, uint32_t token)
{
    if (!sequence->matcher) return;
    if (grammar_matcher_accept(sequence->matcher, token, &sequence->failure) < 0)
        mark_ended(sequence, FINISH_ERROR);
    else if (grammar_matcher_must_end(sequence->matcher))
        mark_ended(sequence, FINISH_STOP);
}

/* Tells how likely the token is that was chosen from these logits; measured is from before that. */
static void tell_logprobs(const struct engine *engine, const struct sequence *sequence, uint32_t token,
                          const float *logits, const struct sampler_logprobs *measured)
{
    float logit = sampler_given_logit(engine->sampler, &sequence->sampling, logits, token);
    sequence->callbacks.logprobs(sequence->context, token, sampler_logprob(measured, logit), measured);
}

/*
 * Samples the sequence's next token from one row and decides whether the sequence goes on. Returns whether the token is
 * the one that lies in its place already: as a draft's, that is.
 */
static bool take_token(struct engine *engine, struct sequence *sequence, float *logits)
{
    uint32_t position = sequence->n_prompt + sequence->n_sampled;
    struct sampler_logprobs measured = {.n_top = sequence->n_top_logprobs};
    if (sequence->callbacks.logprobs) sampler_measure(logits, engine->n_vocab, &measured);
    int64_t chosen = choose_token(engine, sequence, position, logits);
    if (chosen < 0) {
        mark_ended(sequence, FINISH_ERROR);
        return false;
    }
    uint32_t token = (uint32_t)chosen;
    if (sequence->n_sampled == 0) sequence->first_token_at = engine_clock_now(&engine->clock);
    bool ends = engine->tokenizer && tokenizer_is_end(engine->tokenizer, token);
    if (ends && (!sequence->ignore_eos || sequence->matcher)) {
        mark_ended(sequence, FINISH_STOP);
        return false;
    }
    bool as_drafted = sequence->tokens[position] == token;
    sequence->tokens[position] = token;
    sequence->n_sampled++;
    atomic_fetch_add_explicit(&engine->completion_tokens, 1, memory_order_relaxed);
    if (sequence->callbacks.logprobs) tell_logprobs(engine, sequence, token, logits, &measured);
    if (sequence->callbacks.token && sequence->callbacks.token(sequence->context, token) != 0)
        mark_ended(sequence, FINISH_STOP);
    follow_grammar(sequence, token);
    if (sequence->n_sampled == sequence->max_new) mark_ended(sequence, FINISH_LENGTH);
    return as_drafted;
}

/* The step had tokens of its prompt: their logits to who wants them, and the first token or the end of a bare prefill. */
static void deliver_prompt(struct engine *engine, struct sequence *sequence)
{
    float *rows = engine->logits + (size_t)sequence->step_row * engine->n_vocab;
    uint32_t end = sequence->n_computed + sequence->step_count;
    atomic_fetch_add_explicit(&engine->prompt_tokens, sequence->step_count, memory_order_relaxed);
    sequence->n_computed = end;
    if (sequence->callbacks.logits) {
        for (uint32_t i = 0; i < sequence->step_n_rows; i++)
            sequence->callbacks.logits(sequence->context, end - sequence->step_n_rows + i,
                                       rows + (size_t)i * engine->n_vocab);
    }
    if (end < sequence->n_prompt) return;
    if (sequence->max_new > 0)
        take_token(engine, sequence, rows + (size_t)(sequence->step_n_rows - 1) * engine->n_vocab);
    else
        mark_ended(sequence, FINISH_LENGTH);
}

/*
 * The step had the sequence's last token and a draft of what follows. Row after row is what it would be without a draft,
 * as long as the tokens before are what was picked; the rest is as if it had never been: later steps write over it
 * before anything sees it.
 */
static void deliver_tokens(struct engine *engine, struct sequence *sequence)
{
    float *row = engine->logits + (size_t)sequence->step_row * engine->n_vocab;
    uint32_t n_kept = 0;
    for (bool right = true; right; row += engine->n_vocab) {
        uint32_t position = sequence->n_computed++;
        if (sequence->callbacks.logits) sequence->callbacks.logits(sequence->context, position, row);
        right = take_token(engine, sequence, row);
        if (sequence->ended || is_cancelled(sequence) || n_kept == sequence->n_draft) {
            speculation_settle(engine, sequence, n_kept, false);
            return;
        }
        n_kept += right;
    }
    speculation_settle(engine, sequence, n_kept, true);
}

/* What the step computed for one sequence. */
static void deliver(struct engine *engine, struct sequence *sequence)
{
    if (is_decoding(sequence))
        deliver_tokens(engine, sequence);
    else
        deliver_prompt(engine, sequence);
    if (!engine->has_encoder) pages_remember(&engine->pool, &sequence->table, sequence->tokens, sequence->n_computed);
}

/* The step read the source of one sequence. */
static void deliver_source(struct engine *engine)
{
    struct sequence *sequence = find_unread(engine);
    sequence->is_encoded = true;
    atomic_fetch_add_explicit(&engine->prompt_tokens, sequence->n_source, memory_order_relaxed);
}

/*
 * The step's sequences have lost their pages' content and end; the next step starts afresh, unless it keeps failing. A file
 * that cannot be read says nothing about the card.
 */
static int step_failed(struct engine *engine, const struct error *cause, struct error *err)
{
    if (cause->code != ERROR_IO) engine->n_failed_steps++;
    for (uint32_t i = 0; i < engine->n_running; i++) {
        if (engine->running[i]->step_count > 0) mark_ended(engine->running[i], FINISH_ERROR);
    }
    sweep_running(engine, cause);
    pages_forget_all(&engine->pool);
    if (engine->n_failed_steps < ENGINE_MAX_FAILED_STEPS) return 1;

    pthread_mutex_lock(&engine->mutex);
    engine->unusable = true;
    error_set(&engine->failure, cause->code, "the card failed %d steps in a row: %s", ENGINE_MAX_FAILED_STEPS,
              cause->text);
    struct error failure = engine->failure;
    pthread_mutex_unlock(&engine->mutex);
    engine_end_all(engine, FINISH_ERROR, &failure);
    return error_set(err, failure.code, "%s", failure.text);
}

/* Drafts are as long as is worth while, which needs the time that steps take. */
static int run_step(struct engine *engine, const struct step *step, struct error *cause)
{
    const uint64_t start = engine->draft_source ? engine_clock_now(&engine->clock) : 0;
    experts_begin_step(engine->loaded, step);
    if (model_step(engine->loaded, engine->memory, step, engine->logits, cause) < 0) return cause->code;
    experts_end_step(engine->loaded);
    if (!engine->draft_source) return 0;
    for (uint32_t i = 0; i < engine->n_running; i++) {
        if (!is_decoding(engine->running[i])) return 0;
    }
    draft_policy_observe(&engine->draft_policy, step->n_tokens,
                         engine_clock_seconds(start, engine_clock_now(&engine->clock)));
    return 0;
}

int engine_step(struct engine *engine, struct error *err)
{
    if (engine->unusable) return error_set(err, engine->failure.code, "%s", engine->failure.text);
    bool any = take_messages(engine);
    any = admit(engine) || any;
    if (engine->n_running == 0) return any ? 1 : 0;

    struct step step;
    struct error cause = {0};
    write_step(engine, &step);
    if (run_step(engine, &step, &cause) < 0) return step_failed(engine, &cause, err);
    engine->n_failed_steps = 0;
    atomic_fetch_add_explicit(&engine->steps, 1, memory_order_relaxed);
    if (step.encodes) deliver_source(engine);
    for (uint32_t i = 0; i < engine->n_running && !step.encodes; i++) {
        if (engine->running[i]->step_count > 0) deliver(engine, engine->running[i]);
    }
    sweep_running(engine, NULL);
    return 1;
}

/* One running sequence's share of the invariants: it holds just the pages that were written, knows no draft, and the
 * cache was told of nothing that is not computed. */
static int validate_sequence(const struct sequence *sequence, struct error *err)
{
    const struct page_table *table = &sequence->table;
    uint32_t needed = (sequence->n_written + CARD_PAGE_TOKENS - 1) / CARD_PAGE_TOKENS;
    uint32_t n_blocks = sequence->n_source > 0 ? 0 : sequence->n_computed / CARD_PAGE_TOKENS;
    if (sequence->is_encoded) needed += sequence->n_source_pages;
    bool good = !sequence->ended && table->n_pages == needed && table->n_reserved >= needed;
    good = good && sequence->n_written >= sequence->n_computed &&
           sequence->n_written <= sequence->n_computed + DRAFT_MOST && table->n_blocks == n_blocks;
    if (is_decoding(sequence)) good = good && sequence->n_computed + 1 == sequence->n_prompt + sequence->n_sampled;
    if (good) return 0;
    return error_set(err, ERROR_INTERNAL, "sequence %llu of %u tokens%s holds %u KV pages of %u reserved",
                     (unsigned long long)sequence->id, sequence->n_computed, sequence->ended ? " (ended)" : "",
                     sequence->table.n_pages, sequence->table.n_reserved);
}

/* Every slot is free or one running sequence's. */
static int validate_slots(const struct engine *engine, struct error *err)
{
    uint32_t n_slots = engine->limits.max_sequences;
    bool *seen = memory_array(n_slots, sizeof *seen);
    if (!seen) return error_set(err, ERROR_NO_MEMORY, "no host memory to check the engine");
    bool good = true;
    for (uint32_t i = 0; i < n_slots && good; i++) {
        uint32_t slot = i < engine->n_running ? engine->running[i]->slot : engine->free_slots[i - engine->n_running];
        good = slot < n_slots && !seen[slot];
        if (good) seen[slot] = true;
    }
    free(seen);
    return good ? 0 : error_set(err, ERROR_INTERNAL, "a slot for a sequence is lost or held twice");
}

int engine_validate(const struct engine *engine, struct error *err)
{
    int status = 0;
    const struct page_table **tables = memory_array(engine->n_running, sizeof *tables);
    if (!tables) return error_set(err, ERROR_NO_MEMORY, "no host memory to check the engine");
    for (uint32_t i = 0; i < engine->n_running && status == 0; i++) {
        tables[i] = &engine->running[i]->table;
        status = validate_sequence(engine->running[i], err);
    }
    for (const struct sequence *s = engine->waiting.first; s && status == 0; s = s->next) {
        if (s->table.n_pages || s->table.n_reserved)
            status = error_set(err, ERROR_INTERNAL, "waiting sequence %llu holds pages", (unsigned long long)s->id);
        else if (!s->next && engine->waiting.last != s)
            status = error_set(err, ERROR_INTERNAL, "the waiting list does not end at its last sequence");
    }
    if (status == 0) status = pages_validate(&engine->pool, tables, engine->n_running, err);
    if (status == 0) status = validate_slots(engine, err);
    free(tables);
    return status;
}
