/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/division.h"

#include "host/base/memory.h"

#include <math.h>
#include <stdlib.h>

/* The best way to give the layers before one to the cards before one. */
struct best {
    double busiest, squares; /* seconds of the busiest card; sum over cards of seconds^2. INFINITY: there is none */
    uint32_t from;           /* where the last of these cards begins */
};

static double seconds_of(uint64_t read_bytes, uint64_t copied_bytes, const struct division_card *card)
{
    return (double)read_bytes / card->read_bytes_per_s + (double)copied_bytes / card->copied_bytes_per_s;
}

double division_seconds(const struct division_layer *layers, uint32_t first, uint32_t end,
                        const struct division_card *card)
{
    uint64_t read_bytes = 0, copied_bytes = 0;
    for (uint32_t i = first; i < end; i++) {
        read_bytes += layers[i].read_bytes;
        copied_bytes += layers[i].copied_bytes;
    }
    return seconds_of(read_bytes, copied_bytes, card);
}

static bool is_better(const struct best *a, const struct best *b)
{
    return a->busiest < b->busiest || (a->busiest <= b->busiest && a->squares < b->squares);
}

/* Layers before `end` on cards before and with `card`, from what is known of the cards before it. */
static struct best find_best(const struct division_layer *layers, const struct division_card *card,
                             const struct best *before, uint32_t end)
{
    struct best best = {INFINITY, INFINITY, 0};
    uint64_t bytes = 0, read_bytes = 0, copied_bytes = 0;
    for (uint32_t first = end; first-- > 0;) {
        const struct division_layer *layer = &layers[first];
        if (layer->bytes > UINT64_MAX - bytes) break;
        bytes += layer->bytes;
        if (bytes > card->bytes) break;
        read_bytes += layer->read_bytes;
        copied_bytes += layer->copied_bytes;
        if ((first > 0 && !layer->may_begin) || isinf(before[first].busiest)) continue;
        const double seconds = seconds_of(read_bytes, copied_bytes, card);
        const struct best found = {fmax(before[first].busiest, seconds), before[first].squares + seconds * seconds,
                                   first};
        if (is_better(&found, &best)) best = found;
    }
    return best;
}

int division_find(const struct division_layer *layers, uint32_t n_layers, const struct division_card *cards,
                  unsigned n_cards, uint32_t *ends, bool *fits, struct error *err)
{
    const size_t row = (size_t)n_layers + 1;
    struct best *best = memory_array((n_cards + 1) * row, sizeof *best);
    if (best == NULL) return error_set(err, ERROR_NO_MEMORY, "dividing layers: out of memory");
    for (uint32_t i = 0; i <= n_layers; i++) best[i] = (struct best){i == 0 ? 0 : INFINITY, 0, 0};
    for (unsigned c = 0; c < n_cards; c++) {
        struct division_card card = cards[c];
        card.bytes = card.bytes > card.fixed_bytes ? card.bytes - card.fixed_bytes : 0;
        for (uint32_t end = 0; end <= n_layers; end++)
            best[(c + 1) * row + end] = find_best(layers, &card, &best[c * row], end);
    }
    uint32_t end = n_layers;
    *fits = !isinf(best[n_cards * row + n_layers].busiest);
    for (unsigned c = n_cards; c-- > 0 && *fits; end = best[(c + 1) * row + end].from) ends[c] = end;
    free(best);
    return 0;
}
