/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Card programs as kernel launches: every descriptor's kernel goes into one in-order queue, so nothing returns to the
 * host between them. Checks of tables are launches too; one that the program has made already, of a table that it has
 * not written since, is not made again.
 */
#include "host/card/opencl.h"

#include "kernels/abi/card_layout.h"

#include <inttypes.h>
#include <stdlib.h>

#define FORMATS 7u /* tiled ones, from CARD_FORMAT_INT4 on */
_Static_assert(CARD_FORMAT_END - CARD_FORMAT_INT4 == FORMATS, "kernels by format");

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
    [KERNEL_CHECK_BATCH] = "check_batch",
    [KERNEL_CHECK_SLOTS] = "check_slots",
    [KERNEL_CHECK_INDEXES] = "check_indexes",
    [KERNEL_FOLLOW] = "follow",
    [KERNEL_MATMUL_F32] = "matmul_f32",
    [KERNEL_EXPERT_F32] = "expert_f32",
#define BY_FORMAT(first, before, after)                                                                                \
    [first] = before "int4" after, [first + 1] = before "int4_min" after, [first + 2] = before "int8" after,           \
    [first + 3] = before "int8_min" after, [first + 4] = before "q4_k" after, [first + 5] = before "q5_k" after,       \
    [first + 6] = before "q6_k" after
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

struct launch {
    struct opencl_machine *machine;
    enum opencl_kernel kernel;
    cl_uint n;     /* arguments so far */
    cl_int status; /* the first that failed */
};

static void argument(struct launch *launch, const void *value, size_t bytes)
{
    cl_int status = clSetKernelArg(launch->machine->kernel[launch->kernel], launch->n++, bytes, value);
    if (launch->status == CL_SUCCESS) launch->status = status;
}

static void word(struct launch *launch, uint32_t value) { argument(launch, &value, sizeof value); }
static void wide(struct launch *launch, uint64_t value) { argument(launch, &value, sizeof value); }
static void memory(struct launch *launch, cl_mem value) { argument(launch, &value, sizeof(cl_mem)); }

/* A bank and an offset in it. */
static void operand(struct launch *launch, card_addr address)
{
    memory(launch, launch->machine->bank[CARD_ADDR_BANK(address)]);
    wide(launch, CARD_ADDR_OFFSET(address));
}

static struct launch begin(struct opencl_machine *machine, enum opencl_kernel kernel, unsigned slot)
{
    struct launch launch = {.machine = machine, .kernel = kernel};
    memory(&launch, machine->status[slot]);
    return launch;
}

static int go(struct launch *launch, cl_uint dimensions, const size_t *global, const size_t *local, struct error *err)
{
    if (launch->status == CL_SUCCESS) {
        launch->status = clEnqueueNDRangeKernel(launch->machine->compute, launch->machine->kernel[launch->kernel],
                                                dimensions, NULL, global, local, 0, NULL, NULL);
    }
    return launch->status == CL_SUCCESS ? 0 : opencl_fail(err, kernel_names[launch->kernel], launch->status);
}

/* At least `items` work-items in groups of `group`. */
static int go_items(struct launch *launch, uint64_t items, size_t group, struct error *err)
{
    const size_t global = (size_t)card_round_up(items, group);
    return go(launch, 1, &global, &group, err);
}

/* ---- checks ---- */

/* One check of a table, and for whom it stands: descriptors that read the same table in the same way. */
struct check {
    const struct card_descriptor *d; /* the first of them */
    uint64_t table_bytes;
    uint64_t kv_bytes, multiply_adds; /* of them all, for each position seen */
    int stale;                        /* the program has written the table, or may have */
};

static int reads_batch(unsigned opcode)
{
    return opcode == CARD_OP_ROPE || opcode == CARD_OP_KV_WRITE || opcode == CARD_OP_ATTENTION;
}

/* A table ends where its allocation does, or where the result begins. */
static uint64_t table_bytes(const struct opencl_machine *machine, const struct card_descriptor *d)
{
    const uint64_t bytes = machine->extents->extent(machine->extents->context, d->aux);
    return d->dst > d->aux && d->dst - d->aux < bytes ? d->dst - d->aux : bytes;
}

