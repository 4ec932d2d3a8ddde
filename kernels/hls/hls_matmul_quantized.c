/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quantized matrices. Every port has a pipeline of its own, so that a matrix dealt over N banks is read from N ports and
 * multiplied N words a cycle: the tiles that lie in the port's bank, which are one stream there (card_layout.h). The
 * pipelines share nothing but the activations, of which each has a copy. A matrix that is not dealt keeps one busy.
 *
 * HLS_TILES tiles of 16 rows go through a pipeline together, HLS_PANEL_COLS columns at a time, in three processes joined
 * by FIFOs:
 *
 *   read_panel   blocks of the tiles from memory, each one burst; hands their words on step by step, tile by tile
 *   dot_panel    integer dot products of a step: 16 rows, one token a cycle
 *   scale_panel  acc = fma(scale, dot, acc), the contract's only rounding steps
 *
 * A step is what one scale covers: 32 columns, 16 with Q6_K. Side by side tiles are what makes the last process keep
 * up: its sums wait for an fma of 12 cycles, and come back only after the other tiles have had theirs.
 */
#include "kernels/hls/hls_memory.h"
#include "kernels/hls/hls_operations.h"

#define BLOCK_WORDS 53u /* of one tile, most: Q6_K */
#define BLOCK_STEPS 16u /* most: Q6_K */
#define PANEL_STEPS (HLS_PANEL_COLS / 16)
#define PANEL_WORDS (HLS_TILES * (HLS_PANEL_COLS / 64) * 18u) /* most: INT8_MIN; each block's steps fit beside it */
#define VALUE_WORDS (HLS_PANEL_COLS / CARD_WORD_BYTES)
#define SCALE_WORDS (HLS_PANEL_GROUPS / HLS_LANES)
#define RUN_TILES (HLS_TILES * HLS_MAX_PORTS)

/* How a format's block is cut. Words of a step: `extra` (0 or 1) of high bits, then `words` of 4-bit or 8-bit values. */
struct format_shape {
    uint32_t cols, block_words, header, groups; /* header: words of scales before the values; groups of 32 */
    uint32_t parts, words, extra, extra_at;     /* parts: steps of a group; extra_at: first word of high bits */
    uint32_t is_4bit, has_minimum, is_e2m1;
    int32_t offset; /* what is taken off a stored value */
};

/* The scales of one step of one tile, and the dot products of 16 rows with one token. */
struct step_scales {
    float scale[CARD_TILE_ROWS], minimum[CARD_TILE_ROWS];
};
struct step_dot {
    int32_t row[CARD_TILE_ROWS];
};

/* Activations of a panel: 8-bit values, scales and sums of the groups, as they lie in memory. */
struct panel_act {
    struct hls_word value[HLS_TOKENS][VALUE_WORDS];
    struct hls_word scale[HLS_TOKENS][SCALE_WORDS], sum[HLS_TOKENS][SCALE_WORDS];
};

/* The tiles of a matrix that lie in one bank, one after the other from word `first` of its port on. */
struct stripe {
    uint64_t first;
    uint32_t tiles;
};

/* One panel of a run of tiles: blocks [first, first + blocks) of n tiles of a stripe, from its tile `tile` on. */
struct panel {
    uint32_t tile, n, first, blocks, groups, tokens; /* groups: of the panel that are multiplied */
    uint32_t row_blocks;                             /* of a tile */
};

