/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The float reference: a card in plain C, one readable function per operation, weights as floats only, libm's functions
 * and sums in double. It shares no arithmetic with the simulator but the half conversion of KV pages, so that one checks
 * the other and both check the model families against outside references; it does share the checks of tables and the
 * mailbox, which are no arithmetic. Speed is no aim. Here is the backend; the operations are in card_ref_*.c.
 */
#include "host/card/card_ref.h"

#include "host/card/card_host_memory.h"
#include "sim/mailbox.h"

#include <stdio.h>
#include <stdlib.h>

struct ref_card {
    struct host_memory_card host;
    struct card_agent agent;
};

/* Each opcode but those that talk with the agent has one of the two. */
static const struct {
    ref_operation *run;
    ref_fallible *run_or_fail;
} operations[CARD_OPCODE_END] = {
    [CARD_OP_NORM] = {.run = ref_norm},
    [CARD_OP_QUANTIZE] = {.run = ref_quantize},
    [CARD_OP_MATMUL] = {.run = ref_matmul},
    [CARD_OP_ROPE] = {.run = ref_rope},
    [CARD_OP_KV_WRITE] = {.run = ref_kv_write},
    [CARD_OP_ATTENTION] = {.run = ref_attention},
    [CARD_OP_ROUTER] = {.run_or_fail = ref_router},
    [CARD_OP_EXPERT_MATMUL] = {.run = ref_expert_matmul},
    [CARD_OP_GLU] = {.run = ref_glu},
    [CARD_OP_EXPERT_SUM] = {.run = ref_expert_sum},
    [CARD_OP_GATHER] = {.run = ref_gather},
    [CARD_OP_COPY] = {.run = ref_copy},
    [CARD_OP_ADD] = {.run = ref_add},
    [CARD_OP_SCALE] = {.run = ref_scale},
    [CARD_OP_SOFT_CAP] = {.run = ref_soft_cap},
    [CARD_OP_TOP_K] = {.run = ref_top_k},
    [CARD_OP_INDEX] = {.run_or_fail = ref_index},
    [CARD_OP_SCAN] = {.run = ref_scan},
    [CARD_OP_CONV] = {.run = ref_conv},
    [CARD_OP_DECAY] = {.run = ref_decay},
    [CARD_OP_EXPERT_SPREAD] = {.run = ref_expert_spread},
    /* PUBLISH and AWAIT talk with the agent: run. */
};

static int publish(const struct sim_step *step, const struct card_agent *agent, struct error *err)
{
    sim_publish(step);
    if (!agent->published) return 0;
    return agent->published(agent->context, step->d, step->src, err) ? ERROR_CARD : 0;
}

static int run(const struct sim_step *step, const struct card_agent *agent, struct error *err)
{
    int rc = sim_step_check(step, err);
    if (rc) return rc;
    if (step->d->opcode == CARD_OP_PUBLISH) return publish(step, agent, err);
    if (step->d->opcode == CARD_OP_AWAIT) return sim_await(step, agent, false, err);
    if (operations[step->d->opcode].run_or_fail) return operations[step->d->opcode].run_or_fail(step, err);
    operations[step->d->opcode].run(step);
    return 0;
}

static int submit(struct card_backend *backend, const struct card_order *order, const struct card_descriptor *program,
                  unsigned n_descriptors, struct error *err)
{
    (void)order;
    struct host_memory_card *card = host_memory_of(backend);
    for (unsigned i = 0; i < n_descriptors; i++) {
        struct sim_step step;
        sim_step_find(&step, &program[i], &card->memory);
        int rc = run(&step, &((struct ref_card *)(void *)backend)->agent, err);
        if (rc) {
            error_prefix(err, "descriptor %u (%s)", i, card_opcode_name(program[i].opcode));
            return rc;
        }
        const struct sim_work work = sim_work_of(&step);
        sim_account_add(&card->account, &work);
        if (step.e) i++;
        if (program[i].opcode == CARD_OP_AWAIT) i += sim_passed_over(&step);
    }
    return 0;
}

static void set_agent(struct card_backend *backend, const struct card_agent *agent)
{
    ((struct ref_card *)(void *)backend)->agent = agent ? *agent : (struct card_agent){0};
}

static void close_card(struct card_backend *backend)
{
    host_memory_close(host_memory_of(backend));
    free(backend);
}

static int open_card(const struct card_options *options, const struct card_extents *extents, struct card_backend **out,
                     struct error *err)
{
    struct ref_card *card = calloc(1, sizeof *card);
    if (!card) return error_set(err, ERROR_NO_MEMORY, "card ref: no memory");
    int rc = host_memory_open(&card->host, &card_ref_ops, options, extents, err);
    if (rc) {
        free(card);
        return rc;
    }
    *out = &card->host.base;
    return 0;
}

static void describe(const struct card_backend *backend, struct card_info *info)
{
    info->abi_version = CARD_ABI_VERSION;
    info->weight_formats = 1u << CARD_FORMAT_F32;
    info->kv_formats = 1u << CARD_FORMAT_F32 | 1u << CARD_FORMAT_F16 | 1u << CARD_FORMAT_INT8 | 1u << CARD_FORMAT_INT4;
    info->kv_default = CARD_FORMAT_F32;
    info->threads = 1;
    snprintf(info->name, sizeof info->name, "float reference");
    host_memory_describe(&((const struct ref_card *)(const void *)backend)->host, info);
}

const struct card_backend_ops card_ref_ops = {
    .name = "ref",
    .open = open_card,
    .close = close_card,
    .describe = describe,
    .count = host_memory_count,
    .write = host_memory_write,
    .read = host_memory_read,
    .window = host_memory_window,
    .submit = submit,
    .set_agent = set_agent,
    .stream_write = host_memory_stream_write,
    .released = host_memory_released,
};
