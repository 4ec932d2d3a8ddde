/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/step.h"

#include <inttypes.h>
#include <stddef.h>

static void *find(const struct sim_memory *memory, card_addr address, int used)
{
    if (!used) return NULL;
    return memory->bank[CARD_ADDR_BANK(address)].base + CARD_ADDR_OFFSET(address);
}

void sim_step_find(struct sim_step *step, const struct card_descriptor *d, const struct sim_memory *memory)
{
    int weight = d->opcode != CARD_OP_QUANTIZE && d->opcode != CARD_OP_ROUTER && d->opcode != CARD_OP_EXPERT_SUM &&
                 d->opcode != CARD_OP_GATHER;
    int aux = d->opcode == CARD_OP_ROPE || d->opcode == CARD_OP_KV_WRITE || d->opcode == CARD_OP_ATTENTION ||
              d->opcode == CARD_OP_EXPERT_MATMUL || d->opcode == CARD_OP_EXPERT_SUM || d->opcode == CARD_OP_GATHER ||
              (d->opcode == CARD_OP_MATMUL && (d->flags & CARD_FLAG_BIAS));
    *step = (struct sim_step){
        .d = d,
        .dst = find(memory, d->dst, 1),
        .src = find(memory, d->src, d->opcode != CARD_OP_ROPE),
        .weight = find(memory, d->weight, weight),
        .aux = find(memory, d->aux, aux),
        .aux_bytes = aux ? memory->extent(memory->context, d->aux) : 0,
        .memory = memory,
    };
    /* A table ends where the result begins: what the operation writes must not change numbers already checked. */
    if (aux && d->dst > d->aux && d->dst - d->aux < step->aux_bytes) step->aux_bytes = d->dst - d->aux;
}

static int check_position(const struct sim_step *step, uint32_t token, struct error *err)
{
    uint32_t position = sim_step_batch(step)[token].position;
    if (position < CARD_MAX_POSITIONS) return 0;
    return error_set(err, ERROR_CARD, "batch table: token %u: position %u, a card counts to %u", token, position,
                     CARD_MAX_POSITIONS - 1);
}

/* Page table entries [from, to] of the token's sequence. */
static int check_pages(const struct sim_step *step, uint32_t token, uint32_t from, uint32_t to, struct error *err)
{
    uint64_t first = sim_step_batch(step)[token].first_page;
    uint64_t entries = step->aux_bytes / 4 - (uint64_t)step->d->tokens * 2;
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

static int check_batch(const struct sim_step *step, struct error *err)
{
    const struct card_batch_token *batch = sim_step_batch(step);
    /* Neighbours are mostly of one sequence: what is checked for one need not be checked again for the next. */
    uint32_t sequence = 0, good_from = 1, good_to = 0;
    for (uint32_t t = 0; t < step->d->tokens; t++) {
        int rc = check_position(step, t, err);
        if (rc) return rc;
        if (step->d->opcode == CARD_OP_ROPE) continue;
        uint32_t last = batch[t].position / CARD_PAGE_TOKENS;
        uint32_t first = last;
        if (step->d->opcode == CARD_OP_ATTENTION) {
            first = sim_step_first_seen(step, batch[t].position) / CARD_PAGE_TOKENS;
        }
        int known = good_from <= good_to && batch[t].first_page == sequence && first >= good_from;
        if (known && last <= good_to) continue;
        rc = check_pages(step, t, known && first <= good_to ? good_to + 1 : first, last, err);
        if (rc) return rc;
        if (!known || first > good_to + 1) good_from = first;
        sequence = batch[t].first_page;
        good_to = last;
    }
    return 0;
}

static int check_slots(const struct sim_step *step, struct error *err)
{
    const struct card_descriptor *d = step->d;
    const struct card_choice *choice = step->aux;
    const card_addr *slot = step->weight;
    uint64_t bytes = card_matrix_bytes(d->format, d->rows, d->cols);
    uint64_t align = d->format == CARD_FORMAT_F32 ? 4 : CARD_WORD_BYTES;
    for (uint64_t i = 0; i < (uint64_t)d->tokens * d->param[0]; i++) {
        uint32_t expert = choice[i].expert;
        if (expert >= d->param[1]) {
            return error_set(err, ERROR_CARD, "choice %" PRIu64 ": expert %u, the slot table has %u", i, expert,
                             d->param[1]);
        }
        if (slot[expert] % align || !sim_memory_at(step->memory, slot[expert], bytes)) {
            return error_set(err, ERROR_CARD,
                             "slot of expert %u: no matrix of %" PRIu64 " bytes can lie at bank %u offset 0x%" PRIx64
                             " (outside every allocation, or not aligned)",
                             expert, bytes, CARD_ADDR_BANK(slot[expert]), (uint64_t)CARD_ADDR_OFFSET(slot[expert]));
        }
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
    case CARD_OP_ATTENTION: return check_batch(step, err);
    case CARD_OP_EXPERT_MATMUL: return check_slots(step, err);
    case CARD_OP_GATHER: return check_indexes(step, err);
    default: return 0;
    }
}
