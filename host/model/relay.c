/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A step through the cards of a model in parts. The hidden state of one card is read into the inputs of the next one's
 * program, behind which its batch table and pages stand: one copy from card to card is one read and one write.
 *
 * Groups. A step of many tokens goes in groups of tokens that follow each other: while the second card has the first group the
 * first card has the second one. In wave w card c begins group w - c. A token sees earlier ones only, and each card takes the
 * groups in their order, so a group is to it what a chunk of a prompt is, and changes no bit. Groups are not made where a
 * token sees later ones, nor where experts stream, which would come once for each group.
 *
 * Time. All is started by one thread, whose time is the same on all cards: what has a clock is told (card_idle) when the
 * thread comes from another card, and at the end of a step all cards have the time of the last.
 */
#include "host/card/card_list.h"
#include "host/model/division.h"
#include "host/model/step_internal.h"

#include <stdatomic.h>

/* Groups are no smaller: below it weights read again cost more than a card's waiting (host/engine/README.md). */
#define GROUP_TOKENS 32u
#define GROUPS_PER_CARD 4u /* as many as leave a fifth or less of the time to filling and draining */
#define MOST_GROUPS (GROUPS_PER_CARD * DIVISION_CARDS)

/* The part on one card. */
struct relay_card {
    struct loaded_model *loaded;
    struct step_memory *memory;
    uint8_t *inputs[MOST_GROUPS];
    card_event done[MOST_GROUPS]; /* of a group: its hidden state or its logits are on the host */
    card_event last;              /* of all that was begun; 0: nothing */
};

struct relay {
    const struct step *step;
    float *logits;
    unsigned n_cards, n_groups;
    uint64_t now_ps; /* of the host's thread, where cards keep time */
    struct relay_card cards[DIVISION_CARDS];
};

static unsigned count_groups(uint32_t n_tokens, unsigned n_cards)
{
    const unsigned most = GROUPS_PER_CARD * n_cards;
    if (n_tokens < 2 * GROUP_TOKENS) return 1;
    return n_tokens / GROUP_TOKENS < most ? n_tokens / GROUP_TOKENS : most;
}

uint64_t relay_input_bytes(const struct model *model, const struct step_limits *limits)
{
    const uint64_t tables = 4ull * limits->max_pages_in_tables + 8ull * CARD_WORD_BYTES;
    return step_input_bytes(model, limits->max_tokens, limits->max_pages_in_tables, limits->max_logit_rows) +
           count_groups(limits->max_tokens, DIVISION_CARDS) * tables;
}

static bool may_group(const struct relay *relay)
{
    const struct step *step = relay->step;
    if (relay->cards[0].loaded->keeps_whole) return false;
    for (unsigned c = 0; c < relay->n_cards; c++)
        if (relay->cards[c].loaded->pool != NULL) return false;
    for (uint32_t i = 0; i < step->n_tokens; i++)
        if (step->batch[i].visible > step->batch[i].position + 1) return false;
    return true;
}

static uint32_t first_token(const struct relay *relay, unsigned group)
{
    return (uint32_t)((uint64_t)relay->step->n_tokens * group / relay->n_groups);
}

static uint32_t first_row(const struct relay *relay, unsigned group)
{
    const struct step *step = relay->step;
    uint32_t row = 0;
    while (row < step->n_logit_rows && step->logit_rows[row] < first_token(relay, group)) row++;
    return row;
}

/* The tokens of a group as a step; rows of logits are the last card's affair. */
static struct step group_step(const struct relay *relay, unsigned c, unsigned group)
{
    const struct step *step = relay->step;
    const uint32_t first = first_token(relay, group), row = first_row(relay, group);
    struct step out = *step;
    out.n_tokens = first_token(relay, group + 1) - first;
    out.tokens = step->tokens + first;
    out.batch = step->batch + first;
    out.n_logit_rows = c + 1 == relay->n_cards ? first_row(relay, group + 1) - row : 0;
    uint32_t *rows = relay->cards[c].memory->group_rows;
    for (uint32_t i = 0; i < out.n_logit_rows; i++) rows[i] = step->logit_rows[row + i] - first;
    out.logit_rows = rows;
    return out;
}

/* Where the inputs of each card's groups lie. */
static int lay_out(struct relay *relay, struct error *err)
{
    for (unsigned c = 0; c < relay->n_cards; c++) {
        struct relay_card *card = &relay->cards[c];
        uint64_t used = 0;
        for (unsigned g = 0; g < relay->n_groups; g++) {
            const struct step group = group_step(relay, c, g);
            card->inputs[g] = card->memory->inputs + used;
            used += step_input_bytes(card->loaded->model, group.n_tokens, group.n_pages, group.n_logit_rows);
        }
        if (used > card->memory->input_bytes)
            return error_set(err, ERROR_INTERNAL, "inputs of %u groups are larger than was measured", relay->n_groups);
    }
    return 0;
}

/* ---- time ---- */

/* The host's thread comes to the card. */
static int meet(struct relay *relay, struct card *card, struct error *err)
{
    uint64_t now;
    if (card_now(card, &now, NULL) < 0) return 0;
    return now < relay->now_ps ? card_idle(card, relay->now_ps, err) : 0;
}

/* It leaves it. */
static void leave(struct relay *relay, const struct card *card)
{
    uint64_t now;
    if (card_now(card, &now, NULL) == 0 && now > relay->now_ps) relay->now_ps = now;
}