static int same_check(const struct check *check, const struct card_descriptor *d, uint64_t bytes)
{
    const struct card_descriptor *a = check->d;
    if (check->stale || a->opcode != d->opcode || a->aux != d->aux || a->tokens != d->tokens) return 0;
    if (d->opcode == CARD_OP_ROPE) return 1;
    if (check->table_bytes != bytes || a->param[0] != d->param[0]) return 0;
    return d->opcode == CARD_OP_KV_WRITE || a->param[3] == d->param[3];
}

/* Notes the checks of a program, in the order of their first descriptors; checks has room for one each. Returns how many. */
static unsigned plan_checks(const struct opencl_machine *machine, const struct card_descriptor *program, unsigned n,
                            struct check *checks)
{
    unsigned count = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct card_descriptor *d = &program[i];
        if (reads_batch(d->opcode)) {
            const uint64_t bytes = table_bytes(machine, d);
            unsigned k = count;
            while (k > 0 && !same_check(&checks[k - 1], d, bytes)) k--;
            if (k == 0) {
                checks[count++] = (struct check){.d = d, .table_bytes = bytes};
                k = count;
            }
            if (d->opcode == CARD_OP_ATTENTION) {
                checks[k - 1].kv_bytes += 2ull * d->param[2] * d->cols * card_kv_element_bytes(d->format);
                checks[k - 1].multiply_adds += 2ull * d->rows * d->cols;
            }
        }
        const uint64_t written = machine->extents->extent(machine->extents->context, d->dst);
        for (unsigned k = 0; k < count; k++) {
            const card_addr table = checks[k].d->aux;
            if (d->dst < table + checks[k].table_bytes && table < d->dst + written) checks[k].stale = 1;
        }
    }
    return count;
}

static int enqueue_batch_check(struct opencl_machine *machine, unsigned slot, const struct check *check,
                               uint32_t descriptor, struct error *err)
{
    const struct card_descriptor *d = check->d;
    struct launch launch = begin(machine, KERNEL_CHECK_BATCH, slot);
    operand(&launch, d->aux);
    wide(&launch, check->table_bytes);
    word(&launch, d->tokens);
    word(&launch, d->opcode);
    word(&launch, d->opcode == CARD_OP_ATTENTION ? d->param[3] : 0);
    word(&launch, d->param[0]);
    word(&launch, descriptor);
    wide(&launch, check->kv_bytes);
    wide(&launch, check->multiply_adds);
    return go_items(&launch, OPENCL_WORK_GROUP, OPENCL_WORK_GROUP, err);
}

static int enqueue_slot_check(struct opencl_machine *machine, unsigned slot, const struct card_descriptor *d,
                              uint32_t descriptor, struct error *err)
{
    struct launch launch = begin(machine, KERNEL_CHECK_SLOTS, slot);
    operand(&launch, d->aux);
    operand(&launch, d->weight);
    memory(&launch, machine->ranges);
    word(&launch, machine->n_ranges);
    word(&launch, d->tokens * d->param[0]);
    word(&launch, d->param[1]);
    wide(&launch, card_matrix_bytes(d->format, d->rows, d->cols));
    word(&launch, d->format == CARD_FORMAT_F32 ? 4 : CARD_WORD_BYTES);
    word(&launch, descriptor);
    return go_items(&launch, OPENCL_WORK_GROUP, OPENCL_WORK_GROUP, err);
}

static int enqueue_index_check(struct opencl_machine *machine, unsigned slot, const struct card_descriptor *d,
                               uint32_t descriptor, struct error *err)
{
    struct launch launch = begin(machine, KERNEL_CHECK_INDEXES, slot);
    operand(&launch, d->aux);
    word(&launch, d->tokens);
    word(&launch, d->rows);
    word(&launch, descriptor);
    return go_items(&launch, OPENCL_WORK_GROUP, OPENCL_WORK_GROUP, err);
}

int opencl_enqueue_follow(struct opencl_machine *machine, unsigned slot, unsigned earlier, struct error *err)
{
    struct launch launch = begin(machine, KERNEL_FOLLOW, slot);
    memory(&launch, machine->status[earlier]);
    return go_items(&launch, 1, 1, err);
}

