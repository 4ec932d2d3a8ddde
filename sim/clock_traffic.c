/* SPDX-License-Identifier: Apache-2.0 */
/* What a descriptor moves over which channels. */
#include "sim/clock_state.h"
#include "sim/expert_set.h"
#include "sim/seen.h"

/* Results that are in use at once: each has this part of the on-chip memory for activations. */
enum { LIVE_RESULTS = 4 };

#define BIT(place) (1u << (place))

/* Places of vectors that are weights: known when the program begins. */
static unsigned static_places(unsigned opcode)
{
    switch (opcode) {
    case CARD_OP_NORM:
    case CARD_OP_DECAY: return BIT(CARD_WEIGHT) | BIT(CARD_AUX);
    case CARD_OP_MATMUL:
    case CARD_OP_ROUTER: return BIT(CARD_AUX);
    case CARD_OP_ROPE: return BIT(CARD_WEIGHT);
    case CARD_OP_CONV: return BIT(CARD_WEIGHT) | BIT(CARD_E_SRC);
    case CARD_OP_ATTENTION: return BIT(CARD_E_SRC) | BIT(CARD_E_WEIGHT);
    default: return 0;
    }
}

/* Places of activations. */
static unsigned activation_places(unsigned opcode)
{
    const unsigned both = BIT(CARD_DST) | BIT(CARD_SRC);
    switch (opcode) {
    case CARD_OP_GLU:
    case CARD_OP_ADD:
    case CARD_OP_SCALE: return both | BIT(CARD_WEIGHT);
    case CARD_OP_KV_WRITE: return BIT(CARD_SRC) | BIT(CARD_WEIGHT);
    case CARD_OP_SCAN: return both | BIT(CARD_WEIGHT) | BIT(CARD_E_SRC) | BIT(CARD_E_WEIGHT) | BIT(CARD_E_AUX);
    case CARD_OP_INDEX: return both | BIT(CARD_E_SRC);
    case CARD_OP_GATHER: return BIT(CARD_DST);
    case CARD_OP_AWAIT: return 0;
    default: return both;
    }
}

static void add_operand(struct clock_traffic *traffic, const struct card_operand *operand)
{
    clock_add_bytes(traffic, CARD_ADDR_BANK(operand->address), operand->bytes);
}

uint64_t clock_add_activations(struct sim_clock *clock, const struct sim_step *step)
{
    const unsigned places = activation_places(step->d->opcode), n = step->e ? CARD_PLACES : CARD_E_DST;
    const uint64_t room = clock->rates.card.engine.activation_bytes / LIVE_RESULTS;
    uint64_t on_chip = 0;
    for (unsigned p = 0; places >> p && p < n; p++) {
        const struct card_operand *operand = &step->operand[p];
        if (!(places & BIT(p)) || !operand->field) continue;
        if (operand->bytes > room)
            add_operand(&clock->traffic, operand);
        else
            on_chip += operand->bytes;
    }
    if (step->d->opcode == CARD_OP_GATHER) /* the rows that it takes */
        clock_add_bytes(&clock->traffic, CARD_ADDR_BANK(step->d->src), (uint64_t)step->d->tokens * step->d->cols * 4);
    return on_chip;
}

/* Times that weights are read: each time for as many tokens as a word meets while it is on chip. */
static uint64_t passes(const struct sim_clock *clock, uint64_t tokens)
{
    const uint64_t each = clock->rates.card.engine.tokens_per_pass;
    return tokens <= each ? 1 : (tokens + each - 1) / each;
}

/* Tiles of a matrix that is dealt over `banks`; one that is not and has no tiles counts as one. */
struct tiles {
    uint64_t n, bytes; /* how many; of each */
};

static struct tiles tiles_of(const struct card_descriptor *d, uint32_t banks)
{
    if (d->format == CARD_FORMAT_F32 && banks <= 1) return (struct tiles){1, (uint64_t)d->rows * d->cols * 4};
    return (struct tiles){card_round_up(d->rows, CARD_TILE_ROWS) / CARD_TILE_ROWS, card_tile_bytes(d->format, d->cols)};
}

