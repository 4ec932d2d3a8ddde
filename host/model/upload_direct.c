/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/upload_direct.h"

#include "host/base/memory.h"
#include "host/model/model_internal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* Of card memory. A huge page or more: threads that touch one for the first time together would both zero one. */
#define UNIT_BYTES (2u << 20)

struct order {
    struct pack_source source;
    struct upload_target target;
    uint64_t tile_bytes, source_bytes;
    struct pack_result *result;
};

/* Pieces [first, first + n) of a matrix: what one thread packs before it looks for more. */
struct unit {
    size_t order;
    uint32_t first, n;
    atomic_bool complete;
    struct pack_result result;
};

struct upload_direct {
    struct order *orders; /* owned */
    struct unit *units;   /* owned; in the order in which they are taken */
    size_t n_orders, order_room, n_units, unit_room;
    atomic_size_t next;
    const struct upload *upload;
};

static card_addr piece_address(const struct upload_target *target, uint64_t tile_bytes, uint32_t piece)
{
    unsigned bank = CARD_ADDR_BANK(target->address);
    return CARD_ADDR(card_tile_bank(bank, piece, target->banks),
                     card_tile_offset(bank, CARD_ADDR_OFFSET(target->address), piece, target->banks, tile_bytes));
}

bool upload_direct_reaches(const struct upload *upload, const struct pack_source *source,
                           const struct upload_target *target)
{
    uint32_t n_pieces = pack_n_pieces(source->rows);
    uint64_t tile_bytes = card_tile_bytes(target->format, source->cols);
    if (upload->card == NULL || target->address == 0) return false;
    if (target->banks <= 1)
        return card_window(upload->card, target->address,
                           pack_bytes_before(target->format, source->rows, source->cols, n_pieces)) != NULL;
    for (uint32_t turn = 0; turn < target->banks && turn < n_pieces; turn++) {
        uint64_t n = (n_pieces - turn + (uint64_t)target->banks - 1) / target->banks;
        if (card_window(upload->card, piece_address(target, tile_bytes, turn), n * tile_bytes) == NULL) return false;
    }
    return true;
}

/* Room for one more of `bytes` each in an array of *room. NULL: no memory, and the array is as it was. */
static void *grown(void *array, size_t n, size_t *room, size_t bytes)
{
    if (n < *room) return array;
    size_t more = *room > 0 ? 2 * *room : 64;
    void *larger = memory_grow(array, more, bytes);
    if (larger != NULL) *room = more;
    return larger;
}

static int add_units(struct upload_direct *direct, size_t order, struct error *err)
{
    const struct order *matrix = &direct->orders[order];
    uint32_t n_pieces = pack_n_pieces(matrix->source.rows);
    uint64_t fits = matrix->tile_bytes < UNIT_BYTES ? UNIT_BYTES / matrix->tile_bytes : 1;
    for (uint32_t first = 0; first < n_pieces;) {
        uint32_t n = n_pieces - first < fits ? n_pieces - first : (uint32_t)fits;
        struct unit *units = grown(direct->units, direct->n_units, &direct->unit_room, sizeof *units);
        if (units == NULL) return error_set(err, ERROR_NO_MEMORY, "loading: out of memory");
        direct->units = units;
        units[direct->n_units++] = (struct unit){.order = order, .first = first, .n = n};
        first += n;
    }
    return 0;
}

int upload_direct_add(struct upload *upload, const struct pack_source *source, const struct upload_target *target,
                      uint64_t source_bytes, struct pack_result *result, struct error *err)
{
    if (upload->direct == NULL) upload->direct = memory_array(1, sizeof *upload->direct);
    struct upload_direct *direct = upload->direct;
    struct order *orders =
        direct != NULL ? grown(direct->orders, direct->n_orders, &direct->order_room, sizeof *orders) : NULL;
    if (orders == NULL) return error_set(err, ERROR_NO_MEMORY, "loading: out of memory");
    direct->orders = orders;
    direct->upload = upload;
    orders[direct->n_orders] =
        (struct order){*source, *target, card_tile_bytes(target->format, source->cols), source_bytes, result};
    return add_units(direct, direct->n_orders++, err);
}

