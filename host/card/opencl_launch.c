/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Card programs as kernel launches: every descriptor's kernels go into one in-order queue, so nothing returns to the
 * host between them, but for AWAIT, at which a program is cut.
 */
#include "host/card/opencl_launch.h"

#include "kernels/abi/card_operands.h"

#include <inttypes.h>
#include <stdlib.h>

_Static_assert(CARD_FORMAT_END - CARD_FORMAT_INT4 == KERNEL_MATMUL_8 - KERNEL_MATMUL_1, "kernels by format");

static const char *const kernel_names[KERNEL_COUNT] = {
    [KERNEL_NORM] = "norm",
    [KERNEL_QUANTIZE] = "quantize",
    [KERNEL_ROPE] = "rope",
    [KERNEL_ROUTER] = "router",
    [KERNEL_GLU] = "glu",
    [KERNEL_EXPERT_SUM] = "expert_sum",
    [KERNEL_GATHER] = "gather",
    [KERNEL_KV_WRITE] = "kv_write",
    [KERNEL_ATTENTION] = "attention",
    [KERNEL_COPY] = "copy",
    [KERNEL_ADD] = "add",
    [KERNEL_SCALE] = "scale",
    [KERNEL_SOFT_CAP] = "soft_cap",
    [KERNEL_TOP_K] = "top_k",
    [KERNEL_INDEX] = "index_positions",
    [KERNEL_SCAN] = "scan",
    [KERNEL_CONV] = "conv",
    [KERNEL_DECAY] = "decay",
    [KERNEL_EXPERT_SPREAD] = "expert_spread",
    [KERNEL_PUBLISH] = "publish",
    [KERNEL_CHECK_BATCH] = "check_batch",
    [KERNEL_CHECK_SLOTS] = "check_slots",
    [KERNEL_CHECK_INDEXES] = "check_indexes",
    [KERNEL_FOLLOW] = "follow",
    [KERNEL_MATMUL_F32] = "matmul_f32",
    [KERNEL_EXPERT_F32] = "expert_f32",
#define BY_FORMAT(first, before, after)                                                                                \
    [first] = before "int4" after, [first + 1] = before "int4_min" after, [first + 2] = before "int8" after,           \
    [first + 3] = before "int8_min" after, [first + 4] = before "q4_k" after, [first + 5] = before "q5_k" after,       \
    [first + 6] = before "q6_k" after, [first + 7] = before "mxfp4" after
    BY_FORMAT(KERNEL_MATMUL_1, "matmul_", "_1"),
    BY_FORMAT(KERNEL_MATMUL_8, "matmul_", "_8"),
    BY_FORMAT(KERNEL_EXPERT, "expert_", ""),
#undef BY_FORMAT
};

int opencl_make_kernels(struct opencl_machine *machine, cl_program program, struct error *err)
{
    for (unsigned k = 0; k < KERNEL_COUNT; k++) {
        cl_int status;
        machine->kernel[k] = clCreateKernel(program, kernel_names[k], &status);
        if (status != CL_SUCCESS) return opencl_fail(err, kernel_names[k], status);
    }
    return 0;
}

/* ---- one launch ---- */

static const cl_mem *memory_of(const struct opencl_machine *machine, card_addr address)
{
    if (CARD_ADDR_BANK(address) == CARD_ADDR_BANK(OPENCL_SCRATCH(0))) return &machine->scratch;
    if (CARD_ADDR_BANK(address) == CARD_ADDR_BANK(OPENCL_RANGES)) return &machine->ranges;
    return &machine->bank[CARD_ADDR_BANK(address)];
}

_Static_assert(CARD_MAX_BANKS == 64, "POOL of kernels/opencl/pages.cl has 64 banks");

