/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of the tables that descriptors read, as launches before them; and what a status says. */
#include "host/card/opencl_launch.h"
#include "kernels/abi/card_operands.h"

#include <inttypes.h>
#include <stdlib.h>

/* What of a batch table an opcode reads: CHECK_* of kernels/opencl/checks.cl. */
enum reads { READS_POSITION, READS_PAGE, READS_SEEN, READS_STATE, READS_NO_BATCH };

/* Kinds of faults: FAULT_* of kernels/opencl/prelude.cl. */
enum {
    FAULT_POSITION = 1,
    FAULT_ENTRY,
    FAULT_PAGE,
    FAULT_EXPERT,
    FAULT_SLOT,
    FAULT_INDEX,
    FAULT_FOLLOWS,
    FAULT_VISIBLE,
    FAULT_STATE,
    FAULT_SPARSE_ORDER,
    FAULT_SPARSE
};

static enum reads reads_of(unsigned opcode)
{
    switch (opcode) {
    case CARD_OP_ROPE: return READS_POSITION;
    case CARD_OP_KV_WRITE: return READS_PAGE;
    case CARD_OP_ATTENTION:
    case CARD_OP_INDEX: return READS_SEEN;
    case CARD_OP_SCAN:
    case CARD_OP_CONV: return READS_STATE;
    default: return READS_NO_BATCH;
    }
}

/* ---- batch tables: the plan ---- */

/* One check of a table, and for whom it stands: descriptors that read the same table in the same way. */
struct check {
    const struct card_descriptor *d, *e; /* the first of them and its extension */
    uint64_t table_bytes;
    uint64_t kv_bytes, multiply_adds; /* of them all, for each position seen or state moved */
    int stale;                        /* the program has written the table, or may have */
};

struct opencl_checks {
    unsigned n, next; /* next: the first that is not enqueued */
    struct check check[];
};

static uint32_t extension_param(const struct card_descriptor *e, unsigned i) { return e ? e->param[i] : 0; }

static int is_sparse(const struct card_descriptor *d, const struct card_descriptor *e)
{
    return d->opcode == CARD_OP_ATTENTION && e && e->flags & CARD_FLAG_SPARSE;
}

/* P3 is the window of ATTENTION and E.P1 its chunk; another thing, or nothing, in others. */
static uint32_t window_of(const struct card_descriptor *d) { return d->opcode == CARD_OP_ATTENTION ? d->param[3] : 0; }
static uint32_t chunk_of(const struct card_descriptor *d, const struct card_descriptor *e)
{
    return d->opcode == CARD_OP_ATTENTION ? extension_param(e, 1) : 0;
}

/* A table ends where its allocation does, or where the result begins. */
static uint64_t table_bytes(const struct opencl_machine *machine, const struct card_descriptor *d,
                            const struct card_descriptor *e)
{
    struct card_operand operands[CARD_PLACES];
    card_find_operands(d, e, operands);
    return card_table_bytes(d->aux, machine->extents->extent(machine->extents->context, d->aux), &operands[CARD_DST]);
}

static int same_check(const struct check *check, const struct card_descriptor *d, const struct card_descriptor *e,
                      uint64_t bytes)
{
    const struct card_descriptor *a = check->d;
    if (check->stale || a->opcode != d->opcode || a->aux != d->aux || a->tokens != d->tokens) return 0;
    if (d->opcode == CARD_OP_ROPE) return 1;
    if (check->table_bytes != bytes || a->param[0] != d->param[0]) return 0;
    if (is_sparse(a, check->e) || is_sparse(d, e)) return 0;
    return window_of(a) == window_of(d) && chunk_of(a, check->e) == chunk_of(d, e);
}

/* What one position seen, or one state read or written, moves and multiplies. */
static void count_one(struct check *check, const struct card_descriptor *d, const struct card_descriptor *e)
{
    const uint64_t key = card_page_block_bytes(d->format, d->cols) / CARD_PAGE_TOKENS;
    if (d->opcode == CARD_OP_ATTENTION) {
        check->kv_bytes += card_pool_page_bytes(d, e) / CARD_PAGE_TOKENS;
        check->multiply_adds += (uint64_t)d->rows * ((uint64_t)d->cols + card_attention_values(d, e));
    } else if (d->opcode == CARD_OP_INDEX) {
        check->kv_bytes += key;
        check->multiply_adds += (uint64_t)d->rows * ((uint64_t)d->cols + 1);
    } else if (d->opcode == CARD_OP_SCAN) {
        check->kv_bytes += (uint64_t)d->rows * d->cols * d->param[1] * 4;
    } else if (d->opcode == CARD_OP_CONV) {
        check->kv_bytes += (uint64_t)(d->param[1] - 1) * d->cols * 4;
    }
}

