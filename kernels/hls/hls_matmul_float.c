/* SPDX-License-Identifier: Apache-2.0 */
/* Matrices of plain floats (routers): 16 rows side by side, so that the lanes of one wait while the others work. */
#include "kernels/hls/hls_memory.h"
#include "kernels/hls/hls_operations.h"

#define ROWS 16u
#define PART_WORDS 32u
#define PART (PART_WORDS * HLS_LANES) /* columns of both that are on chip at a time */

struct sums {
    float lane[ROWS][HLS_TOKENS][HLS_LANES];
};

static void add_products(struct hls_word weight[ROWS][PART_WORDS], struct hls_word x[HLS_TOKENS][PART_WORDS],
                         uint32_t rows, uint32_t tokens, uint32_t n, struct sums *sums)
{
    const struct hls_word zero = {{0}};
    uint32_t i = 0, r = 0, t = 0;
float_products: /* words x ROWS x tokens, in one loop so that it never drains */
    for (uint32_t k = 0; k < hls_words(n) * ROWS * tokens; k++) {
        HLS_TRIPS(16, 4096)
        HLS_PIPELINE(1)
        HLS_DISTANCE(sums, 16) /* 16 rows, there or not, stand between two uses of a row's lanes; an fma takes 12 */
        const struct hls_word row = r < rows ? weight[r][i] : zero;
        hls_dot_word(row, x[t][i], r < rows ? hls_min(n - i * HLS_LANES, HLS_LANES) : 0, sums->lane[r][t]);
        const int last_t = t == tokens - 1, last_r = r == ROWS - 1;
        t = last_t ? 0 : t + 1;
        i = last_t && last_r ? i + 1 : i;
        r = !last_t ? r : last_r ? 0 : r + 1;
    }
}

/* Sums, bias and what was there: `rows` features from `first` on. */
static void store_sums(HLS_BANKS, const struct hls_step *step, const struct hls_rows *list, uint32_t first,
                       uint32_t rows, const struct sums *sums, const struct hls_matrix *matrix)
{
    struct hls_word out[1], bias[1], old[1];
    const int adds = (step->flags & CARD_FLAG_ADD) != 0;
    if (matrix->has_bias) hls_load(HLS_BANK_ARGS, matrix->bias + 4ull * first, rows, bias);
store_float_tokens:
    for (uint32_t t = 0; t < list->n; t++) {
        HLS_TRIPS(1, 8)
        const card_addr dst = step->dst + 4 * ((uint64_t)list->dst_row[t] * step->rows + first);
        if (adds) hls_load(HLS_BANK_ARGS, dst, rows, old);
    store_float_rows:
        for (uint32_t r = 0; r < rows; r++) {
            HLS_TRIPS(1, 16)
            HLS_PIPELINE(1) /* nothing carried */
            const float sum = hls_tree(sums->lane[r][t]);
            const float biased = matrix->has_bias ? sum + card_float(bias[0].lane[r]) : sum;
            out[0].lane[r] = hls_result(adds ? card_float(old[0].lane[r]) + biased : biased);
        }
        hls_store(HLS_BANK_ARGS, dst, rows, out);
    }
}

/* Where the 16 rows from `first` on lie: those of a dealt matrix are a tile. */
static card_addr rows_at(const struct hls_matrix *matrix, uint32_t cols, uint32_t first)
{
    const uint32_t bank = CARD_ADDR_BANK(matrix->at), tile = first / ROWS;
    const uint64_t bytes = card_tile_bytes(CARD_FORMAT_F32, cols);
    return CARD_ADDR(card_tile_bank(bank, tile, matrix->banks),
                     card_tile_offset(bank, CARD_ADDR_OFFSET(matrix->at), tile, matrix->banks, bytes));
}

void hls_matmul_float(HLS_BANKS, const struct hls_step *step, const struct hls_matrix *matrix,
                      const struct hls_rows *list)
{
    HLS_NO_INLINE
    struct hls_word weight[ROWS][PART_WORDS], x[HLS_TOKENS][PART_WORDS];
    HLS_WIDE(weight)
    HLS_WIDE(x)
    const uint32_t n = step->cols;
float_tiles:
    for (uint32_t first = 0; first < step->rows; first += ROWS) {
        HLS_TRIPS(1, 256)
        const uint32_t rows = hls_min(step->rows - first, ROWS);
        const card_addr at = rows_at(matrix, n, first);
        struct sums sums = {{{{0}}}};
        HLS_PARTITION(sums.lane, 3)
    float_parts:
        for (uint32_t from = 0; from < n; from += PART) {
            HLS_TRIPS(1, 16)
            const uint32_t part = hls_min(n - from, PART);
        load_float_rows:
            for (uint32_t r = 0; r < rows; r++) {
                HLS_TRIPS(1, 16)
                hls_load(HLS_BANK_ARGS, at + 4 * ((uint64_t)r * n + from), part, weight[r]);
            }
        load_float_tokens:
            for (uint32_t t = 0; t < list->n; t++) {
                HLS_TRIPS(1, 8)
                hls_load(HLS_BANK_ARGS, step->src + 4 * ((uint64_t)list->src_row[t] * n + from), part, x[t]);
            }
            add_products(weight, x, rows, list->n, part, &sums);
        }
        store_sums(HLS_BANK_ARGS, step, list, first, rows, &sums, matrix);
    }
}
