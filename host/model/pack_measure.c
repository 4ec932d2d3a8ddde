/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/pack_measure.h"

#include "host/base/memory.h"
#include "host/model/pack.h"

#include <math.h>
#include <stdlib.h>

#define MOST_PIECES 16u

void pack_measure(const struct gguf_tensor *tensor, struct pack_measure *out)
{
    *out = (struct pack_measure){0};
    uint64_t cols = tensor->dimension[0];
    if (tensor->n_dimensions < 2 || (tensor->data == NULL && tensor->rows == NULL) || tensor->n_elements == 0 ||
        cols > UINT32_MAX)
        return;
    uint64_t rows = tensor->n_elements / cols;
    unsigned format = pack_format(tensor->type, UINT32_MAX & ~(1u << CARD_FORMAT_F32));
    if (format == 0 || rows > UINT32_MAX - CARD_TILE_ROWS) return;
    if (!pack_rounds(tensor->type, format)) {
        *out = (struct pack_measure){.format = format};
        return;
    }
    struct pack_source source = pack_source_of(tensor, (uint32_t)rows, (uint32_t)cols, 0, 1);
    struct pack_result result = {0};
    uint8_t *tile = memory_array((size_t)card_tile_bytes(format, source.cols), 1);
    if (tile == NULL) return;
    uint32_t n_pieces = pack_n_pieces(source.rows), n = n_pieces < MOST_PIECES ? n_pieces : MOST_PIECES;
    for (uint32_t i = 0; i < n; i++)
        pack_pieces(&source, format, (uint32_t)((uint64_t)n_pieces * i / n), 1, tile, &result);
    free(tile);
    out->format = format;
    out->rows = n < n_pieces ? n * CARD_TILE_ROWS : source.rows;
    out->relative_error = result.value_squares > 0 ? sqrt(result.error_squares / result.value_squares) : 0;
}