static void note_range(struct opencl_checks *checks, struct card_range written)
{
    for (unsigned i = 0; i < checks->n && written.bytes; i++) {
        struct check *check = &checks->check[i];
        check->stale |=
            written.address < check->d->aux + check->table_bytes && check->d->aux < written.address + written.bytes;
    }
}

/* Tables that the descriptor writes, or may, need another check. */
static void note_written(struct opencl_checks *checks, const struct card_descriptor *d, const struct card_descriptor *e)
{
    struct card_operand operands[CARD_PLACES];
    card_find_operands(d, e, operands);
    for (unsigned i = 0; i < CARD_PLACES; i++) {
        for (uint32_t k = 0; operands[i].written && k < operands[i].banks; k++) {
            note_range(checks, card_operand_range(&operands[i], k));
        }
    }
}

static void plan_batch_check(const struct opencl_machine *machine, struct opencl_checks *checks,
                             const struct card_descriptor *d, const struct card_descriptor *e)
{
    const uint64_t bytes = table_bytes(machine, d, e);
    unsigned k = checks->n;
    while (k > 0 && !same_check(&checks->check[k - 1], d, e, bytes)) k--;
    if (k == 0) {
        checks->check[checks->n++] = (struct check){.d = d, .e = e, .table_bytes = bytes};
        k = checks->n;
    }
    count_one(&checks->check[k - 1], d, e);
}

int opencl_plan_checks(const struct opencl_machine *machine, const struct card_descriptor *program, unsigned first,
                       unsigned end, struct opencl_checks **out, struct error *err)
{
    struct opencl_checks *checks = calloc(1, sizeof *checks + (end - first) * sizeof checks->check[0]);
    *out = checks;
    if (!checks) return error_set(err, ERROR_NO_MEMORY, "opencl: no memory for a program's checks");
    for (unsigned i = first; i < end; i++) {
        const struct card_descriptor *d = &program[i], *e = card_extension(d);
        if (reads_of(d->opcode) != READS_NO_BATCH) plan_batch_check(machine, checks, d, e);
        note_written(checks, d, e);
    }
    return 0;
}

/* ---- launches ---- */

static int enqueue_batch_check(const struct opencl_run *run, const struct check *check, uint32_t index,
                               struct error *err)
{
    const struct card_descriptor *d = check->d, *e = check->e;
    const int sparse = is_sparse(d, e);
    const struct opencl_arguments arguments = {
        OPERANDS(d->aux, sparse ? e->aux : OPENCL_ABSENT),
        WIDES(check->table_bytes, check->kv_bytes, check->multiply_adds),
        WORDS(d->tokens, reads_of(d->opcode), window_of(d), chunk_of(d, e), d->param[0], sparse ? e->param[3] : 0,
              index),
    };
    return opencl_launch(run, KERNEL_CHECK_BATCH, &arguments, OPENCL_WORK_GROUP, OPENCL_WORK_GROUP, err);
}

static int enqueue_slot_check(const struct opencl_run *run, const struct card_descriptor *d, uint32_t index,
                              struct error *err)
{
    const int each = (d->flags & CARD_FLAG_EACH) != 0;
    const struct card_operand matrix = card_matrix_operand("", 0, d->format, d->rows, d->cols, d->param[2]);
    const struct opencl_arguments arguments = {
        OPERANDS(each ? OPENCL_ABSENT : d->aux, d->weight, OPENCL_RANGES),
        WIDES(matrix.bytes, matrix.tile_bytes, card_matrix_bytes(d->format, d->rows, d->cols),
              (uint64_t)d->rows * d->cols * (each ? d->tokens : 1)),
        WORDS(run->machine->n_ranges, each ? d->param[1] : d->tokens * d->param[0], d->param[1], d->param[2],
              matrix.align, (uint32_t)each, index),
    };
    return opencl_launch(run, KERNEL_CHECK_SLOTS, &arguments, OPENCL_WORK_GROUP, OPENCL_WORK_GROUP, err);
}

/* n words `distance` apart at aux. */
static int enqueue_index_check(const struct opencl_run *run, const struct card_descriptor *d, uint32_t n,
                               uint32_t distance, uint32_t limit, uint32_t kind, uint32_t index, struct error *err)
{
    const struct opencl_arguments arguments = {OPERANDS(d->aux), WORDS(n, distance, limit, kind, index)};
    return opencl_launch(run, KERNEL_CHECK_INDEXES, &arguments, OPENCL_WORK_GROUP, OPENCL_WORK_GROUP, err);
}