static struct format_shape shape_of(uint32_t format)
{
    HLS_INLINE
    struct format_shape s = {.cols = 64, .header = 1, .groups = 2, .parts = 1, .words = 4, .is_4bit = 1};
    switch (format) {
    case CARD_FORMAT_INT4: s.offset = 8; break;
    case CARD_FORMAT_INT4_MIN: s.header = 2; break;
    case CARD_FORMAT_INT8: s.words = 8; break;
    case CARD_FORMAT_INT8_MIN:
        s.header = 2;
        s.words = 8;
        break;
    case CARD_FORMAT_Q6_K:
        s.parts = 2;
        s.words = 2;
        s.extra = 1;
        s.offset = 32;
        break;
    case CARD_FORMAT_MXFP4:
        s.cols = 128;
        s.groups = 4;
        s.is_e2m1 = 1;
        break;
    default: s.extra = format == CARD_FORMAT_Q5_K; break;
    }
    if (format == CARD_FORMAT_Q4_K || format == CARD_FORMAT_Q5_K || format == CARD_FORMAT_Q6_K) {
        s.cols = 256;
        s.header = 5;
        s.groups = 8;
        s.extra_at = 37;
    }
    s.is_4bit = s.words != 8;
    s.has_minimum = format == CARD_FORMAT_INT4_MIN || format == CARD_FORMAT_INT8_MIN || format == CARD_FORMAT_Q4_K ||
                    format == CARD_FORMAT_Q5_K;
    s.block_words = card_block_bytes(format) / CARD_WORD_BYTES;
    return s;
}

/* Steps of block b of a panel: its last block may have groups that are padding only. */
static uint32_t steps_of(const struct format_shape *s, const struct panel *panel, uint32_t b)
{
    HLS_INLINE
    return hls_min(panel->groups - b * s->groups, s->groups) * s->parts;
}

/* ---- from memory to the order of work ---- */

static void fetch_block(const struct hls_word *port, const struct format_shape *s, uint64_t stripe,
                        const struct panel *panel, uint32_t b, struct hls_word block[HLS_TILES][BLOCK_WORDS])
{
fetch_tiles:
    for (uint32_t i = 0; i < panel->n; i++) {
        HLS_TRIPS(1, 8)
        const uint64_t number = (uint64_t)(panel->tile + i) * panel->row_blocks + panel->first + b;
        hls_load_words(port, stripe + number * s->block_words, s->block_words, block[i]);
    }
}

/* Headers of all tiles, then for each step the words of each tile, to FIFO places from `at` on. */
static void emit_block(const struct format_shape *s, uint32_t tiles, uint32_t steps,
                       struct hls_word block[HLS_TILES][BLOCK_WORDS], uint32_t at, struct hls_word words[PANEL_WORDS])
{
    const uint32_t headers = tiles * s->header, step_words = s->extra + s->words;
    uint32_t step = 0, i = 0, w = 0;
emit_words:
    for (uint32_t k = 0; k < headers + steps * tiles * step_words; k++) {
        HLS_TRIPS(9, 424)
        HLS_PIPELINE(1) /* carried: counters, one cycle */
        const int in_header = k < headers;
        const uint32_t high = s->extra_at + step;
        const uint32_t low = s->header + step * s->words + w - s->extra;
        words[at + k] = block[i][in_header ? w : w < s->extra ? high : low];
        const int last_w = w == (in_header ? s->header : step_words) - 1, last_i = i == tiles - 1;
        w = last_w ? 0 : w + 1;
        step = last_w && last_i && !in_header ? step + 1 : step;
        i = !last_w ? i : last_i ? 0 : i + 1;
    }
}

static void read_panel(const struct hls_word *port, const struct format_shape *s, uint64_t stripe,
                       const struct panel *panel, struct hls_word words[PANEL_WORDS])
{
    HLS_NO_INLINE
    const uint32_t emitted = panel->n * (s->header + s->groups * s->parts * (s->extra + s->words)); /* a whole block */
read_blocks:
    for (uint32_t b = 0; b < panel->blocks; b++) {
        HLS_TRIPS(1, 32)
        HLS_DATAFLOW /* the next block is fetched while this one is handed on: `block` is two buffers */
        struct hls_word block[HLS_TILES][BLOCK_WORDS];
        fetch_block(port, s, stripe, panel, b, block);
        emit_block(s, panel->n, steps_of(s, panel, b), block, b * emitted, words);
    }
}

/* ---- integer dot products ---- */