/* ---- operations ---- */

typedef int enqueue_fn(struct opencl_machine *machine, unsigned slot, const struct card_descriptor *d,
                       struct error *err);

static int enqueue_norm(struct opencl_machine *machine, unsigned slot, const struct card_descriptor *d,
                        struct error *err)
{
    struct launch launch = begin(machine, KERNEL_NORM, slot);
    operand(&launch, d->dst);
    operand(&launch, d->src);
    operand(&launch, d->weight);
    word(&launch, d->cols);
    word(&launch, d->param[0]);
    return go_items(&launch, (uint64_t)d->tokens * d->rows * 64, 64, err);
}

static int enqueue_quantize(struct opencl_machine *machine, unsigned slot, const struct card_descriptor *d,
                            struct error *err)
{
    struct launch launch = begin(machine, KERNEL_QUANTIZE, slot);
    operand(&launch, d->dst);
    operand(&launch, d->src);
    word(&launch, d->tokens);
    word(&launch, d->cols);
    return go_items(&launch, d->tokens * card_act_groups(d->cols), 64, err);
}

static enum opencl_kernel of_format(enum opencl_kernel first, unsigned format)
{
    return (enum opencl_kernel)((unsigned)first + format - CARD_FORMAT_INT4);
}

static int enqueue_matmul(struct opencl_machine *machine, unsigned slot, const struct card_descriptor *d,
                          struct error *err)
{
    const int plain = d->format == CARD_FORMAT_F32, one = d->tokens == 1;
    const enum opencl_kernel kernel =
        plain ? KERNEL_MATMUL_F32 : of_format(one ? KERNEL_MATMUL_1 : KERNEL_MATMUL_8, d->format);
    struct launch launch = begin(machine, kernel, slot);
    operand(&launch, d->dst);
    operand(&launch, d->src);
    operand(&launch, d->weight);
    operand(&launch, d->flags & CARD_FLAG_BIAS ? d->aux : d->weight);
    word(&launch, d->tokens);
    word(&launch, d->rows);
    word(&launch, d->cols);
    word(&launch, d->flags);
    if (plain) return go_items(&launch, (uint64_t)d->tokens * d->rows, 64, err);
    const size_t local[2] = {16, 8};
    const size_t global[2] = {card_round_up(d->rows, 16), one ? 8 : card_round_up(d->tokens, 8)};
    return go(&launch, 2, global, local, err);
}

/* A launch for each bank: an expert's matrix may lie in any, and a kernel sees the memory that it is given. */
static int enqueue_expert_matmul(struct opencl_machine *machine, unsigned slot, const struct card_descriptor *d,
                                 struct error *err)
{
    const int plain = d->format == CARD_FORMAT_F32;
    const uint32_t outputs = d->tokens * d->param[0];
    const int per_choice = (d->flags & CARD_FLAG_PER_CHOICE) != 0;
    int rc = 0;
    for (uint32_t b = 0; b < machine->n_banks && !rc; b++) {
        struct launch launch = begin(machine, plain ? KERNEL_EXPERT_F32 : of_format(KERNEL_EXPERT, d->format), slot);
        operand(&launch, d->dst);
        operand(&launch, d->src);
        operand(&launch, d->weight);
        operand(&launch, d->aux);
        memory(&launch, machine->bank[b]);
        word(&launch, b);
        word(&launch, plain || per_choice ? outputs : d->tokens);
        word(&launch, per_choice ? 1 : d->param[0]);
        word(&launch, d->rows);
        word(&launch, d->cols);
        const size_t local[2] = {16, 8};
        const size_t global[2] = {card_round_up(d->rows, 16), (size_t)outputs * 8};
        rc = plain ? go_items(&launch, (uint64_t)outputs * d->rows, 64, err) : go(&launch, 2, global, local, err);
    }
    return rc;
}

