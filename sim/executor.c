/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/executor.h"

#include "host/base/float_mode.h"
#include "sim/account.h"
#include "sim/clock_stream.h"
#include "sim/internal.h"
#include "sim/made_up.h"
#include "sim/mailbox.h"

#include <stdlib.h>

struct sim_executor {
    const struct sim_memory *memory;
    struct pool *pool;
    tile_kernel *tile_kernel;
    const struct page_kernels *page_kernels;
    const char *simd; /* their name */
    struct sim_scratch scratch;
    struct sim_clock *clock; /* NULL: none */
    bool timing_only;
    struct card_agent agent;
    uint64_t chosen; /* descriptors with made-up choices so far */
};

static const struct {
    sim_operation *run;
    sim_scratch_size *scratch; /* optional: none */
} operations[CARD_OPCODE_END] = {
    [CARD_OP_NORM] = {.run = sim_norm},
    [CARD_OP_QUANTIZE] = {.run = sim_quantize},
    [CARD_OP_MATMUL] = {.run = sim_matmul, .scratch = sim_matmul_scratch},
    [CARD_OP_ROPE] = {.run = sim_rope},
    [CARD_OP_KV_WRITE] = {.run = sim_kv_write},
    [CARD_OP_ATTENTION] = {.run = sim_attention, .scratch = sim_attention_scratch},
    [CARD_OP_ROUTER] = {.run = sim_router, .scratch = sim_router_scratch},
    [CARD_OP_EXPERT_MATMUL] = {.run = sim_expert_matmul, .scratch = sim_expert_matmul_scratch},
    [CARD_OP_GLU] = {.run = sim_glu},
    [CARD_OP_EXPERT_SUM] = {.run = sim_expert_sum},
    [CARD_OP_GATHER] = {.run = sim_gather},
    [CARD_OP_COPY] = {.run = sim_copy},
    [CARD_OP_ADD] = {.run = sim_add},
    [CARD_OP_SCALE] = {.run = sim_scale},
    [CARD_OP_SOFT_CAP] = {.run = sim_soft_cap},
    [CARD_OP_TOP_K] = {.run = sim_top_k},
    [CARD_OP_INDEX] = {.run = sim_index, .scratch = sim_index_scratch},
    [CARD_OP_SCAN] = {.run = sim_scan},
    [CARD_OP_CONV] = {.run = sim_conv},
    [CARD_OP_DECAY] = {.run = sim_decay},
    [CARD_OP_EXPERT_SPREAD] = {.run = sim_expert_spread},
    /* EXTENSION goes with the descriptor before it, PUBLISH and AWAIT are not computed: run_step. */
};

int sim_open(unsigned threads, const char *simd, const struct sim_memory *memory, struct sim_executor **out,
             struct error *err)
{
    const char *name;
    tile_kernel *kernel = tile_kernel_find(simd, &name);
    if (!kernel)
        return error_set(err, ERROR_UNSUPPORTED,
                         "simulator: no SIMD \"%s\" in this build or processor (generic always is)", simd);
    struct sim_executor *executor = calloc(1, sizeof *executor);
    if (!executor) return error_set(err, ERROR_NO_MEMORY, "simulator: no memory");
    executor->memory = memory;
    executor->tile_kernel = kernel;
    executor->page_kernels = page_kernels_find(name);
    executor->simd = name;
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

const char *sim_simd(const struct sim_executor *executor) { return executor->simd; }

void sim_keep_time(struct sim_executor *executor, struct sim_clock *clock, bool timing_only)
{
    executor->clock = clock;
    executor->timing_only = timing_only;
}

void sim_set_agent(struct sim_executor *executor, const struct card_agent *agent)
{
    executor->agent = agent ? *agent : (struct card_agent){0};
}

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

static void compute(struct sim_executor *executor, const struct sim_step *step)
{
    if (!executor->timing_only)
        operations[step->d->opcode].run(executor->pool, step, executor->scratch.block);
    else if (sim_makes_up(step->d->opcode))
        sim_make_up(step, executor->chosen++);
}

static int publish(struct sim_executor *executor, const struct sim_step *step, struct error *err)
{
    const struct card_descriptor *d = step->d;
    const struct card_agent *agent = &executor->agent;
    sim_publish(step);
    if (!agent->published) return 0;
    if (executor->clock) sim_clock_answer(executor->clock, d->dst, (uint64_t)d->tokens * d->rows);
    return agent->published(agent->context, d, step->src, err) ? ERROR_CARD : 0;
}

/*
 * The clock knows of an AWAIT when the slots are there; but which of them a PER_CHOICE takes is said by virtual time where it is
 * kept, so that it does not depend on this machine.
 */
static int await(struct sim_executor *executor, const struct sim_step *step, unsigned i, struct sim_account *account,
                 struct error *err)
{
    const struct sim_work work = sim_work_of(step);
    const bool is_taken = executor->clock && step->d->flags & CARD_FLAG_PER_CHOICE;
    int rc = is_taken ? 0 : sim_await(step, &executor->agent, false, err);
    if (rc) return rc;
    sim_account_add(account, &work);
    if (executor->clock) sim_clock_run(executor->clock, step, &work, i);
    return is_taken ? sim_await(step, &executor->agent, true, err) : 0;
}

/* Checks, charges and runs descriptor i. */
static int run_step(struct sim_executor *executor, const struct sim_step *step, unsigned i, struct sim_account *account,
                    struct error *err)
{
    int rc = sim_step_check(step, err);
    if (rc) return rc;
    if (step->d->opcode == CARD_OP_AWAIT) return await(executor, step, i, account, err);
    const struct sim_work work = sim_work_of(step);
    sim_account_add(account, &work);
    /* The clock knows of a PUBLISH before the host can see it. */
    if (executor->clock) sim_clock_run(executor->clock, step, &work, i);
    if (step->d->opcode == CARD_OP_PUBLISH) return publish(executor, step, err);
    compute(executor, step);
    return 0;
}

int sim_run(struct sim_executor *executor, const struct card_descriptor *program, unsigned n_descriptors,
            struct sim_account *account, struct error *err)
{
    int rc = executor->timing_only ? 0 : reserve_scratch(executor, program, n_descriptors, err);
    if (rc) return rc;
    const uint64_t mode = float_mode_enter(); /* the pool's threads are always in it */
    for (unsigned i = 0; i < n_descriptors && !rc; i++) {
        if (program[i].opcode == CARD_OP_EXTENSION) continue;
        struct sim_step step;
        sim_step_find(&step, &program[i], executor->memory);
        step.tile_kernel = executor->tile_kernel;
        step.page_kernels = executor->page_kernels;
        rc = run_step(executor, &step, i, account, err);
        if (rc) error_prefix(err, "descriptor %u (%s)", i, card_opcode_name(program[i].opcode));
        const unsigned passed = program[i].opcode == CARD_OP_AWAIT && !rc ? sim_passed_over(&step) : 0;
        if (passed && executor->clock) sim_clock_pass_over(executor->clock, i + 1 + passed);
        i += passed;
    }
    float_mode_set(mode);
    return rc;
}