/* Byte number i of the header words. */
static uint32_t header_byte(const struct hls_word *header, uint32_t i)
{
    HLS_INLINE
    return header[i / CARD_WORD_BYTES].lane[i / 4 % HLS_LANES] >> (8 * (i % 4)) & 0xffu;
}

/* Scale and minimum of row r of a step: kernels/abi/card_layout.h says where they lie. */
static void row_scales(uint32_t format, const struct format_shape *s, const struct hls_word *header, uint32_t step,
                       uint32_t r, float *scale, float *minimum)
{
    HLS_INLINE
    if (s->is_e2m1) {
        /* 2^(exponent - 128): a float's exponent is that plus 127. */
        const uint32_t exponent = header_byte(header, CARD_TILE_ROWS * step + r);
        *scale = card_float(exponent < CARD_MXFP4_LEAST ? 0u : (exponent - 1u) << 23);
        *minimum = 0.0f;
        return;
    }
    if (s->cols == 64) {
        *scale = hls_half(header[0], CARD_TILE_ROWS * step + r);
        *minimum = s->has_minimum ? hls_half(header[1], CARD_TILE_ROWS * step + r) : 0.0f;
        return;
    }
    const float d = hls_half(header[0], r), dmin = hls_half(header[0], CARD_TILE_ROWS + r);
    const uint32_t byte = header_byte(header, 64 + CARD_TILE_ROWS * step + r);
    const int32_t factor = format == CARD_FORMAT_Q6_K ? hls_int8(byte, 0) : (int32_t)byte;
    *scale = d * (float)factor;
    *minimum = 0.0f;
    if (s->has_minimum) *minimum = -(dmin * (float)header_byte(header, 192 + CARD_TILE_ROWS * step + r));
}

/* Twice the value of an FP4 E2M1 code: sign, two bits of exponent, one of fraction. As CARD_MXFP4_VALUE. */
static int32_t e2m1_value(uint32_t code)
{
    HLS_INLINE
    const uint32_t exponent = code >> 1 & 3u, fraction = code & 1u;
    const int32_t magnitude = (int32_t)(exponent == 0 ? fraction : (2u | fraction) << (exponent - 1u));
    return (code & 8u) != 0 ? -magnitude : magnitude;
}

/* Weight of row r and column c (0..7, or 0..3 of 8-bit values) of word w of a step. */
static int32_t weight_at(const struct format_shape *s, struct hls_word word, struct hls_word extra, uint32_t w,
                         uint32_t r, uint32_t c)
{
    HLS_INLINE
    if (!s->is_4bit) return c < 4 ? hls_int8(word.lane[r], c) : 0;
    const uint32_t low = word.lane[r] >> (8 * (c % 4) + 4 * (c / 4)) & 15u, four = 2 * w + c / 4;
    if (s->is_e2m1) return e2m1_value(low);
    const uint32_t byte = extra.lane[r] >> (8 * (c % 4)); /* high bits of the step's columns c % 4, c % 4 + 4, ... */
    uint32_t high = 0;
    if (s->extra == 1) high = s->parts == 1 ? byte >> four & 1u : byte >> (2 * four) & 3u; /* Q5_K, Q6_K */
    return (int32_t)(high << 4 | low) - s->offset;
}

/* Activations of the columns of word w of a step: 8 of them, or 4 and zeros. */
static void word_activations(const struct format_shape *s, const struct hls_word *value, uint32_t group, uint32_t part,
                             uint32_t w, int32_t x[8])
{
    HLS_INLINE
    const uint32_t byte = CARD_GROUP_COLS * group + (s->is_4bit ? 16 * part + 8 * w : 4 * w);
    const struct hls_word word = value[byte / CARD_WORD_BYTES];
    const uint32_t lane = byte / 4 % HLS_LANES;
word_values:
    for (uint32_t c = 0; c < 8; c++) {
        HLS_UNROLL
        const uint32_t bits = word.lane[(lane + c / 4) % HLS_LANES];
        x[c] = c < 4 || s->is_4bit ? hls_int8(bits, c % 4) : 0;
    }
}

