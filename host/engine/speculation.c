/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drafts beside the scheduler: which sequences get one in this step and how long, and what came of it. A draft lies in
 * the sequence's tokens behind those that are known, and only for the length of one step.
 */
#include "host/engine/sequence.h"

#include "host/base/memory.h"

int speculation_open(struct engine *engine, struct draft_source *source, struct error *err)
{
    const struct draft_limits limits = {
        .max_sequences = engine->limits.max_sequences,
        .context = engine->limits.context,
        .chunk = engine->limits.chunk,
        .n_vocab = engine->n_vocab,
    };
    /* A state that has seen a wrong token cannot go back. */
    if (!source || engine->recurrent || engine->has_encoder) return 0;
    engine->drafts = memory_array(limits.max_sequences, sizeof *engine->drafts);
    if (!engine->drafts)
        return error_set(err, ERROR_NO_MEMORY, "no host memory for drafts of %u sequences", limits.max_sequences);
    const int status = source->operations->prepare(source, &limits, err);
    if (status < 0) return status;
    for (uint32_t g = 0; g < DRAFT_GRADES; g++) draft_record_begin(&engine->draft_records[g], source->first_chance[g]);
    engine->draft_source = source;
    engine->limits.speculates = true;
    return 0;
}

void speculation_join(struct engine *engine, struct sequence *sequence)
{
    if (!engine->draft_source) return;
    for (uint32_t g = 0; g < DRAFT_GRADES; g++)
        draft_record_inherit(&sequence->draft_records[g], &engine->draft_records[g]);
    engine->draft_source->operations->join(engine->draft_source, sequence->slot);
}

void speculation_leave(struct engine *engine, const struct sequence *sequence)
{
    if (engine->draft_source) engine->draft_source->operations->leave(engine->draft_source, sequence->slot);
}

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* Tokens that the sequence's draft may have: its last token is never computed, so drafts stay clear of its place. */
static uint32_t longest_draft(const struct sequence *sequence, const struct speculation_room *room)
{
    const uint32_t left = sequence->max_new - sequence->n_sampled - 1;
    return least(DRAFT_MOST, least(left, least(room->tokens, room->rows)));
}

/* Asks the source for one sequence's draft; true if there shall be one, which takes its room and joins the plan. */
static bool plan_draft(struct engine *engine, struct sequence *sequence, struct speculation_room *room,
                       struct draft_plan *plan, struct draft *draft)
{
    struct draft_source *source = engine->draft_source;
    const uint32_t most = longest_draft(sequence, room);
    *draft = (struct draft){
        .slot = sequence->slot,
        .tokens = sequence->tokens,
        .n_known = sequence->n_prompt + sequence->n_sampled,
        .n_longest = sequence->n_prompt + sequence->max_new,
        .sampling = &sequence->sampling,
    };
    if (most == 0 || !source->operations->look(source, draft)) return false;
    sequence->draft_grade = draft->grade;
    draft->n = draft_policy_length(&engine->draft_policy, &sequence->draft_records[draft->grade], most,
                                   source->round_seconds, plan);
    room->tokens -= draft->n;
    room->rows -= draft->n;
    return draft->n > 0;
}

void speculation_draft(struct engine *engine, uint32_t n_prompt_tokens, uint32_t n_decoding,
                       struct speculation_room *room)
{
    for (uint32_t i = 0; i < engine->n_running; i++) engine->running[i]->n_draft = 0;
    if (!engine->draft_source || n_decoding == 0) return;
    struct draft_plan plan = {.n_tokens = n_prompt_tokens + n_decoding, .n_expected = n_decoding};
    uint32_t n_drafts = 0;
    for (uint32_t i = 0; i < engine->n_running; i++) {
        struct sequence *sequence = engine->running[i];
        if (sequence->n_computed < sequence->n_prompt) continue;
        if (plan_draft(engine, sequence, room, &plan, &engine->drafts[n_drafts])) n_drafts++;
    }
    if (n_drafts == 0) return;
    engine->draft_source->operations->propose(engine->draft_source, engine->drafts, n_drafts);

    /* Drafts are in the order of the sequences. A token that is in no vocabulary ends one. */
    for (uint32_t i = 0, d = 0; i < engine->n_running && d < n_drafts; i++) {
        struct sequence *sequence = engine->running[i];
        const struct draft *draft = &engine->drafts[d];
        if (sequence->slot != draft->slot) continue;
        while (sequence->n_draft < draft->n && draft->tokens[draft->n_known + sequence->n_draft] < engine->n_vocab)
            sequence->n_draft++;
        /* What the grammar does not allow cannot be picked: no step is spent on it, nor on what comes behind it. */
        if (sequence->matcher)
            sequence->n_draft =
                grammar_matcher_try(sequence->matcher, draft->tokens + draft->n_known, sequence->n_draft);
        d++;
    }
}

void speculation_settle(struct engine *engine, struct sequence *sequence, uint32_t n_kept, bool wrong)
{
    struct draft_source *source = engine->draft_source;
    if (!source) return;
    if (source->operations->settle)
        source->operations->settle(source, sequence->slot, sequence->n_prompt + sequence->n_sampled);
    if (sequence->n_draft == 0) return;
    sequence->n_drafted += sequence->n_draft;
    sequence->n_accepted += n_kept;
    atomic_fetch_add_explicit(&engine->drafted_tokens, sequence->n_draft, memory_order_relaxed);
    atomic_fetch_add_explicit(&engine->accepted_tokens, n_kept, memory_order_relaxed);
    draft_record_result(&sequence->draft_records[sequence->draft_grade], &engine->draft_records[sequence->draft_grade],
                        n_kept, wrong);
}
