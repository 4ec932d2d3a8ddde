/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/step.h"

#include <inttypes.h>

/* ---- operands ---- */

static void *find(const struct sim_memory *memory, const struct card_operand *operand)
{
    if (!operand->field) return NULL;
    return memory->bank[CARD_ADDR_BANK(operand->address)].base + CARD_ADDR_OFFSET(operand->address);
}

void sim_step_find(struct sim_step *step, const struct card_descriptor *d, const struct sim_memory *memory)
{
    struct card_operand *operand = step->operand;
    const struct card_descriptor *e = card_extension(d);
    card_find_operands(d, e, operand);
    step->d = d;
    step->e = e;
    step->dst = find(memory, &operand[CARD_DST]);
    step->src = find(memory, &operand[CARD_SRC]);
    step->weight = find(memory, &operand[CARD_WEIGHT]);
    step->aux = find(memory, &operand[CARD_AUX]);
    step->aux_bytes = 0;
    step->e_dst = find(memory, &operand[CARD_E_DST]);
    step->e_src = find(memory, &operand[CARD_E_SRC]);
    step->e_weight = find(memory, &operand[CARD_E_WEIGHT]);
    step->e_aux = find(memory, &operand[CARD_E_AUX]);
    step->memory = memory;
    step->tile_kernel = NULL;
    step->page_kernels = NULL;
    if (!step->aux) return;
    step->aux_bytes = card_table_bytes(d->aux, memory->extent(memory->context, d->aux), &operand[CARD_DST]);
}

/* ---- batch tables ---- */

struct sim_span sim_step_seen(const struct sim_step *step, uint32_t token)
{
    const struct card_batch_token *entry = sim_step_batch(step) + token;
    struct sim_span span = {0, entry->visible};
    if (step->d->opcode != CARD_OP_ATTENTION) return span;
    const uint32_t window = step->d->param[3], chunk = sim_step_e_param(step, 1);
    if (window && entry->position + 1 > window) span.from = entry->position + 1 - window;
    if (chunk) {
        const uint32_t first = entry->position / chunk * chunk;
        if (first > span.from) span.from = first;
        if (span.to > first && span.to - first > chunk) span.to = first + chunk;
    }
    return span;
}

static int check_token(const struct sim_step *step, uint32_t token, struct error *err)
{
    const struct card_batch_token *entry = sim_step_batch(step) + token;
    const unsigned opcode = step->d->opcode;
    if (entry->position >= CARD_MAX_POSITIONS) {
        return error_set(err, ERROR_CARD, "batch table: token %u: position %u, a card counts to %u", token,
                         entry->position, CARD_MAX_POSITIONS - 1);
    }
    if ((opcode == CARD_OP_ATTENTION || opcode == CARD_OP_INDEX) && entry->visible > CARD_MAX_POSITIONS) {
        return error_set(err, ERROR_CARD, "batch table: token %u: %u positions visible, a card has %u", token,
                         entry->visible, CARD_MAX_POSITIONS);
    }
    if ((opcode == CARD_OP_SCAN || opcode == CARD_OP_CONV) && entry->state >= step->d->param[0]) {
        return error_set(err, ERROR_CARD, "batch table: token %u: state %u, the state pool has %u", token, entry->state,
                         step->d->param[0]);
    }
    return 0;
}

/* Page table entries [from, to] of the token's sequence. */
static int check_pages(const struct sim_step *step, uint32_t token, uint32_t from, uint32_t to, struct error *err)
{
    const uint64_t first = sim_step_batch(step)[token].first_page;
    const uint64_t batch_bytes = (uint64_t)step->d->tokens * sizeof(struct card_batch_token);
    const uint64_t entries = step->aux_bytes > batch_bytes ? (step->aux_bytes - batch_bytes) / 4 : 0;
    if (first + to >= entries) {
        return error_set(err, ERROR_CARD,
                         "batch table: token %u: page entry %" PRIu64 " lies past the end of the table's allocation "
                         "(%" PRIu64 " entries)",
                         token, first + to, entries);
    }
    const uint32_t *pages = sim_step_pages(step) + first;
    for (uint32_t p = from; p <= to; p++) {
        if (pages[p] >= step->d->param[0]) {
            return error_set(err, ERROR_CARD, "batch table: token %u: page number %u, the pool has %u pages", token,
                             pages[p], step->d->param[0]);
        }
    }
    return 0;
}

/* Sparse positions ascend, lie below `visible`, and each that is seen lies in a page. */
static int check_sparse(const struct sim_step *step, uint32_t token, struct error *err)
{
    const uint32_t *position = sim_step_sparse(step, token);
    const uint32_t n = step->e->param[3], visible = sim_step_batch(step)[token].visible;
    const struct sim_span seen = sim_step_seen(step, token);
    uint32_t checked = UINT32_MAX; /* the last page that is known to be good */
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0 && position[i - 1] == CARD_NO_POSITION && position[i] == CARD_NO_POSITION) continue;
        if (i > 0 && position[i] <= position[i - 1]) {
            return error_set(err, ERROR_CARD, "sparse positions: token %u: %u after %u", token, position[i],
                             position[i - 1]);
        }
        if (position[i] == CARD_NO_POSITION) continue;
        if (position[i] >= visible) {
            return error_set(err, ERROR_CARD, "sparse positions: token %u: position %u, %u are visible", token,
                             position[i], visible);
        }
        const uint32_t page = position[i] / CARD_PAGE_TOKENS;
        if (position[i] < seen.from || position[i] >= seen.to || page == checked) continue;
        const int rc = check_pages(step, token, page, page, err);
        if (rc) return rc;
        checked = page;
    }
    return 0;
}

