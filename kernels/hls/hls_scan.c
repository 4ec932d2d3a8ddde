/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCAN: the gated delta rule, token after token. A column of a state depends on no other column, so that a head's state
 * is worked on in blocks of columns, each of which stays on chip while the tokens of its sequence go by.
 */
#include "kernels/hls/hls_batch.h"
#include "kernels/hls/hls_operations.h"

#define WORDS (CARD_MAX_HEAD_DIM / HLS_LANES)
#define COLUMN_WORDS 8u /* columns of a block, in words */
#define COLUMNS (COLUMN_WORDS * HLS_LANES)

/* Columns [first, first + n) of one head. */
struct place {
    uint32_t head, key_head, first, n;
};

/* What one token brings: key, query and decay by row, value and beta for the columns. */
struct token_data {
    struct hls_word key[WORDS], query[WORDS], decay[WORDS];
    struct hls_word value[COLUMN_WORDS];
    float beta;
};

static float value_at(const struct hls_word *x, uint32_t i)
{
    HLS_INLINE
    return card_float(x[i / HLS_LANES].lane[i % HLS_LANES]);
}

/* lane = fma(a, b, lane), word by word. */
static struct hls_word fma_word(float a, struct hls_word b, struct hls_word c)
{
    HLS_INLINE
    struct hls_word out;
fma_lanes:
    for (uint32_t l = 0; l < HLS_LANES; l++) {
        HLS_UNROLL
        out.lane[l] = card_bits(card_fma(a, card_float(b.lane[l]), card_float(c.lane[l])));
    }
    return out;
}

/* S = S decay; u = S^T key. */
static void decay_state(struct hls_word state[CARD_MAX_HEAD_DIM][COLUMN_WORDS], const struct token_data *token,
                        uint32_t rows, uint32_t words, struct hls_word u[COLUMN_WORDS])
{
    HLS_NO_INLINE
scan_decay_rows:
    for (uint32_t i = 0; i < rows; i++) {
        HLS_TRIPS(64, 256)
        const float d = value_at(token->decay, i), k = value_at(token->key, i);
    scan_decay_words:
        for (uint32_t w = 0; w < COLUMN_WORDS; w++) {
            HLS_PIPELINE(2) /* a word of u comes back after 8 iterations, 16 cycles; an fma is 12 */
            HLS_DISTANCE(u, 8)
            HLS_INDEPENDENT(state)
            if (w < words) {
                struct hls_word s = state[i][w];
            scan_decay_lanes:
                for (uint32_t l = 0; l < HLS_LANES; l++) {
                    HLS_UNROLL
                    s.lane[l] = card_bits(card_float(s.lane[l]) * d);
                }
                state[i][w] = s;
                u[w] = fma_word(k, s, u[w]);
            }
        }
    }
}

/* S += key delta^T; o = S^T query. */
static void update_state(struct hls_word state[CARD_MAX_HEAD_DIM][COLUMN_WORDS], const struct token_data *token,
                         uint32_t rows, uint32_t words, const struct hls_word delta[COLUMN_WORDS],
                         struct hls_word o[COLUMN_WORDS])
{
    HLS_NO_INLINE
scan_update_rows:
    for (uint32_t i = 0; i < rows; i++) {
        HLS_TRIPS(64, 256)
        const float k = value_at(token->key, i), q = value_at(token->query, i);
    scan_update_words:
        for (uint32_t w = 0; w < COLUMN_WORDS; w++) {
            HLS_PIPELINE(2) /* as scan_decay_words, with o */
            HLS_DISTANCE(o, 8)
            HLS_INDEPENDENT(state)
            if (w < words) {
                const struct hls_word s = fma_word(k, delta[w], state[i][w]);
                state[i][w] = s;
                o[w] = fma_word(q, s, o[w]);
            }
        }
    }
}

/* delta = (value - u) beta, in the place of u. */
static void find_delta(const struct token_data *token, struct hls_word u[COLUMN_WORDS])
{
    HLS_NO_INLINE
scan_delta:
    for (uint32_t w = 0; w < COLUMN_WORDS; w++) {
        HLS_PIPELINE(1) /* nothing carried */
    scan_delta_lanes:
        for (uint32_t l = 0; l < HLS_LANES; l++) {
            HLS_UNROLL
            const float missing = card_float(token->value[w].lane[l]) - card_float(u[w].lane[l]);
            u[w].lane[l] = card_bits(missing * token->beta);
        }
    }
}

/* Words of floats with one NaN. */
static void finish_floats(struct hls_word *x, uint32_t words)
{
    HLS_NO_INLINE
scan_finish:
    for (uint32_t i = 0; i < words; i++) {
        HLS_TRIPS(1, 8)
        HLS_PIPELINE(1) /* nothing carried */
    scan_finish_lanes:
        for (uint32_t l = 0; l < HLS_LANES; l++) {
            HLS_UNROLL
            x[i].lane[l] = hls_result(card_float(x[i].lane[l]));
        }
    }
}