/*
 * Two rows in one DSP48E2: its 27-bit input takes a + 2^18 b, its 18-bit input x, and the products a x and b x add up
 * in the low 18 and the high bits of one 48-bit sum. 8 columns of |a x| <= 128 x 127 keep the low sum within 17 bits and
 * a sign (8-bit weights come 4 columns a word: 65024; 6-bit ones 8: 32512), so it comes back by sign extension, and the
 * high sum by taking the low one off: what a negative low sum borrowed returns.
 */
static void dot_pair(const int32_t a[8], const int32_t b[8], const int32_t x[8], int32_t *dot_a, int32_t *dot_b)
{
    HLS_INLINE
    int64_t sum = 0;
dsp_cascade:
    for (uint32_t c = 0; c < 8; c++) {
        HLS_UNROLL
        const int32_t packed = b[c] * (1 << 18) + a[c];
        sum += (int64_t)packed * x[c];
    }
    const int32_t low = (int32_t)(((uint64_t)sum & 0x3ffffu) ^ 0x20000u) - 0x20000;
    *dot_a += low;
    *dot_b += (int32_t)((sum - low) / (1 << 18)); /* exact: a shift */
}

/* One word against one token: 64 DSP48E2 for 128 products. */
static struct step_dot dot_word(const struct format_shape *s, struct hls_word word, struct hls_word extra, uint32_t w,
                                const int32_t x[8], struct step_dot dot)
{
    HLS_INLINE
dot_rows:
    for (uint32_t r = 0; r < CARD_TILE_ROWS / 2; r++) {
        HLS_UNROLL
        int32_t a[8], b[8];
    dot_columns:
        for (uint32_t c = 0; c < 8; c++) {
            HLS_UNROLL
            a[c] = weight_at(s, word, extra, w, r, c);
            b[c] = weight_at(s, word, extra, w, r + 8, c);
        }
        dot_pair(a, b, x, &dot.row[r], &dot.row[r + 8]);
    }
    return dot;
}

/* Where the flat loop of a block stands: token, word and tile of a step. */
struct cursor {
    uint32_t t, w, i, step;
};

static struct cursor next_place(struct cursor c, uint32_t tokens, uint32_t words, uint32_t tiles)
{
    HLS_INLINE
    const int last_t = c.t == tokens - 1, last_w = c.w == words - 1, last_i = c.i == tiles - 1;
    struct cursor next = c;
    next.t = last_t ? 0 : c.t + 1;
    if (last_t) next.w = last_w ? 0 : c.w + 1;
    if (last_t && last_w) next.i = last_i ? 0 : c.i + 1;
    if (last_t && last_w && last_i) next.step = c.step + 1;
    return next;
}

/* FIFO places that the processes have come to: words read, scales and dots written. */
struct places {
    uint32_t word, scale, dot;
};

/*
 * The steps of one block of all tiles: each word meets every token, one a cycle. first_group: of the block, in the
 * panel.
 */
