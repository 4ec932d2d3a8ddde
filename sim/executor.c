/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/executor.h"

#include "sim/account.h"
#include "sim/internal.h"

#include <stdlib.h>

struct sim_executor {
    const struct sim_memory *memory;
    struct pool *pool;
    struct sim_scratch scratch;
};

static const struct {
    sim_operation *run;
    uint64_t (*scratch)(const struct card_descriptor *d, unsigned threads); /* optional: none */
} operations[CARD_OPCODE_END] = {
    [CARD_OP_NORM] = {.run = sim_norm},
    [CARD_OP_QUANTIZE] = {.run = sim_quantize},
    [CARD_OP_MATMUL] = {.run = sim_matmul},
    [CARD_OP_ROPE] = {.run = sim_rope},
    [CARD_OP_KV_WRITE] = {.run = sim_kv_write},
    [CARD_OP_ATTENTION] = {.run = sim_attention, .scratch = sim_attention_scratch},
    [CARD_OP_ROUTER] = {.run = sim_router},
    [CARD_OP_EXPERT_MATMUL] = {.run = sim_expert_matmul, .scratch = sim_expert_matmul_scratch},
    [CARD_OP_GLU] = {.run = sim_glu},
    [CARD_OP_EXPERT_SUM] = {.run = sim_expert_sum},
    [CARD_OP_GATHER] = {.run = sim_gather},
};

int sim_open(unsigned threads, const struct sim_memory *memory, struct sim_executor **out, struct error *err)
{
    struct sim_executor *executor = calloc(1, sizeof *executor);
    if (!executor) return error_set(err, ERROR_NO_MEMORY, "simulator: no memory");
    executor->memory = memory;
    int rc = pool_open(threads, &executor->pool, err);
    if (rc) {
        free(executor);
        return rc;
    }
    *out = executor;
    return 0;
}

void sim_close(struct sim_executor *executor)
{
    if (!executor) return;
    pool_close(executor->pool);
    free(executor->scratch.block);
    free(executor);
}

unsigned sim_threads(const struct sim_executor *executor) { return pool_threads(executor->pool); }

static int reserve_scratch(struct sim_executor *executor, const struct card_descriptor *program, unsigned n,
                           struct error *err)
{
    uint64_t need = 0;
    for (unsigned i = 0; i < n; i++) {
        if (!operations[program[i].opcode].scratch) continue;
        uint64_t bytes = operations[program[i].opcode].scratch(&program[i], pool_threads(executor->pool));
        if (bytes > need) need = bytes;
    }
    if (need <= executor->scratch.bytes) return 0;
    void *block = need <= SIZE_MAX - 64 ? aligned_alloc(64, (size_t)card_round_up(need, 64)) : NULL;
    if (!block) return error_set(err, ERROR_NO_MEMORY, "simulator: no memory for a program's scratch");
    free(executor->scratch.block);
    executor->scratch = (struct sim_scratch){.block = block, .bytes = (size_t)need};
    return 0;
}

int sim_run(struct sim_executor *executor, const struct card_descriptor *program, unsigned n_descriptors,
            struct sim_account *account, struct error *err)
{
    int rc = reserve_scratch(executor, program, n_descriptors, err);
    for (unsigned i = 0; i < n_descriptors && !rc; i++) {
        struct sim_step step;
        sim_step_find(&step, &program[i], executor->memory);
        rc = sim_step_check(&step, err);
        if (rc) {
            error_prefix(err, "descriptor %u (%s)", i, card_opcode_name(program[i].opcode));
            break;
        }
        operations[program[i].opcode].run(executor->pool, &step, executor->scratch.block);
        sim_account_add(account, &step);
    }
    return rc;
}