/* The state's columns on chip, or back. */
static void load_state(HLS_BANKS, const struct hls_step *step, card_addr at, uint32_t n,
                       struct hls_word state[CARD_MAX_HEAD_DIM][COLUMN_WORDS])
{
    HLS_NO_INLINE
scan_load:
    for (uint32_t i = 0; i < step->cols; i++) {
        HLS_TRIPS(64, 256)
        hls_load(HLS_BANK_ARGS, at + 4ull * i * step->param[1], n, state[i]);
    }
}
static void store_state(HLS_BANKS, const struct hls_step *step, card_addr at, uint32_t n,
                        struct hls_word state[CARD_MAX_HEAD_DIM][COLUMN_WORDS])
{
    HLS_NO_INLINE
scan_store:
    for (uint32_t i = 0; i < step->cols; i++) {
        HLS_TRIPS(64, 256)
        finish_floats(state[i], hls_words(n));
        hls_store(HLS_BANK_ARGS, at + 4ull * i * step->param[1], n, state[i]);
    }
}

static void clear_state(uint32_t rows, struct hls_word state[CARD_MAX_HEAD_DIM][COLUMN_WORDS])
{
    HLS_NO_INLINE
    const struct hls_word zero = {{0}};
scan_clear_rows:
    for (uint32_t i = 0; i < rows; i++) {
        HLS_TRIPS(64, 256)
    scan_clear_words:
        for (uint32_t w = 0; w < COLUMN_WORDS; w++) {
            HLS_PIPELINE(1) /* nothing carried */
            state[i][w] = zero;
        }
    }
}

/* Token t's vectors for one head and block of columns; the decay as its exponential. */
static void load_token_data(HLS_BANKS, const struct hls_step *step, const struct place *place, uint32_t t,
                            struct token_data *token)
{
    HLS_NO_INLINE
    const uint32_t rows = step->cols;
    const int each = (step->flags & CARD_FLAG_EACH) != 0;
    const uint64_t head = (uint64_t)t * step->rows + place->head;
    const uint64_t key = 4 * ((uint64_t)t * step->param[2] + place->key_head) * rows;
    hls_load(HLS_BANK_ARGS, step->weight + key, rows, token->key);
    hls_load(HLS_BANK_ARGS, step->src + key, rows, token->query);
    hls_load(HLS_BANK_ARGS, step->e_src + 4 * (head * step->param[1] + place->first), place->n, token->value);
    token->beta = card_float(hls_load_one(HLS_BANK_ARGS, step->e_aux + 4 * head));
    hls_load(HLS_BANK_ARGS, step->e_weight + 4 * head * (each ? rows : 1), each ? rows : 1, token->decay);
    const uint32_t shared = token->decay[0].lane[0];
scan_exps:
    for (uint32_t i = 0; i < hls_words(rows); i++) {
        HLS_TRIPS(4, 64)
        HLS_PIPELINE(1) /* nothing carried */
    scan_exp_lanes:
        for (uint32_t l = 0; l < HLS_LANES; l++) {
            HLS_UNROLL
            token->decay[i].lane[l] = card_bits(card_exp(card_float(each ? token->decay[i].lane[l] : shared)));
        }
    }
}

/* All tokens for one block of columns of one head. */
static void scan_columns(HLS_BANKS, const struct hls_step *step, const struct place *place)
{
    struct hls_word state[CARD_MAX_HEAD_DIM][COLUMN_WORDS];
    HLS_URAM(state)
    struct token_data data = {.beta = 0.0f};
    const uint32_t rows = step->cols, width = step->param[1], words = hls_words(place->n);
    card_addr held = 0;
scan_tokens:
    for (uint32_t t = 0; t < step->tokens; t++) {
        HLS_TRIPS(1, 4096)
        const struct card_batch_token token = hls_load_token(HLS_BANK_ARGS, step, t);
        const uint64_t head_state = (uint64_t)token.state * step->rows + place->head;
        const card_addr at = step->e_dst + 4 * (head_state * rows * width + place->first);
        const uint64_t out = ((uint64_t)t * step->rows + place->head) * width + place->first;
        struct hls_word u[COLUMN_WORDS] = {{{0}}}, o[COLUMN_WORDS] = {{{0}}};
        if (t > 0 && at != held) store_state(HLS_BANK_ARGS, step, held, place->n, state);
        if (token.position == 0)
            clear_state(rows, state);
        else if (t == 0 || at != held)
            load_state(HLS_BANK_ARGS, step, at, place->n, state);
        held = at;
        load_token_data(HLS_BANK_ARGS, step, place, t, &data);
        decay_state(state, &data, rows, words, u);
        find_delta(&data, u);
        update_state(state, &data, rows, words, u, o);
        finish_floats(o, words);
        hls_store(HLS_BANK_ARGS, step->dst + 4 * out, place->n, o);
    }
    store_state(HLS_BANK_ARGS, step, held, place->n, state);
}

void hls_scan(HLS_BANKS, const struct hls_step *step)
{
    const uint32_t width = step->param[1], key_heads = step->param[2];
    const int interleaved = (step->flags & CARD_FLAG_INTERLEAVED) != 0;
scan_heads:
    for (uint32_t h = 0; h < step->rows; h++) {
        HLS_TRIPS(1, 64)
    scan_blocks:
        for (uint32_t first = 0; first < width; first += COLUMNS) {
            HLS_TRIPS(1, 2)
            struct place place = {.head = h, .first = first, .n = hls_min(width - first, COLUMNS)};
            place.key_head = interleaved ? h % key_heads : h / (step->rows / key_heads);
            scan_columns(HLS_BANK_ARGS, step, &place);
        }
    }
}