static struct places dot_block(uint32_t format, const struct format_shape *s, const struct panel *panel, uint32_t steps,
                               uint32_t first_group, struct hls_word header[HLS_TILES][5],
                               struct hls_word value[HLS_TOKENS][VALUE_WORDS], const struct hls_word words[PANEL_WORDS],
                               struct places at, struct step_scales scales[PANEL_STEPS * HLS_TILES],
                               struct step_dot dots[PANEL_STEPS * HLS_TILES * HLS_TOKENS])
{
    HLS_INLINE
    const struct step_dot none = {{0}};
    const uint32_t step_words = s->extra + s->words, tokens = panel->tokens;
    struct step_dot sum[HLS_TOKENS];
    struct hls_word extra = {{0}}, word = {{0}};
    struct cursor c = {0, 0, 0, 0};
    HLS_PARTITION(sum, 0)
dot_words: /* steps x tiles x words x tokens, in one loop so that it never drains */
    for (uint32_t k = 0; k < steps * panel->n * step_words * tokens; k++) {
        HLS_TRIPS(8, 4096)
        HLS_PIPELINE(1) /* carried: a token's integer sums, one addition of one cycle, distance `tokens` >= 1 */
        if (c.t == 0) word = words[at.word++];
        if (c.t == 0 && c.w == 0) {
            struct step_scales of;
        dot_scales:
            for (uint32_t r = 0; r < CARD_TILE_ROWS; r++) {
                HLS_UNROLL
                row_scales(format, s, header[c.i], c.step, r, &of.scale[r], &of.minimum[r]);
            }
            scales[at.scale++] = of;
        }
        if (c.w < s->extra) {
            extra = word;
        } else {
            int32_t x[8];
            const uint32_t w = c.w - s->extra, part = c.step % s->parts;
            word_activations(s, value[c.t], first_group + c.step / s->parts, part, w, x);
            sum[c.t] = dot_word(s, word, extra, w, x, w == 0 ? none : sum[c.t]);
        }
        if (c.w == step_words - 1) dots[at.dot++] = sum[c.t];
        c = next_place(c, tokens, step_words, panel->n);
    }
    return at;
}

static void dot_panel(uint32_t format, const struct format_shape *s, const struct panel *panel,
                      struct hls_word value[HLS_TOKENS][VALUE_WORDS], const struct hls_word words[PANEL_WORDS],
                      struct step_scales scales[PANEL_STEPS * HLS_TILES],
                      struct step_dot dots[PANEL_STEPS * HLS_TILES * HLS_TOKENS])
{
    HLS_NO_INLINE
    struct hls_word header[HLS_TILES][5];
    HLS_PARTITION(header, 2)
    struct places at = {0, 0, 0};
dot_blocks:
    for (uint32_t b = 0; b < panel->blocks; b++) {
        HLS_TRIPS(1, 32)
    dot_headers:
        for (uint32_t i = 0; i < panel->n * s->header; i++) {
            HLS_TRIPS(1, 40)
            HLS_PIPELINE(1) /* nothing carried */
            header[i / s->header][i % s->header] = words[at.word++];
        }
        at = dot_block(format, s, panel, steps_of(s, panel, b), b * s->groups, header, value, words, at, scales, dots);
    }
}

/* ---- the rounding steps ---- */

static void scale_panel(const struct format_shape *s, const struct panel *panel,
                        struct hls_word act_scale[HLS_TOKENS][SCALE_WORDS],
                        struct hls_word act_sum[HLS_TOKENS][SCALE_WORDS],
                        const struct step_scales scales[PANEL_STEPS * HLS_TILES],
                        const struct step_dot dots[PANEL_STEPS * HLS_TILES * HLS_TOKENS],
                        float acc[HLS_TILES][HLS_TOKENS][CARD_TILE_ROWS])
{
    HLS_NO_INLINE
    struct step_scales of = {{0}, {0}};
    struct cursor c = {0, 0, 0, 0};
    uint32_t at = 0, entry = 0;
    const uint32_t steps = panel->n == 0 ? 0 : panel->groups * s->parts;
scale_sums: /* steps x HLS_TILES x tokens, in one loop so that it never drains */
    for (uint32_t k = 0; k < steps * HLS_TILES * panel->tokens; k++) {
        HLS_TRIPS(16, 8192)
        HLS_PIPELINE(3)
        /* All 8 tiles, there or not, stand between two uses of a sum. Its chain is two fmas, 24 cycles: 24 / 8 = 3, and
         * dot_block takes 3 to 8 cycles for what is one iteration here. */
        HLS_DISTANCE(acc, 8)
        if (c.i < panel->n) {
            const uint32_t group = c.step / s->parts;
            if (c.t == 0) of = scales[entry++];
            const float by = card_float(act_scale[c.t][group / HLS_LANES].lane[group % HLS_LANES]);
            const int32_t sum = (int32_t)act_sum[c.t][group / HLS_LANES].lane[group % HLS_LANES];
            const struct step_dot dot = dots[at++];
        scale_rows:
            for (uint32_t r = 0; r < CARD_TILE_ROWS; r++) {
                HLS_UNROLL
                const float first = card_fma(of.scale[r] * by, (float)dot.row[r], acc[c.i][c.t][r]);
                const float second = card_fma(of.minimum[r] * by, (float)sum, first);
                acc[c.i][c.t][r] = s->has_minimum ? second : first;
            }
        }
        c = next_place(c, panel->tokens, 1, HLS_TILES);
    }
}