static int wait_for(struct relay *relay, struct relay_card *at, card_event event, struct error *err)
{
    struct card *card = at->loaded->card;
    int result = meet(relay, card, err);
    if (result == 0) result = card_wait(card, event, 0, err);
    leave(relay, card);
    return result;
}

/* ---- work ---- */

/* What the card made of the group, to where it is wanted: the next card's inputs, or the logits. */
static int read_back(struct relay *relay, unsigned c, unsigned g, const struct planner *planner,
                     const struct step *group, struct error *err)
{
    struct relay_card *at = &relay->cards[c];
    const uint32_t n_vocab = planner->config->n_vocab;
    void *dst = relay->logits + (size_t)first_row(relay, g) * n_vocab;
    card_addr src = planner->logits.address;
    size_t bytes = (size_t)group->n_logit_rows * n_vocab * sizeof(float);
    if (c + 1 < relay->n_cards) {
        dst = relay->cards[c + 1].inputs[g];
        src = planner->embeddings.address;
        bytes = (size_t)group->n_tokens * planner->config->d_model * sizeof(float);
    }
    if (bytes == 0) return 0;
    card_event read = 0;
    int result = card_read(at->loaded->card, dst, src, bytes, &at->last, 1, &read, err);
    if (result == 0) at->last = read;
    return result;
}

static int start(struct relay *relay, unsigned c, unsigned g, const struct planner *planner, uint64_t inputs,
                 const struct step *group, struct error *err)
{
    struct relay_card *at = &relay->cards[c];
    struct card *card = at->loaded->card;
    /* The arena is one: a group's inputs come when what was made of the one before has left it. */
    card_event written = 0, computed = 0;
    int result = card_write(card, planner->arena, at->inputs[g], inputs, &at->last, 1, &written, err);
    if (result == 0) at->last = written;
    if (result == 0) result = card_submit(card, planner->program, planner->n_descriptors, &written, 1, &computed, err);
    if (result == 0) at->last = computed;
    if (result == 0) result = read_back(relay, c, g, planner, group, err);
    at->done[g] = at->last;
    return result;
}

static int run_group(struct relay *relay, unsigned c, unsigned g, struct error *err)
{
    struct relay_card *at = &relay->cards[c];
    struct planner planner;
    uint64_t inputs;
    const struct step group = group_step(relay, c, g);
    int result = step_plan(at->loaded, at->memory, &group, &planner, &inputs, err);
    if (result < 0) return result;
    step_fill(&planner, &group, at->inputs[g]);
    if (c == 0) result = model_check(at->loaded->model, err);
    if (result == 0) result = meet(relay, at->loaded->card, err);
    if (result == 0) result = start(relay, c, g, &planner, inputs, &group, err);
    leave(relay, at->loaded->card);
    return result;
}

static int name_card(const struct relay *relay, unsigned c, int result, struct error *err)
{
    char label[CARD_LABEL_BYTES];
    if (result == 0 || err == NULL) return result;
    card_label(relay->cards[c].loaded->card, c, relay->n_cards, label);
    return error_prefix(err, "%s", label);
}

static int run_wave(struct relay *relay, unsigned wave, struct error *err)
{
    int result = 0;
    for (unsigned c = 0; c < relay->n_cards && c <= wave && result == 0; c++) {
        const unsigned g = wave - c;
        if (g >= relay->n_groups) continue;
        if (c > 0)
            result =
                name_card(relay, c - 1, wait_for(relay, &relay->cards[c - 1], relay->cards[c - 1].done[g], err), err);
        if (result == 0) result = name_card(relay, c, run_group(relay, c, g, err), err);
    }
    return result;
}

/* Everything that was begun, as it uses this step's memory; also after an error, of which the first counts. */
static int finish(struct relay *relay, int result, struct error *err)
{
    for (unsigned c = 0; c < relay->n_cards; c++) {
        struct error own = {0};
        int waited = name_card(relay, c, wait_for(relay, &relay->cards[c], relay->cards[c].last, &own), &own);
        if (result == 0 && waited < 0) result = error_set(err, own.code, "%s", own.text);
    }
    for (unsigned c = 0; c < relay->n_cards && result == 0; c++) {
        struct card_usage usage;
        result = meet(relay, relay->cards[c].loaded->card, err);
        if (card_measure(relay->cards[c].loaded->card, &usage, NULL) == 0)
            atomic_store_explicit(&relay->cards[c].loaded->waited_ps, usage.elsewhere_ps, memory_order_relaxed);
    }
    return result;
}

int relay_step(struct loaded_model *loaded, struct step_memory *memory, const struct step *step, float *logits,
               struct error *err)
{
    struct relay relay = {.step = step, .logits = logits};
    for (; loaded != NULL && relay.n_cards < DIVISION_CARDS; loaded = loaded->next, memory = memory->next) {
        relay.cards[relay.n_cards++] = (struct relay_card){.loaded = loaded, .memory = memory};
        leave(&relay, loaded->card);
    }
    relay.n_groups = may_group(&relay) ? count_groups(step->n_tokens, relay.n_cards) : 1;
    int result = lay_out(&relay, err);
    if (result < 0) return result;
    for (unsigned wave = 0; wave < relay.n_groups + relay.n_cards - 1 && result == 0; wave++)
        result = run_wave(&relay, wave, err);
    return finish(&relay, result, err);
}
