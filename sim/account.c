/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/account.h"

/* Experts that at least one token chose. */
static uint32_t experts_in_use(const struct sim_step *step)
{
    const struct card_choice *choice = step->aux;
    uint64_t seen[1024] = {0}; /* 65536 experts, the most that a slot table has */
    uint32_t n = 0;
    for (uint64_t i = 0; i < (uint64_t)step->d->tokens * step->d->param[0]; i++) {
        uint64_t bit = UINT64_C(1) << choice[i].expert % 64;
        n += !(seen[choice[i].expert / 64] & bit);
        seen[choice[i].expert / 64] |= bit;
    }
    return n;
}

/* Positions that the step's tokens see, summed over the tokens. */
static uint64_t positions_seen(const struct sim_step *step)
{
    uint64_t n = 0;
    for (uint32_t t = 0; t < step->d->tokens; t++) {
        uint32_t position = sim_step_batch(step)[t].position;
        n += position + 1 - sim_step_first_seen(step, position);
    }
    return n;
}

void sim_account_add(struct sim_account *account, const struct sim_step *step)
{
    const struct card_descriptor *d = step->d;
    const uint64_t matrix = (uint64_t)d->rows * d->cols;
    account->descriptors++;
    switch (d->opcode) {
    case CARD_OP_MATMUL:
        account->weight_bytes += card_matrix_bytes(d->format, d->rows, d->cols);
        account->multiply_adds += matrix * d->tokens;
        break;
    case CARD_OP_EXPERT_MATMUL:
        account->weight_bytes += experts_in_use(step) * card_matrix_bytes(d->format, d->rows, d->cols);
        account->multiply_adds += matrix * d->tokens * d->param[0];
        break;
    case CARD_OP_KV_WRITE: account->kv_bytes += 2 * matrix * d->tokens * card_kv_element_bytes(d->format); break;
    case CARD_OP_ATTENTION: {
        uint64_t seen = positions_seen(step);
        account->kv_bytes += 2 * seen * d->param[2] * d->cols * card_kv_element_bytes(d->format);
        account->multiply_adds += 2 * seen * matrix;
        break;
    }
    default: break;
    }
}