/* ---- one run of tiles ---- */

static void run_port(const struct hls_word *port, uint32_t format, const struct format_shape *s, uint64_t stripe,
                     const struct panel *panel, struct panel_act *act, float acc[HLS_TILES][HLS_TOKENS][CARD_TILE_ROWS])
{
    HLS_NO_INLINE
    HLS_DATAFLOW
    struct hls_word words[PANEL_WORDS];
    struct step_scales scales[PANEL_STEPS * HLS_TILES];
    struct step_dot dots[PANEL_STEPS * HLS_TILES * HLS_TOKENS];
    HLS_FIFO(words, 64)
    HLS_FIFO(scales, 16)
    HLS_FIFO(dots, 64)
    read_panel(port, s, stripe, panel, words);
    dot_panel(format, s, panel, act->value, words, scales, dots);
    scale_panel(s, panel, act->scale, act->sum, scales, dots, acc);
}

/* What each port has of its own: a part of the matrix and of a run of tiles, the activations, sums. */
struct ports {
    struct stripe stripe[HLS_MAX_PORTS];
    struct panel panel[HLS_MAX_PORTS];
    struct panel_act act[HLS_MAX_PORTS][HLS_PANELS];
    float acc[HLS_MAX_PORTS][HLS_TILES][HLS_TOKENS][CARD_TILE_ROWS];
};

/* All ports at once: no process reads what another one writes. place: the panel's in `act`. */
static void run_ports(HLS_BANKS, uint32_t format, const struct format_shape *s, uint32_t place, struct ports *ports)
{
    HLS_NO_INLINE
    HLS_DATAFLOW
    run_port(bank0, format, s, ports->stripe[0].first, &ports->panel[0], &ports->act[0][place], ports->acc[0]);
    run_port(bank1, format, s, ports->stripe[1].first, &ports->panel[1], &ports->act[1][place], ports->acc[1]);
    run_port(bank2, format, s, ports->stripe[2].first, &ports->panel[2], &ports->act[2][place], ports->acc[2]);
    run_port(bank3, format, s, ports->stripe[3].first, &ports->panel[3], &ports->act[3][place], ports->acc[3]);
}

/* The tiles of the matrix in the bank of `port`. */
static struct stripe stripe_of(const struct hls_matrix *matrix, uint32_t port, uint32_t tiles, uint64_t tile_bytes)
{
    const uint32_t bank = CARD_ADDR_BANK(matrix->at), dealt = matrix->banks > 1, banks = dealt ? matrix->banks : 1;
    const uint32_t part = card_first_bank(bank, banks), in = port - part;
    const int is_in = dealt ? port >= part && in < banks : port == bank;
    const uint32_t least = !dealt || !is_in ? 0 : port >= bank ? port - bank : port + banks - bank; /* its first tile */
    const int has = is_in && least < tiles;
    const uint64_t offset = card_tile_offset(bank, CARD_ADDR_OFFSET(matrix->at), least, matrix->banks, tile_bytes);
    const struct stripe stripe = {.first = offset / CARD_WORD_BYTES,
                                  .tiles = has ? (tiles - least - 1) / banks + 1 : 0};
    return stripe;
}