int opencl_enqueue_checks(const struct opencl_run *run, struct opencl_checks *checks, const struct card_descriptor *d,
                          const struct card_descriptor *e, uint32_t index, struct error *err)
{
    (void)e;
    switch (d->opcode) {
    case CARD_OP_EXPERT_MATMUL: return enqueue_slot_check(run, d, index, err);
    case CARD_OP_GATHER: return enqueue_index_check(run, d, d->tokens, 1, d->rows, FAULT_INDEX, index, err);
    case CARD_OP_AWAIT:
        return enqueue_index_check(run, d, d->tokens * d->param[0], 2, d->param[1], FAULT_EXPERT, index, err);
    default: break;
    }
    if (checks->next == checks->n || checks->check[checks->next].d != d) return 0;
    return enqueue_batch_check(run, &checks->check[checks->next++], index, err);
}

/* ---- what a status says: words as in kernels/opencl/prelude.cl, texts as the simulator's ---- */

static int batch_error(uint32_t kind, uint32_t token, uint64_t value, uint64_t limit, struct error *err)
{
    switch (kind) {
    case FAULT_POSITION:
        return error_set(err, ERROR_CARD, "batch table: token %u: position %" PRIu64 ", a card counts to %u", token,
                         value, CARD_MAX_POSITIONS - 1);
    case FAULT_VISIBLE:
        return error_set(err, ERROR_CARD, "batch table: token %u: %" PRIu64 " positions visible, a card has %u", token,
                         value, CARD_MAX_POSITIONS);
    case FAULT_STATE:
        return error_set(err, ERROR_CARD, "batch table: token %u: state %" PRIu64 ", the state pool has %" PRIu64,
                         token, value, limit);
    case FAULT_ENTRY:
        return error_set(err, ERROR_CARD,
                         "batch table: token %u: page entry %" PRIu64 " lies past the end of the table's allocation "
                         "(%" PRIu64 " entries)",
                         token, value, limit);
    case FAULT_PAGE:
        return error_set(err, ERROR_CARD,
                         "batch table: token %u: page number %" PRIu64 ", the pool has %" PRIu64 " pages", token, value,
                         limit);
    case FAULT_SPARSE_ORDER:
        return error_set(err, ERROR_CARD, "sparse positions: token %u: %" PRIu64 " after %" PRIu64, token, value,
                         limit);
    default:
        return error_set(err, ERROR_CARD, "sparse positions: token %u: position %" PRIu64 ", %" PRIu64 " are visible",
                         token, value, limit);
    }
}

int opencl_status_error(const uint32_t status[OPENCL_STATUS_WORDS], const struct card_descriptor *program,
                        unsigned n_descriptors, struct error *err)
{
    if (status[0] == 0) return 0;
    const uint32_t kind = status[1], item = status[2];
    const uint64_t value = status[4] | (uint64_t)status[5] << 32, limit = status[6] | (uint64_t)status[7] << 32;
    if (kind == FAULT_FOLLOWS) return error_set(err, ERROR_CARD, "an event that this was to follow failed");
    if (status[0] > n_descriptors || kind == 0 || kind > FAULT_SPARSE) {
        return error_set(err, ERROR_CARD, "opencl: the program's status is none (%u, %u)", status[0], kind);
    }
    const struct card_descriptor *d = &program[status[0] - 1];
    switch (kind) {
    case FAULT_EXPERT:
        error_set(err, ERROR_CARD, "choice %u: expert %" PRIu64 ", the slot table has %" PRIu64, item, value, limit);
        break;
    case FAULT_SLOT:
        error_set(err, ERROR_CARD,
                  "slot of expert %u: no matrix of %" PRIu64 " bytes over %u banks can lie at bank %u offset 0x%" PRIx64
                  " (outside every allocation, or not aligned)",
                  item, limit, d->param[2] > 1 ? d->param[2] : 1, CARD_ADDR_BANK(value),
                  (uint64_t)CARD_ADDR_OFFSET(value));
        break;
    case FAULT_INDEX: error_set(err, ERROR_CARD, "index %u: row %" PRIu64 " of %" PRIu64, item, value, limit); break;
    default: batch_error(kind, item, value, limit, err); break;
    }
    return error_prefix(err, "descriptor %u (%s)", status[0] - 1, card_opcode_name(d->opcode));
}