static int enqueue_rope(struct opencl_machine *machine, unsigned slot, const struct card_descriptor *d,
                        struct error *err)
{
    struct launch launch = begin(machine, KERNEL_ROPE, slot);
    operand(&launch, d->dst);
    operand(&launch, d->weight);
    operand(&launch, d->aux);
    word(&launch, d->tokens);
    word(&launch, d->rows);
    word(&launch, d->cols);
    word(&launch, d->param[0]);
    word(&launch, d->param[1]);
    word(&launch, d->flags);
    return go_items(&launch, (uint64_t)d->tokens * (d->param[0] / 2), 64, err);
}

static int enqueue_kv_write(struct opencl_machine *machine, unsigned slot, const struct card_descriptor *d,
                            struct error *err)
{
    struct launch launch = begin(machine, KERNEL_KV_WRITE, slot);
    operand(&launch, d->dst);
    operand(&launch, d->src);
    operand(&launch, d->weight);
    operand(&launch, d->aux);
    word(&launch, d->tokens);
    word(&launch, d->rows);
    word(&launch, d->cols);
    word(&launch, d->format);
    return go_items(&launch, (uint64_t)d->rows * d->cols, 64, err);
}

static int enqueue_attention(struct opencl_machine *machine, unsigned slot, const struct card_descriptor *d,
                             struct error *err)
{
    struct launch launch = begin(machine, KERNEL_ATTENTION, slot);
    operand(&launch, d->dst);
    operand(&launch, d->src);
    operand(&launch, d->weight);
    operand(&launch, d->aux);
    word(&launch, d->tokens);
    word(&launch, d->rows);
    word(&launch, d->param[2]);
    word(&launch, d->cols);
    word(&launch, d->param[3]);
    word(&launch, d->param[1]);
    word(&launch, d->format);
    return go_items(&launch, (uint64_t)d->tokens * d->rows * 32, 32, err);
}

static int enqueue_router(struct opencl_machine *machine, unsigned slot, const struct card_descriptor *d,
                          struct error *err)
{
    struct launch launch = begin(machine, KERNEL_ROUTER, slot);
    operand(&launch, d->dst);
    operand(&launch, d->src);
    word(&launch, d->rows);
    word(&launch, d->cols);
    word(&launch, d->param[0]);
    word(&launch, d->flags);
    return go_items(&launch, (uint64_t)d->tokens * 64, 64, err);
}

static int enqueue_glu(struct opencl_machine *machine, unsigned slot, const struct card_descriptor *d,
                       struct error *err)
{
    const uint64_t n = (uint64_t)d->tokens * d->cols;
    struct launch launch = begin(machine, KERNEL_GLU, slot);
    operand(&launch, d->dst);
    operand(&launch, d->src);
    operand(&launch, d->weight);
    wide(&launch, n);
    return go_items(&launch, n, 64, err);
}

static int enqueue_expert_sum(struct opencl_machine *machine, unsigned slot, const struct card_descriptor *d,
                              struct error *err)
{
    struct launch launch = begin(machine, KERNEL_EXPERT_SUM, slot);
    operand(&launch, d->dst);
    operand(&launch, d->src);
    operand(&launch, d->aux);
    word(&launch, d->tokens);
    word(&launch, d->cols);
    word(&launch, d->param[0]);
    return go_items(&launch, (uint64_t)d->tokens * d->cols, 64, err);
}

static int enqueue_gather(struct opencl_machine *machine, unsigned slot, const struct card_descriptor *d,
                          struct error *err)
{
    struct launch launch = begin(machine, KERNEL_GATHER, slot);
    operand(&launch, d->dst);
    operand(&launch, d->src);
    operand(&launch, d->aux);
    word(&launch, d->tokens);
    word(&launch, d->cols);
    return go_items(&launch, (uint64_t)d->tokens * d->cols, 64, err);
}

static enqueue_fn *const operations[CARD_OPCODE_END] = {
    [CARD_OP_NORM] = enqueue_norm,         [CARD_OP_QUANTIZE] = enqueue_quantize,
    [CARD_OP_MATMUL] = enqueue_matmul,     [CARD_OP_ROPE] = enqueue_rope,
    [CARD_OP_KV_WRITE] = enqueue_kv_write, [CARD_OP_ATTENTION] = enqueue_attention,
    [CARD_OP_ROUTER] = enqueue_router,     [CARD_OP_EXPERT_MATMUL] = enqueue_expert_matmul,
    [CARD_OP_GLU] = enqueue_glu,           [CARD_OP_EXPERT_SUM] = enqueue_expert_sum,
    [CARD_OP_GATHER] = enqueue_gather,
};