/* Positions whose pages the token needs: its own to write it, or all that it sees. */
static struct sim_span positions_in_pages(const struct sim_step *step, uint32_t token)
{
    if (step->d->opcode != CARD_OP_KV_WRITE) return sim_step_seen(step, token);
    const uint32_t position = sim_step_batch(step)[token].position;
    return (struct sim_span){position, position + 1};
}

static int check_batch(const struct sim_step *step, struct error *err)
{
    const struct card_batch_token *batch = sim_step_batch(step);
    const unsigned opcode = step->d->opcode;
    const int has_pages = opcode == CARD_OP_KV_WRITE || opcode == CARD_OP_ATTENTION || opcode == CARD_OP_INDEX;
    /* Neighbours are mostly of one sequence: what is checked for one need not be checked again for the next. */
    uint32_t sequence = 0, good_from = 1, good_to = 0;
    for (uint32_t t = 0; t < step->d->tokens; t++) {
        int rc = check_token(step, t, err);
        if (rc) return rc;
        if (!has_pages) continue;
        if (sim_step_sparse(step, t)) {
            rc = check_sparse(step, t, err);
            if (rc) return rc;
            continue;
        }
        const struct sim_span seen = positions_in_pages(step, t);
        if (seen.from >= seen.to) continue;
        const uint32_t first = seen.from / CARD_PAGE_TOKENS, last = (seen.to - 1) / CARD_PAGE_TOKENS;
        const int known = good_from <= good_to && batch[t].first_page == sequence && first >= good_from;
        if (known && last <= good_to) continue;
        rc = check_pages(step, t, known && first <= good_to ? good_to + 1 : first, last, err);
        if (rc) return rc;
        if (!known || first > good_to + 1) good_from = first;
        sequence = batch[t].first_page;
        good_to = last;
    }
    return 0;
}

/* ---- experts and rows ---- */

static int check_expert(const struct sim_step *step, uint64_t i, struct error *err)
{
    const uint32_t expert = ((const struct card_choice *)step->aux)[i].expert;
    if (expert < step->d->param[1] || expert == CARD_NO_EXPERT) return 0;
    return error_set(err, ERROR_CARD, "choice %" PRIu64 ": expert %u, the slot table has %u", i, expert,
                     step->d->param[1]);
}

static int check_choices(const struct sim_step *step, struct error *err)
{
    for (uint64_t i = 0; i < (uint64_t)step->d->tokens * step->d->param[0]; i++) {
        const int rc = check_expert(step, i, err);
        if (rc) return rc;
    }
    return 0;
}

static int check_slot(const struct sim_step *step, uint32_t expert, struct error *err)
{
    const struct card_descriptor *d = step->d;
    const card_addr slot = ((const card_addr *)step->weight)[expert];
    const struct card_operand matrix = card_matrix_operand("slot", slot, d->format, d->rows, d->cols, d->param[2]);
    int lies = slot % matrix.align == 0;
    for (uint32_t k = 0; k < matrix.banks && lies; k++) {
        const struct card_range part = card_operand_range(&matrix, k);
        lies = part.bytes == 0 || sim_memory_at(step->memory, part.address, part.bytes);
    }
    if (lies) return 0;
    return error_set(err, ERROR_CARD,
                     "slot of expert %u: no matrix of %" PRIu64
                     " bytes over %u banks can lie at bank %u offset 0x%" PRIx64
                     " (outside every allocation, or not aligned)",
                     expert, matrix.bytes, matrix.banks, CARD_ADDR_BANK(slot), (uint64_t)CARD_ADDR_OFFSET(slot));
}

static int check_slots(const struct sim_step *step, struct error *err)
{
    const struct card_descriptor *d = step->d;
    const struct card_choice *choice = step->aux; /* NULL: each expert once */
    const uint64_t uses = choice ? (uint64_t)d->tokens * d->param[0] : d->param[1];
    uint64_t checked[1024] = {0}; /* 65536 experts, the most that a slot table has */
    for (uint64_t i = 0; i < uses; i++) {
        int rc = choice ? check_expert(step, i, err) : 0;
        if (rc) return rc;
        const uint32_t expert = choice ? choice[i].expert : (uint32_t)i;
        const uint64_t bit = UINT64_C(1) << expert % 64;
        if (expert == CARD_NO_EXPERT) continue;
        if (checked[expert / 64] & bit) continue;
        rc = check_slot(step, expert, err);
        if (rc) return rc;
        checked[expert / 64] |= bit;
    }
    return 0;
}

static int check_indexes(const struct sim_step *step, struct error *err)
{
    const uint32_t *index = step->aux;
    for (uint32_t t = 0; t < step->d->tokens; t++) {
        if (index[t] >= step->d->rows) {
            return error_set(err, ERROR_CARD, "index %u: row %u of %u", t, index[t], step->d->rows);
        }
    }
    return 0;
}

int sim_step_check(const struct sim_step *step, struct error *err)
{
    switch (step->d->opcode) {
    case CARD_OP_ROPE:
    case CARD_OP_KV_WRITE:
    case CARD_OP_ATTENTION:
    case CARD_OP_INDEX:
    case CARD_OP_SCAN:
    case CARD_OP_CONV: return check_batch(step, err);
    case CARD_OP_EXPERT_MATMUL: return check_slots(step, err);
    case CARD_OP_AWAIT: return check_choices(step, err);
    case CARD_OP_GATHER: return check_indexes(step, err);
    default: return 0;
    }
}