/* Activations of `groups` groups from group `first` on, a copy for each port. */
static void load_act(HLS_BANKS, const struct hls_step *step, const struct hls_rows *rows, uint32_t first,
                     uint32_t groups, uint32_t place, struct ports *ports)
{
    struct hls_word value[VALUE_WORDS] = {{{0}}}, scale[SCALE_WORDS] = {{{0}}}, sum[SCALE_WORDS] = {{{0}}};
    const uint64_t row_groups = card_act_groups(step->cols);
    const card_addr scales = step->src + card_act_scale_offset(rows->src_rows, step->cols);
    const card_addr sums = step->src + card_act_sum_offset(rows->src_rows, step->cols);
load_act_rows:
    for (uint32_t t = 0; t < rows->n; t++) {
        HLS_TRIPS(1, 8)
        const uint64_t at = rows->src_row[t] * row_groups + first;
        hls_load(HLS_BANK_ARGS, step->src + CARD_GROUP_COLS * at, 8 * groups, value);
        hls_load(HLS_BANK_ARGS, scales + 4 * at, groups, scale);
        hls_load(HLS_BANK_ARGS, sums + 4 * at, groups, sum);
    copy_act:
        for (uint32_t i = 0; i < hls_words(8 * groups); i++) {
            HLS_TRIPS(1, 32)
            HLS_PIPELINE(1) /* nothing carried; the copies are memories of their own */
        copy_ports:
            for (uint32_t p = 0; p < HLS_MAX_PORTS; p++) {
                HLS_UNROLL
                ports->act[p][place].value[t][i] = value[i];
                ports->act[p][place].scale[t][i % SCALE_WORDS] = scale[i % SCALE_WORDS];
                ports->act[p][place].sum[t][i % SCALE_WORDS] = sum[i % SCALE_WORDS];
            }
        }
    }
}

/* Sums, bias and what was there, to the rows of dst: features of the run's tiles, which lie side by side. */
static void store_tiles(HLS_BANKS, const struct hls_step *step, const struct hls_matrix *matrix,
                        const struct hls_rows *rows, uint32_t first, const struct ports *ports)
{
    struct hls_word out[RUN_TILES], bias[RUN_TILES], old[RUN_TILES];
    const int adds = (step->flags & CARD_FLAG_ADD) != 0;
    const uint32_t banks = matrix->banks > 1 ? matrix->banks : 1, bank = CARD_ADDR_BANK(matrix->at);
    const uint32_t part = card_first_bank(bank, banks), last = part + banks - 1;
    const uint32_t n = hls_min(step->rows - first, banks * HLS_TILES * CARD_TILE_ROWS);
    if (matrix->has_bias) hls_load(HLS_BANK_ARGS, matrix->bias + 4ull * first, n, bias);
store_tokens:
    for (uint32_t t = 0; t < rows->n; t++) {
        HLS_TRIPS(1, 8)
        const card_addr dst = step->dst + 4 * ((uint64_t)rows->dst_row[t] * step->rows + first);
        uint32_t port = bank, dealt = 0, tile = 0; /* of the run's tile i: dealt `dealt`th in round `tile` */
        if (adds) hls_load(HLS_BANK_ARGS, dst, n, old);
    store_each:
        for (uint32_t i = 0; i < hls_words(n); i++) {
            HLS_TRIPS(1, 32)
            HLS_PIPELINE(1) /* carried: counters, one cycle */
        store_rows:
            for (uint32_t r = 0; r < CARD_TILE_ROWS; r++) {
                HLS_UNROLL
                const float sum = ports->acc[port][tile][t][r];
                const float biased = matrix->has_bias ? sum + card_float(bias[i].lane[r]) : sum;
                out[i].lane[r] = hls_result(adds ? card_float(old[i].lane[r]) + biased : biased);
            }
            tile = dealt == banks - 1 ? tile + 1 : tile;
            dealt = dealt == banks - 1 ? 0 : dealt + 1;
            port = banks == 1 ? bank : port == last ? part : port + 1;
        }
        hls_store(HLS_BANK_ARGS, dst, n, out);
    }
}

