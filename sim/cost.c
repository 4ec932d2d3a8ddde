/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cost.h"

#include "sim/kv_pages.h"

enum {
    BLOCK_COLS = 64, /* of the RTL's INT4 blocks */
    INT4_WORDS = 9,  /* of such a block */
    ROUND_TILES = 4, /* side by side */
};

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }
static uint64_t quotient_up(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

/* ---- matrices ---- */

/* Activations of `tokens` rows into the pipelines. */
static uint64_t load_cycles(const struct engine_profile *engine, uint32_t cols, uint64_t tokens)
{
    const struct matmul_cycles *model = &engine->matmul;
    const uint64_t blocks = quotient_up(cols, BLOCK_COLS);
    return model->start + tokens * (blocks * model->load_per_block + quotient_up(blocks, 8) * model->load_per_8_blocks);
}

uint64_t sim_cost_tiles(const struct engine_profile *engine, unsigned format, uint32_t cols, uint64_t tiles,
                        uint64_t tokens)
{
    const struct matmul_cycles *model = &engine->matmul;
    const uint64_t blocks = quotient_up(cols, BLOCK_COLS), words = card_tile_bytes(format, cols) / CARD_WORD_BYTES;
    const uint64_t left = tiles % ROUND_TILES;
    /* full_round is what 4 tiles of INT4 blocks take, 4 x 9 words: other formats differ by their words. */
    uint64_t cycles = quotient_up((tiles - left) * words * model->full_round, ROUND_TILES * INT4_WORDS);
    if (left) {
        const uint64_t streamed = left * words, waited = model->part_round * blocks;
        cycles += streamed > waited ? streamed : waited;
    }
    return load_cycles(engine, cols, tokens) + cycles * quotient_up(tokens, engine->tokens_per_word);
}

/* Products of floats: the words of one port, dealt or not, and one token at a time. */
static uint64_t float_cycles(const struct engine_profile *engine, uint64_t products)
{
    return quotient_up(products, engine->float_lanes) * engine->interval.float_products;
}

/* The busiest pipeline's tiles of a matrix that is dealt over `banks`. */
static uint64_t busiest_tiles(const struct engine_profile *engine, uint32_t rows, uint32_t banks)
{
    uint32_t side_by_side = banks > 1 ? banks : 1;
    if (side_by_side > engine->matmul_pipelines) side_by_side = engine->matmul_pipelines;
    return quotient_up(quotient_up(rows, CARD_TILE_ROWS), side_by_side);
}

static uint64_t matmul_cycles(const struct engine_profile *engine, const struct card_descriptor *d)
{
    if (d->format == CARD_FORMAT_F32) return float_cycles(engine, (uint64_t)d->rows * d->cols * d->tokens);
    return sim_cost_tiles(engine, d->format, d->cols, busiest_tiles(engine, d->rows, d->param[0]), d->tokens);
}

/* What a last round of one to three tiles waits for its own sums: words of the matrix that follows go by meanwhile. */
static uint64_t round_wait(const struct engine_profile *engine, const struct card_descriptor *d, uint64_t tiles)
{
    const uint64_t left = tiles % ROUND_TILES, blocks = quotient_up(d->cols, BLOCK_COLS);
    const uint64_t streamed = left * card_tile_bytes(d->format, d->cols) / CARD_WORD_BYTES,
                   waited = engine->matmul.part_round * blocks;
    return left && waited > streamed ? waited - streamed : 0;
}

/*
 * The time from one expert's first word to the next one's, whose activations are loaded meanwhile; its tiles fill the places
 * that the one before leaves in a round.
 */
static uint64_t expert_turn(const struct engine_profile *engine, const struct card_descriptor *d, uint64_t tiles,
                            uint64_t rows)
{
    const uint64_t words = tiles * card_tile_bytes(d->format, d->cols) / CARD_WORD_BYTES;
    const uint64_t streamed = quotient_up(words * engine->matmul.full_round, ROUND_TILES * INT4_WORDS);
    return larger(streamed * quotient_up(rows, engine->tokens_per_word), load_cycles(engine, d->cols, rows));
}

/*
 * Experts go through one after the other, each with the rows that chose it, which are taken to be spread evenly over the
 * experts in use; the next one's words follow while the sums of the one before come to their end.
 */
static uint64_t expert_cycles(const struct engine_profile *engine, const struct card_descriptor *d,
                              const struct sim_work *work)
{
    const uint64_t rows = work->rows, experts = work->experts;
    if (experts == 0) return 0;
    if (d->format == CARD_FORMAT_F32) return float_cycles(engine, (uint64_t)d->rows * d->cols * rows);
    const uint64_t tiles = busiest_tiles(engine, d->rows, d->param[2]), less = rows / experts, more = rows % experts;
    const uint64_t cycles = load_cycles(engine, d->cols, less) +
                            (experts - more) * expert_turn(engine, d, tiles, less) +
                            round_wait(engine, d, experts * tiles);
    return more ? cycles + more * expert_turn(engine, d, tiles, less + 1) : cycles;
}

/* Of its cycles, those of a last round that waits for its own sums. */
static uint64_t waited_at_end(const struct engine_profile *engine, const struct card_descriptor *d, uint32_t experts)
{
    if (d->format == CARD_FORMAT_F32) return 0;
    if (d->opcode == CARD_OP_MATMUL) return round_wait(engine, d, busiest_tiles(engine, d->rows, d->param[0]));
    return round_wait(engine, d, experts * busiest_tiles(engine, d->rows, d->param[2]));
}

/* ---- attention and states ---- */

/*
 * A position seen by a head. Scores and values take turns on the lanes; its place in the softmax is a pipeline of its own, which
 * the heads of a pass go through one behind the other. Pages of integers are scored by groups of 32.
 */
static uint64_t position_cycles(const struct engine_profile *engine, const struct sim_step *step)
{
    const struct card_descriptor *d = step->d;
    const struct loop_intervals *interval = &engine->interval;
    const uint64_t words = quotient_up(d->cols, engine->attention_lanes);
    const uint64_t score =
        kv_is_integer(d->format) ? kv_groups(d->cols) * interval->dot_positions : words * interval->score_positions;
    if (d->opcode == CARD_OP_INDEX) return larger(score, interval->index_scores);
    const uint64_t values = quotient_up(card_attention_values(d, step->e), engine->attention_lanes);
    return larger(score + values * interval->value_words, larger(interval->page_largest, interval->page_exps));
}

static uint64_t attention_cycles(const struct engine_profile *engine, const struct sim_step *step, uint64_t positions)
{
    const struct card_descriptor *d = step->d;
    const uint64_t queries = (uint64_t)d->tokens * d->rows;
    const uint64_t query =
        kv_is_integer(d->format) ? kv_groups(d->cols) * engine->interval.query_groups : quotient_up(d->cols, LANES);
    const uint64_t heads = queries * query + positions * d->rows * position_cycles(engine, step);
    return quotient_up(heads, engine->attention_pipelines);
}

static uint64_t scan_cycles(const struct engine_profile *engine, const struct card_descriptor *d)
{
    const uint64_t words = quotient_up((uint64_t)d->rows * d->cols * d->param[1], engine->scan_lanes);
    return d->tokens * words * (engine->interval.scan_decay_words + engine->interval.scan_update_words);
}

/* ---- vectors ---- */

/* Cycles of a loop over vectors of n floats, which takes vector_lanes of them each `interval`; words go side by side. */
static uint64_t words_cycles(const struct engine_profile *engine, uint64_t vectors, uint64_t n, uint32_t interval)
{
    return quotient_up(vectors * quotient_up(n, LANES) * LANES, engine->vector_lanes) * interval;
}

static uint64_t norm_cycles(const struct engine_profile *engine, const struct card_descriptor *d)
{
    const uint64_t vectors = (uint64_t)d->tokens * d->rows, words = quotient_up(d->cols, LANES);
    /* The sums of one vector are one chain, those of several stand side by side. */
    const uint64_t beside = engine->vector_lanes / LANES ? engine->vector_lanes / LANES : 1;
    uint64_t sums = engine->interval.square_words;
    if (d->flags & CARD_FLAG_LAYER) sums += engine->interval.mean_words;
    return quotient_up(vectors, beside) * words * sums + words_cycles(engine, vectors, d->cols, 1);
}

static uint64_t vector_cycles(const struct engine_profile *engine, const struct card_descriptor *d)
{
    const struct loop_intervals *interval = &engine->interval;
    const uint64_t tokens = d->tokens;
    switch (d->opcode) {
    case CARD_OP_NORM: return norm_cycles(engine, d);
    case CARD_OP_QUANTIZE: return words_cycles(engine, tokens, d->cols, interval->quantize_groups) / 2; /* of 32 */
    case CARD_OP_ROPE: return words_cycles(engine, tokens * d->rows, d->param[0] / 2, interval->rope_pairs);
    case CARD_OP_KV_WRITE:
        return words_cycles(engine, tokens * d->rows, (uint64_t)d->cols + d->param[1], interval->kv_groups) / 2;
    case CARD_OP_ROUTER:
        return tokens * (d->cols * (uint64_t)(interval->router_exps + interval->router_choose) +
                         (uint64_t)d->rows * interval->router_weights);
    case CARD_OP_TOP_K: return tokens * d->cols * interval->top_k_values;
    case CARD_OP_GLU: return words_cycles(engine, tokens, d->cols, interval->glu_words);
    case CARD_OP_ADD:
    case CARD_OP_SCALE:
    case CARD_OP_SOFT_CAP:
    case CARD_OP_DECAY: return words_cycles(engine, tokens, d->cols, interval->element_words);
    case CARD_OP_EXPERT_SUM:
    case CARD_OP_EXPERT_SPREAD: return words_cycles(engine, tokens * d->param[0], d->cols, 1);
    case CARD_OP_CONV: return words_cycles(engine, tokens * d->param[1], d->cols, interval->conv_words);
    case CARD_OP_COPY: return words_cycles(engine, tokens * d->rows, d->cols, 1);
    default: return words_cycles(engine, tokens, d->cols, 1); /* GATHER, PUBLISH */
    }
}

struct sim_cost sim_cost_of(const struct engine_profile *engine, const struct sim_step *step,
                            const struct sim_work *work)
{
    const struct card_descriptor *d = step->d;
    const uint64_t fixed = engine->fixed_cycles[d->opcode];
    struct sim_cost cost = {
        .unit = TIMELINE_VECTOR, .cycles = fixed + engine->drain_cycles, .float_adds = work->multiply_adds};
    switch (d->opcode) {
    case CARD_OP_MATMUL:
    case CARD_OP_EXPERT_MATMUL:
        cost.unit = TIMELINE_MATMUL;
        cost.float_adds = 0;
        cost.tail = larger(fixed, engine->matmul.end); /* either counts the array's drain */
        cost.lead = d->format == CARD_FORMAT_F32 ? 0 : load_cycles(engine, d->cols, 1);
        cost.cycles = cost.tail;
        cost.cycles += d->opcode == CARD_OP_MATMUL ? matmul_cycles(engine, d) : expert_cycles(engine, d, work);
        cost.tail += waited_at_end(engine, d, work->experts);
        break;
    case CARD_OP_ATTENTION:
    case CARD_OP_INDEX:
        cost.unit = TIMELINE_ATTENTION;
        cost.cycles += attention_cycles(engine, step, work->positions);
        break;
    case CARD_OP_SCAN:
        cost.unit = TIMELINE_ATTENTION;
        cost.cycles += scan_cycles(engine, d);
        break;
    case CARD_OP_AWAIT: cost.unit = TIMELINE_DISPATCH; break;
    default:
        if (d->opcode == CARD_OP_PUBLISH) cost.unit = TIMELINE_DISPATCH;
        cost.cycles += vector_cycles(engine, d);
        if (d->opcode != CARD_OP_CONV) cost.float_adds = (uint64_t)d->tokens * d->cols;
        break;
    }
    return cost;
}