void clock_add_weights(struct sim_clock *clock, const struct sim_step *step)
{
    const struct card_descriptor *d = step->d;
    const unsigned places = static_places(d->opcode), n = step->e ? CARD_PLACES : CARD_E_DST;
    if (d->opcode == CARD_OP_MATMUL) {
        const struct tiles tiles = tiles_of(d, d->param[0]);
        const uint64_t times = d->format == CARD_FORMAT_F32 ? 1 : passes(clock, d->tokens);
        clock_add_tiles(&clock->traffic, CARD_ADDR_BANK(d->weight), d->param[0], tiles.n, tiles.bytes * times);
    }
    for (unsigned p = CARD_WEIGHT; places >> p && p < n; p++)
        if (places & BIT(p) && step->operand[p].field) add_operand(&clock->traffic, &step->operand[p]);
}

void clock_note_experts(struct clock_note *note, const struct sim_step *step)
{
    const struct card_descriptor *d = step->d;
    const struct card_choice *choice = step->aux;
    const card_addr *slot = step->weight;
    const uint64_t uses = choice ? (uint64_t)d->tokens * d->param[0] : d->param[1];
    struct expert_set met;
    expert_set_clear(&met, d->param[1]);
    note->starts = 0;
    for (uint64_t i = 0; i < uses; i++) {
        const uint32_t expert = choice ? choice[i].expert : (uint32_t)i;
        if (expert == CARD_NO_EXPERT || !expert_set_add(&met, expert)) continue;
        const unsigned bank = CARD_ADDR_BANK(slot[expert]) % PROFILE_CHANNELS;
        const uint64_t start = UINT64_C(1) << bank;
        note->start[bank] = note->starts & start ? note->start[bank] + 1 : 1;
        note->starts |= start;
    }
}

/* Each matrix as often as the rows need that chose it, taken to be spread evenly. */
void clock_add_experts(struct sim_clock *clock, const struct card_descriptor *d, const struct clock_note *note)
{
    const struct tiles tiles = tiles_of(d, d->param[2]);
    const uint64_t rows = note->work.rows, experts = note->work.experts;
    const uint64_t times = experts ? passes(clock, (rows + experts - 1) / experts) : 0;
    for (uint64_t starts = note->starts; starts; starts &= starts - 1) {
        const unsigned bank = (unsigned)__builtin_ctzll(starts);
        clock_add_tiles(&clock->traffic, bank, d->param[2], tiles.n, tiles.bytes * times * note->start[bank]);
    }
}

/*
 * Pages of KV_WRITE, ATTENTION and INDEX. A dealt pool's pages are taken to follow each other from that of the first
 * token's first position: as many channels work as there are pages, and all of them alike when there are many.
 */
static void note_pages(struct clock_note *note, const struct sim_step *step)
{
    const struct card_descriptor *d = step->d;
    const struct card_operand *pool = &step->operand[d->opcode == CARD_OP_KV_WRITE ? CARD_DST : CARD_WEIGHT];
    const uint64_t bytes = note->work.kv_bytes;
    note->first = CARD_ADDR_BANK(pool->address);
    note->banks = pool->banks;
    note->n = bytes > 0;
    note->bytes = bytes;
    if (bytes == 0 || pool->banks <= 1) return;
    const struct card_batch_token *token = sim_step_batch(step);
    struct seen seen = seen_by(step, 0);
    uint32_t page = d->opcode == CARD_OP_KV_WRITE ? token->position / CARD_PAGE_TOKENS : seen_page(&seen);
    if (page == NO_PAGE) page = 0;
    const uint32_t number = page == 0 && seen_page(&seen) == NO_PAGE && d->opcode != CARD_OP_KV_WRITE
                                ? 0
                                : sim_step_pages(step)[token->first_page + page];
    const uint64_t page_bytes = card_pool_page_bytes(d, step->e), pages = (bytes + page_bytes - 1) / page_bytes;
    note->first = card_tile_bank(note->first, number, pool->banks);
    note->n = pages < pool->banks ? pages : pool->banks;
    note->bytes = (bytes + note->n - 1) / note->n;
}

bool clock_has_pages(unsigned opcode)
{
    return opcode == CARD_OP_KV_WRITE || opcode == CARD_OP_ATTENTION || opcode == CARD_OP_INDEX ||
           opcode == CARD_OP_SCAN || opcode == CARD_OP_CONV;
}

void clock_note_pages(struct clock_note *note, const struct sim_step *step)
{
    if (step->d->opcode != CARD_OP_SCAN && step->d->opcode != CARD_OP_CONV) {
        note_pages(note, step);
        return;
    }
    note->first = CARD_ADDR_BANK(step->e->dst);
    note->banks = 1;
    note->n = 1;
    note->bytes = note->work.kv_bytes;
}