/* Panel p of the run that starts at tile `tile` of every stripe. */
static void set_panels(const struct format_shape *s, uint32_t cols, uint32_t tokens, uint32_t tile, uint32_t p,
                       struct ports *ports)
{
    const uint32_t row_groups = (uint32_t)card_act_groups(cols), row_blocks = (cols + s->cols - 1) / s->cols;
    const uint32_t panel_blocks = HLS_PANEL_COLS / s->cols;
panel_ports:
    for (uint32_t port = 0; port < HLS_MAX_PORTS; port++) {
        HLS_UNROLL
        const uint32_t tiles = ports->stripe[port].tiles;
        const struct panel panel = {
            .tile = tile,
            .n = tile < tiles ? hls_min(tiles - tile, HLS_TILES) : 0,
            .first = p * panel_blocks,
            .blocks = hls_min(row_blocks - p * panel_blocks, panel_blocks),
            .groups = hls_min(row_groups - p * HLS_PANEL_GROUPS, HLS_PANEL_GROUPS),
            .tokens = tokens,
            .row_blocks = row_blocks,
        };
        ports->panel[port] = panel;
    }
}

static void clear_sums(struct ports *ports)
{
clear_tiles:
    for (uint32_t i = 0; i < HLS_TILES * HLS_TOKENS; i++) {
        HLS_TRIPS(64, 64)
        HLS_PIPELINE(1) /* nothing carried */
    clear_ports:
        for (uint32_t port = 0; port < HLS_MAX_PORTS; port++) {
            HLS_UNROLL
        clear_rows:
            for (uint32_t r = 0; r < CARD_TILE_ROWS; r++) {
                HLS_UNROLL
                ports->acc[port][i / HLS_TOKENS][i % HLS_TOKENS][r] = 0.0f;
            }
        }
    }
}

void hls_matmul_quantized(HLS_BANKS, const struct hls_step *step, const struct hls_matrix *matrix,
                          const struct hls_rows *rows)
{
    HLS_NO_INLINE
    struct ports ports;
    HLS_PARTITION(ports.stripe, 1)
    HLS_PARTITION(ports.panel, 1)
    HLS_PARTITION(ports.act, 1)
    HLS_PARTITION(ports.acc, 1)
    HLS_PARTITION(ports.acc, 4)
    const struct format_shape s = shape_of(step->format);
    const uint32_t panels = (step->cols + HLS_PANEL_COLS - 1) / HLS_PANEL_COLS;
    const uint32_t tiles = (step->rows + CARD_TILE_ROWS - 1) / CARD_TILE_ROWS;
    const uint32_t banks = matrix->banks > 1 ? matrix->banks : 1;
matrix_ports:
    for (uint32_t port = 0; port < HLS_MAX_PORTS; port++) {
        ports.stripe[port] = stripe_of(matrix, port, tiles, card_tile_bytes(step->format, step->cols));
    }
/* A run is HLS_TILES tiles of each stripe: together neighbours in the matrix, and their features in dst. */
matrix_tiles:
    for (uint32_t tile = 0; tile * banks < tiles; tile += HLS_TILES) {
        HLS_TRIPS(1, 1024)
        clear_sums(&ports);
    matrix_panels:
        for (uint32_t p = 0; p < panels; p++) {
            HLS_TRIPS(1, 16)
            const uint32_t place = panels > HLS_PANELS ? 0 : p;
            set_panels(&s, step->cols, rows->n, tile, p, &ports);
            if (tile == 0 || panels > HLS_PANELS) {
                load_act(HLS_BANK_ARGS, step, rows, p * HLS_PANEL_GROUPS, ports.panel[0].groups, place, &ports);
            }
            run_ports(HLS_BANK_ARGS, step->format, &s, place, &ports);
        }
        store_tiles(HLS_BANK_ARGS, step, matrix, rows, tile * banks * CARD_TILE_ROWS, &ports);
    }
}