/* Banks over which the pool is not dealt are its first one's memory: the kernel gets no more than it may touch. */
static cl_int set_pool_banks(const struct opencl_machine *machine, cl_kernel kernel, cl_uint *n,
                             const struct opencl_pool *pool)
{
    cl_int status = CL_SUCCESS;
    for (unsigned b = 0; b < CARD_MAX_BANKS && !status; b++) {
        const unsigned bank = pool->banks > 1 && b < pool->banks ? b : CARD_ADDR_BANK(pool->address);
        status = clSetKernelArg(kernel, (*n)++, sizeof(cl_mem), &machine->bank[bank]);
    }
    return status;
}

static cl_int set_wides(cl_kernel kernel, cl_uint *n, const uint64_t *wide, unsigned n_wides)
{
    cl_int status = CL_SUCCESS;
    for (unsigned i = 0; i < n_wides && !status; i++) status = clSetKernelArg(kernel, (*n)++, sizeof wide[i], &wide[i]);
    return status;
}

static cl_int set_words(cl_kernel kernel, cl_uint *n, const uint32_t *word, unsigned n_words)
{
    cl_int status = CL_SUCCESS;
    for (unsigned i = 0; i < n_words && !status; i++) status = clSetKernelArg(kernel, (*n)++, sizeof word[i], &word[i]);
    return status;
}

static cl_int set_arguments(const struct opencl_run *run, cl_kernel kernel, const struct opencl_arguments *arguments)
{
    const struct opencl_machine *machine = run->machine;
    const struct opencl_pool *pool = arguments->pool;
    cl_uint n = 0;
    cl_int status = clSetKernelArg(kernel, n++, sizeof(cl_mem), &machine->status[run->slot]);
    if (pool && !status) status = set_pool_banks(machine, kernel, &n, pool);
    for (unsigned i = 0; i < arguments->n_operands && !status; i++) {
        const cl_ulong offset = CARD_ADDR_OFFSET(arguments->operand[i]);
        status = clSetKernelArg(kernel, n++, sizeof(cl_mem), memory_of(machine, arguments->operand[i]));
        if (!status) status = clSetKernelArg(kernel, n++, sizeof offset, &offset);
    }
    if (pool && !status) {
        const uint64_t wide[] = {CARD_ADDR_OFFSET(pool->address), pool->page_bytes};
        status = set_wides(kernel, &n, wide, 2);
    }
    if (!status) status = set_wides(kernel, &n, arguments->wide, arguments->n_wides);
    if (pool && !status) {
        const uint32_t word[] = {CARD_ADDR_BANK(pool->address), pool->banks};
        status = set_words(kernel, &n, word, 2);
    }
    return status ? status : set_words(kernel, &n, arguments->word, arguments->n_words);
}

static int launch(const struct opencl_run *run, enum opencl_kernel kernel, const struct opencl_arguments *arguments,
                  cl_uint dimensions, const size_t *global, const size_t *local, struct error *err)
{
    cl_kernel function = run->machine->kernel[kernel];
    cl_int status = set_arguments(run, function, arguments);
    if (status == CL_SUCCESS) {
        status =
            clEnqueueNDRangeKernel(run->machine->compute, function, dimensions, NULL, global, local, 0, NULL, NULL);
    }
    return status == CL_SUCCESS ? 0 : opencl_fail(err, kernel_names[kernel], status);
}

int opencl_launch(const struct opencl_run *run, enum opencl_kernel kernel, const struct opencl_arguments *arguments,
                  uint64_t items, size_t group, struct error *err)
{
    const size_t global = (size_t)card_round_up(items, group);
    return launch(run, kernel, arguments, 1, &global, &group, err);
}

int opencl_launch_tiles(const struct opencl_run *run, enum opencl_kernel kernel,
                        const struct opencl_arguments *arguments, uint64_t tiles, uint64_t parts, struct error *err)
{
    const size_t local[2] = {16, 8}, global[2] = {(size_t)tiles * local[0], (size_t)parts * local[1]};
    return launch(run, kernel, arguments, 2, global, local, err);
}