static void account_shapes(struct opencl_account *account, const struct card_descriptor *d)
{
    const uint64_t matrix = (uint64_t)d->rows * d->cols;
    account->descriptors++;
    if (d->opcode == CARD_OP_MATMUL) {
        account->weight_bytes += card_matrix_bytes(d->format, d->rows, d->cols);
        account->multiply_adds += matrix * d->tokens;
    }
    if (d->opcode == CARD_OP_EXPERT_MATMUL) account->multiply_adds += matrix * d->tokens * d->param[0];
    if (d->opcode == CARD_OP_KV_WRITE) account->kv_bytes += 2 * matrix * d->tokens * card_kv_element_bytes(d->format);
}

int opencl_enqueue(struct opencl_machine *machine, unsigned slot, const struct card_descriptor *program,
                   unsigned n_descriptors, struct opencl_account *account, struct error *err)
{
    struct check *checks = calloc(n_descriptors + 1u, sizeof *checks);
    if (!checks) return error_set(err, ERROR_NO_MEMORY, "opencl: no memory for a program's checks");
    const unsigned n_checks = plan_checks(machine, program, n_descriptors, checks);
    unsigned check = 0;
    int rc = 0;
    for (unsigned i = 0; i < n_descriptors && !rc; i++) {
        const struct card_descriptor *d = &program[i];
        if (check < n_checks && checks[check].d == d) rc = enqueue_batch_check(machine, slot, &checks[check++], i, err);
        if (!rc && d->opcode == CARD_OP_EXPERT_MATMUL) rc = enqueue_slot_check(machine, slot, d, i, err);
        if (!rc && d->opcode == CARD_OP_GATHER) rc = enqueue_index_check(machine, slot, d, i, err);
        if (!rc) rc = operations[d->opcode](machine, slot, d, err);
        account_shapes(account, d);
    }
    free(checks);
    return rc;
}

/* ---- what a status says: words as in kernels/opencl/prelude.cl, texts as the simulator's ---- */

int opencl_status_error(const uint32_t status[OPENCL_STATUS_WORDS], unsigned opcode, struct error *err)
{
    if (status[0] == 0) return 0;
    const uint32_t item = status[2];
    const uint64_t value = status[4] | (uint64_t)status[5] << 32, limit = status[6] | (uint64_t)status[7] << 32;
    switch (status[1]) {
    case 1:
        error_set(err, ERROR_CARD, "batch table: token %u: position %" PRIu64 ", a card counts to %u", item, value,
                  CARD_MAX_POSITIONS - 1);
        break;
    case 2:
        error_set(err, ERROR_CARD,
                  "batch table: token %u: page entry %" PRIu64 " lies past the end of the table's allocation (%" PRIu64
                  " entries)",
                  item, value, limit);
        break;
    case 3:
        error_set(err, ERROR_CARD, "batch table: token %u: page number %" PRIu64 ", the pool has %" PRIu64 " pages",
                  item, value, limit);
        break;
    case 4:
        error_set(err, ERROR_CARD, "choice %u: expert %" PRIu64 ", the slot table has %" PRIu64, item, value, limit);
        break;
    case 5:
        error_set(err, ERROR_CARD,
                  "slot of expert %u: no matrix of %" PRIu64 " bytes can lie at bank %u offset 0x%" PRIx64
                  " (outside every allocation, or not aligned)",
                  item, limit, CARD_ADDR_BANK(value), (uint64_t)CARD_ADDR_OFFSET(value));
        break;
    case 6: error_set(err, ERROR_CARD, "index %u: row %" PRIu64 " of %" PRIu64, item, value, limit); break;
    case OPENCL_FOLLOWS: return error_set(err, ERROR_CARD, "an event that this was to follow failed");
    default: return error_set(err, ERROR_CARD, "opencl: the program's status is none (%u, %u)", status[0], status[1]);
    }
    return error_prefix(err, "descriptor %u (%s)", status[0] - 1, card_opcode_name(opcode));
}
