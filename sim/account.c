/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/account.h"

#include "kernels/abi/card_operands.h"
#include "sim/expert_set.h"
#include "sim/kv_pages.h"
#include "sim/seen.h"

/* Experts that at least one token chose, and the choices; without choices, all. */
static void find_experts(struct sim_work *work, const struct sim_step *step)
{
    const struct card_choice *choice = step->aux;
    const uint64_t rows = (uint64_t)step->d->tokens * step->d->param[0];
    struct expert_set met;
    if (!choice) {
        work->experts = step->d->param[1];
        work->rows = rows;
        return;
    }
    expert_set_clear(&met, step->d->param[1]);
    for (uint64_t i = 0; i < rows; i++) {
        if (choice[i].expert == CARD_NO_EXPERT) continue;
        work->rows++;
        work->experts += expert_set_add(&met, choice[i].expert);
    }
}

/* Positions that the step's tokens see, summed over the tokens. */
static uint64_t positions_seen(const struct sim_step *step)
{
    uint64_t n = 0;
    for (uint32_t t = 0; t < step->d->tokens; t++) n += seen_count(seen_by(step, t));
    return n;
}

/* KV_WRITE, ATTENTION and INDEX. */
static void find_pages(struct sim_work *work, const struct sim_step *step)
{
    const struct card_descriptor *d = step->d;
    const uint64_t key_bytes = kv_vector_bytes(d->format, d->cols);
    if (d->opcode == CARD_OP_KV_WRITE) {
        work->kv_bytes = (uint64_t)d->tokens * d->rows * (key_bytes + kv_vector_bytes(d->format, d->param[1]));
        return;
    }
    const uint64_t seen = work->positions = positions_seen(step);
    if (d->opcode == CARD_OP_INDEX) {
        work->kv_bytes = seen * key_bytes;
        work->multiply_adds = seen * d->rows * ((uint64_t)d->cols + 1);
        return;
    }
    const uint32_t values = card_attention_values(d, step->e);
    const uint64_t value_bytes = sim_step_has(step, CARD_FLAG_LATENT) ? 0 : kv_vector_bytes(d->format, values);
    work->kv_bytes = seen * d->param[2] * (key_bytes + value_bytes);
    work->multiply_adds = seen * d->rows * ((uint64_t)d->cols + values);
}

/* SCAN and CONV: a state is read once for neighbouring tokens that share it, unless they start from zeros, and written. */
static uint64_t states_moved(const struct sim_step *step)
{
    const struct card_batch_token *batch = sim_step_batch(step);
    uint64_t n = 0;
    for (uint32_t t = 0; t < step->d->tokens; t++) {
        const int first = t == 0 || batch[t].state != batch[t - 1].state;
        if (first) n += batch[t].position != 0 ? 2 : 1;
    }
    return n;
}

static void find_states(struct sim_work *work, const struct sim_step *step)
{
    const struct card_descriptor *d = step->d;
    const uint64_t width = d->param[1];
    work->states = states_moved(step);
    if (d->opcode == CARD_OP_CONV) {
        work->kv_bytes = work->states * (width - 1) * d->cols * 4;
        work->multiply_adds = (uint64_t)d->tokens * d->cols * width;
        return;
    }
    const uint64_t state = (uint64_t)d->rows * d->cols * width;
    work->kv_bytes = work->states * state * 4;
    work->multiply_adds = 3 * state * d->tokens;
}

struct sim_work sim_work_of(const struct sim_step *step)
{
    const struct card_descriptor *d = step->d;
    const uint64_t matrix = (uint64_t)d->rows * d->cols;
    struct sim_work work = {0};
    switch (d->opcode) {
    case CARD_OP_MATMUL:
        work.weight_bytes = card_matrix_bytes(d->format, d->rows, d->cols);
        work.multiply_adds = matrix * d->tokens;
        break;
    case CARD_OP_EXPERT_MATMUL:
        find_experts(&work, step);
        work.weight_bytes = work.experts * card_matrix_bytes(d->format, d->rows, d->cols);
        work.multiply_adds = matrix * work.rows;
        break;
    case CARD_OP_KV_WRITE:
    case CARD_OP_ATTENTION:
    case CARD_OP_INDEX: find_pages(&work, step); break;
    case CARD_OP_SCAN:
    case CARD_OP_CONV: find_states(&work, step); break;
    default: break;
    }
    return work;
}

void sim_account_add(struct sim_account *account, const struct sim_work *work)
{
    account->descriptors++;
    account->weight_bytes += work->weight_bytes;
    account->kv_bytes += work->kv_bytes;
    account->multiply_adds += work->multiply_adds;
}