int opencl_enqueue_follow(struct opencl_machine *machine, unsigned slot, unsigned earlier, struct error *err)
{
    const size_t one = 1;
    cl_kernel kernel = machine->kernel[KERNEL_FOLLOW];
    cl_int status = clSetKernelArg(kernel, 0, sizeof(cl_mem), &machine->status[slot]);
    if (!status) status = clSetKernelArg(kernel, 1, sizeof(cl_mem), &machine->status[earlier]);
    if (!status) status = clEnqueueNDRangeKernel(machine->compute, kernel, 1, NULL, &one, &one, 0, NULL, NULL);
    return status == CL_SUCCESS ? 0 : opencl_fail(err, kernel_names[KERNEL_FOLLOW], status);
}

/* ---- a part of a program ---- */

static void account_shapes(struct opencl_account *account, const struct card_descriptor *d)
{
    const uint64_t matrix = (uint64_t)d->rows * d->cols;
    account->descriptors++;
    switch (d->opcode) {
    case CARD_OP_MATMUL:
        account->weight_bytes += card_matrix_bytes(d->format, d->rows, d->cols);
        account->multiply_adds += matrix * d->tokens;
        break;
    case CARD_OP_KV_WRITE:
        account->kv_bytes += d->tokens * card_page_bytes(d->format, d->rows, d->cols, d->param[1]) / CARD_PAGE_TOKENS;
        break;
    case CARD_OP_SCAN: account->multiply_adds += 3 * matrix * d->param[1] * d->tokens; break;
    case CARD_OP_CONV: account->multiply_adds += (uint64_t)d->tokens * d->cols * d->param[1]; break;
    default: break;
    }
}

/* The descriptor that ends the part which starts at `first`: the next AWAIT or the end. */
static unsigned part_end(const struct card_descriptor *program, unsigned n_descriptors, unsigned first)
{
    unsigned end = first;
    while (end < n_descriptors && program[end].opcode != CARD_OP_AWAIT) end++;
    return end;
}

/* What runs keeps the memory that it was given. */
static int reserve_scratch(struct opencl_machine *machine, const struct card_descriptor *program, unsigned first,
                           unsigned end, struct error *err)
{
    uint64_t most = 0;
    cl_int status;
    for (unsigned i = first; i < end; i++) {
        if (program[i].opcode == CARD_OP_EXTENSION) continue;
        const uint64_t bytes = opencl_scratch_bytes(&program[i], card_extension(&program[i]));
        if (bytes > most) most = bytes;
    }
    if (most <= machine->scratch_bytes) return 0;
    cl_mem scratch = clCreateBuffer(machine->context, CL_MEM_READ_WRITE, (size_t)most, NULL, &status);
    if (status != CL_SUCCESS) {
        opencl_fail(err, "scratch memory", status);
        return error_prefix(err, "%" PRIu64 " bytes", most);
    }
    if (machine->scratch) clReleaseMemObject(machine->scratch);
    machine->scratch = scratch;
    machine->scratch_bytes = most;
    return 0;
}

int opencl_enqueue(struct opencl_machine *machine, unsigned slot, const struct card_descriptor *program,
                   unsigned n_descriptors, unsigned first, unsigned *next, struct opencl_account *account,
                   struct error *err)
{
    const struct opencl_run run = {.machine = machine, .slot = slot};
    const unsigned end = part_end(program, n_descriptors, first);
    struct opencl_checks *checks = NULL;
    *next = end;
    int rc = reserve_scratch(machine, program, first, end, err);
    if (!rc) rc = opencl_plan_checks(machine, program, first, end, &checks, err);
    for (unsigned i = first; i < end && !rc; i++) {
        const struct card_descriptor *d = &program[i], *e = card_extension(d);
        if (d->opcode == CARD_OP_EXTENSION) continue;
        account_shapes(account, d);
        rc = opencl_enqueue_checks(&run, checks, d, e, i, err);
        if (!rc) rc = opencl_enqueue_operation(&run, d, e, err);
    }
    if (end < n_descriptors && !rc) {
        account_shapes(account, &program[end]);
        rc = opencl_enqueue_checks(&run, checks, &program[end], NULL, end, err);
    }
    free(checks);
    return rc;
}