void upload_direct_close(struct upload *upload)
{
    if (upload->direct == NULL) return;
    free(upload->direct->orders);
    free(upload->direct->units);
    free(upload->direct);
    upload->direct = NULL;
}

static void pack_unit(const struct upload *upload, const struct order *order, struct unit *unit)
{
    const struct pack_source *source = &order->source;
    for (uint32_t piece = unit->first; piece < unit->first + unit->n; piece++) {
        uint64_t bytes = pack_bytes_before(order->target.format, source->rows, source->cols, piece + 1) -
                         pack_bytes_before(order->target.format, source->rows, source->cols, piece);
        uint64_t room = order->target.banks > 1 ? order->tile_bytes : bytes; /* dealt tiles are whole ones */
        uint8_t *out = card_window(upload->card, piece_address(&order->target, order->tile_bytes, piece), room);
        pack_pieces(source, order->target.format, piece, 1, out, &unit->result);
        memset(out + bytes, 0, room - bytes);
    }
    upload_forget(upload, source, unit->first, unit->n);
    atomic_store(&unit->complete, true);
}

/* Packs the next unit; false: there is none. */
static bool pack_next(struct upload_direct *direct)
{
    size_t i = atomic_fetch_add(&direct->next, 1);
    if (i >= direct->n_units) return false;
    struct unit *unit = &direct->units[i];
    pack_unit(direct->upload, &direct->orders[unit->order], unit);
    bool refused = direct->upload->exact_formats && unit->result.error_squares > 0;
    if (unit->result.not_finite || unit->result.too_large || unit->result.no_memory || refused)
        atomic_store(&direct->next, direct->n_units);
    return true;
}

static void *pack_all(void *argument)
{
    while (pack_next(argument)) {}
    return NULL;
}

/* Reports the units from *reported on that are complete, one by one and in order, whichever thread packed them. */
static int report_units(struct upload *upload, size_t *reported, struct error *err)
{
    struct upload_direct *direct = upload->direct;
    int status = 0;
    for (; status == 0 && *reported < direct->n_units; ++*reported) {
        struct unit *unit = &direct->units[*reported];
        const struct order *order = &direct->orders[unit->order];
        if (!atomic_load(&unit->complete)) break;
        uint32_t n_pieces = pack_n_pieces(order->source.rows);
        uint64_t each = order->source_bytes / n_pieces;
        bool last = unit->first + unit->n == n_pieces;
        upload->done += last ? order->source_bytes - each * unit->first : each * unit->n;
        status = upload_report(upload, upload->done, err);
    }
    return status;
}

/* In the order of the units, so that sums do not depend on who packed what. */
static void collect_results(const struct upload_direct *direct)
{
    for (size_t i = 0; i < direct->n_units; i++) {
        const struct pack_result *part = &direct->units[i].result;
        struct pack_result *result = direct->orders[direct->units[i].order].result;
        result->not_finite |= part->not_finite;
        result->too_large |= part->too_large;
        result->no_memory |= part->no_memory;
        result->error_squares += part->error_squares;
        result->value_squares += part->value_squares;
    }
}

int upload_direct_run(struct upload *upload, struct error *err)
{
    struct upload_direct *direct = upload->direct;
    pthread_t threads[UPLOAD_MAX_THREADS];
    unsigned n_threads = 0;
    size_t reported = 0;
    int status = 0;
    if (direct == NULL) return 0;
    while (n_threads + 1 < upload->threads && n_threads + 1 < direct->n_units &&
           pthread_create(&threads[n_threads], NULL, pack_all, direct) == 0)
        n_threads++;
    while (status == 0 && pack_next(direct)) status = report_units(upload, &reported, err);
    if (status < 0) atomic_store(&direct->next, direct->n_units);
    while (n_threads > 0) (void)pthread_join(threads[--n_threads], NULL);
    if (status == 0) status = report_units(upload, &reported, err);
    collect_results(direct);
    upload_direct_close(upload);
    return status;
}
