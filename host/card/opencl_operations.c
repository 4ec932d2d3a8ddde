/* SPDX-License-Identifier: Apache-2.0 */
/* Each operation's kernels: arguments as in kernels/opencl. */
#include "host/card/opencl_launch.h"
#include "kernels/abi/card_operands.h"

#define ITEMS 64u         /* of a group, in kernels that work float by float or vector by vector */
#define INDEX_ITEMS 128u  /* of a group of INDEX, which does one token */
#define INDEX_CHUNK 1024u /* as in kernels/opencl/index.cl */
#define INDEX_TOKENS 64u  /* tokens of INDEX at once: each has lists in the scratch memory */

typedef int enqueue_fn(const struct opencl_run *run, const struct card_descriptor *d, const struct card_descriptor *e,
                       struct error *err);

static int has(const struct card_descriptor *d, unsigned flag) { return d && (d->flags & flag) != 0; }

/* The operand if the condition holds. */
static card_addr only_if(int condition, card_addr address) { return condition ? address : OPENCL_ABSENT; }

static uint64_t floats(const struct card_descriptor *d) { return (uint64_t)d->tokens * d->cols; }

/* ---- float by float ---- */

static int enqueue_norm(const struct opencl_run *run, const struct card_descriptor *d, const struct card_descriptor *e,
                        struct error *err)
{
    (void)e;
    const struct opencl_arguments arguments = {OPERANDS(d->dst, d->src,
                                                        only_if(!has(d, CARD_FLAG_UNWEIGHTED), d->weight),
                                                        only_if(has(d, CARD_FLAG_BIAS), d->aux)),
                                               WORDS(d->rows, d->cols, d->param[0], d->flags)};
    return opencl_launch(run, KERNEL_NORM, &arguments, (uint64_t)d->tokens * d->rows * ITEMS, ITEMS, err);
}

/* QUANTIZE of f32[tokens][cols]; also of queries, for pages of integers. */
static int quantize(const struct opencl_run *run, card_addr dst, card_addr src, uint32_t tokens, uint32_t cols,
                    struct error *err)
{
    const struct opencl_arguments arguments = {OPERANDS(dst, src), WORDS(tokens, cols)};
    return opencl_launch(run, KERNEL_QUANTIZE, &arguments, tokens * card_act_groups(cols), ITEMS, err);
}

static int enqueue_quantize(const struct opencl_run *run, const struct card_descriptor *d,
                            const struct card_descriptor *e, struct error *err)
{
    (void)e;
    return quantize(run, d->dst, d->src, d->tokens, d->cols, err);
}

static int enqueue_rope(const struct opencl_run *run, const struct card_descriptor *d, const struct card_descriptor *e,
                        struct error *err)
{
    (void)e;
    const struct opencl_arguments arguments = {
        OPERANDS(d->dst, d->weight, d->aux),
        WORDS(d->tokens, d->rows, d->cols, d->param[0], d->param[1], d->param[2], d->flags)};
    return opencl_launch(run, KERNEL_ROPE, &arguments, (uint64_t)d->tokens * (d->param[0] / 2), ITEMS, err);
}

static int enqueue_glu(const struct opencl_run *run, const struct card_descriptor *d, const struct card_descriptor *e,
                       struct error *err)
{
    (void)e;
    const struct opencl_arguments arguments = {
        OPERANDS(d->dst, d->src, only_if(!has(d, CARD_FLAG_UNWEIGHTED), d->weight)),
        WORDS(d->tokens, d->cols, d->format, d->param[0], d->param[1], d->flags)};
    return opencl_launch(run, KERNEL_GLU, &arguments, floats(d), ITEMS, err);
}

/* ADD and SCALE. */
static int enqueue_factor(const struct opencl_run *run, const struct card_descriptor *d,
                          const struct card_descriptor *e, struct error *err)
{
    (void)e;
    const int add = d->opcode == CARD_OP_ADD;
    const struct opencl_arguments arguments = {
        OPERANDS(d->dst, d->src, only_if(add || has(d, CARD_FLAG_PER_TOKEN), d->weight)),
        WORDS(d->tokens, d->cols, d->param[0], d->flags)};
    return opencl_launch(run, add ? KERNEL_ADD : KERNEL_SCALE, &arguments, floats(d), ITEMS, err);
}

static int enqueue_soft_cap(const struct opencl_run *run, const struct card_descriptor *d,
                            const struct card_descriptor *e, struct error *err)
{
    (void)e;
    const struct opencl_arguments arguments = {OPERANDS(d->dst, d->src), WORDS(d->tokens, d->cols, d->param[0])};
    return opencl_launch(run, KERNEL_SOFT_CAP, &arguments, floats(d), ITEMS, err);
}

static int enqueue_decay(const struct opencl_run *run, const struct card_descriptor *d, const struct card_descriptor *e,
                         struct error *err)
{
    (void)e;
    const struct opencl_arguments arguments = {OPERANDS(d->dst, d->src, d->weight, d->aux), WORDS(d->tokens, d->cols)};
    return opencl_launch(run, KERNEL_DECAY, &arguments, floats(d), ITEMS, err);
}

static int enqueue_gather(const struct opencl_run *run, const struct card_descriptor *d,
                          const struct card_descriptor *e, struct error *err)
{
    (void)e;
    const struct opencl_arguments arguments = {OPERANDS(d->dst, d->src, d->aux), WORDS(d->tokens, d->cols)};
    return opencl_launch(run, KERNEL_GATHER, &arguments, floats(d), ITEMS, err);
}

static int enqueue_copy(const struct opencl_run *run, const struct card_descriptor *d, const struct card_descriptor *e,
                        struct error *err)
{
    (void)e;
    const struct opencl_arguments arguments = {OPERANDS(d->dst, d->src), WORDS(d->tokens, d->rows, d->cols, d->param[0],
                                                                               d->param[1], d->param[2], d->param[3])};
    return opencl_launch(run, KERNEL_COPY, &arguments, floats(d) * d->rows, ITEMS, err);
}

/* ---- matrices ---- */

static enum opencl_kernel of_format(enum opencl_kernel first, unsigned format)
{
    return (enum opencl_kernel)((unsigned)first + format - CARD_FORMAT_INT4);
}

static uint32_t tiles_of(uint32_t rows) { return (rows + CARD_TILE_ROWS - 1) / CARD_TILE_ROWS; }

/* What lies in one bank: part k of a matrix that is dealt over `banks`. */
static int enqueue_dealt(const struct opencl_run *run, const struct card_descriptor *d, uint32_t k, uint32_t banks,
                         struct error *err)
{
    const uint32_t base = CARD_ADDR_BANK(d->weight), first = banks > 1 ? (k + banks - base) % banks : 0;
    const uint32_t tiles = tiles_of(d->rows);
    const int one = d->tokens == 1, plain = d->format == CARD_FORMAT_F32;
    const card_addr matrix = banks > 1 ? CARD_ADDR(k, CARD_ADDR_OFFSET(d->weight)) : d->weight;
    if (first >= tiles) return 0;
    const struct opencl_arguments arguments = {
        OPERANDS(d->dst, d->src, matrix, only_if(has(d, CARD_FLAG_BIAS), d->aux)),
        WORDS(base, banks, plain ? CARD_ADDR_BANK(matrix) : first, d->tokens, d->rows, d->cols, d->flags)};
    if (plain) return opencl_launch(run, KERNEL_MATMUL_F32, &arguments, (uint64_t)d->tokens * d->rows, ITEMS, err);
    return opencl_launch_tiles(run, of_format(one ? KERNEL_MATMUL_1 : KERNEL_MATMUL_8, d->format), &arguments,
                               (tiles - first + banks - 1) / banks, one ? 1 : (d->tokens + 7) / 8, err);
}

static int enqueue_matmul(const struct opencl_run *run, const struct card_descriptor *d,
                          const struct card_descriptor *e, struct error *err)
{
    (void)e;
    const uint32_t banks = d->param[0] > 1 ? d->param[0] : 1;
    int rc = 0;
    for (uint32_t k = 0; k < banks && !rc; k++) rc = enqueue_dealt(run, d, k, banks, err);
    return rc;
}

/* A launch for each bank: an expert's matrix may lie in any, and a kernel sees the memory that it is given. */
static int enqueue_expert_matmul(const struct opencl_run *run, const struct card_descriptor *d,
                                 const struct card_descriptor *e, struct error *err)
{
    const uint32_t outputs = d->tokens * d->param[0];
    const int per_choice = has(d, CARD_FLAG_PER_CHOICE), bias = has(e, CARD_FLAG_BIAS);
    const uint32_t divisor = per_choice ? 1 : d->param[0];
    const uint32_t flags = (d->flags & (unsigned)CARD_FLAG_EACH) | (bias ? (unsigned)CARD_FLAG_BIAS : 0u);
    const card_addr choices = only_if(!has(d, CARD_FLAG_EACH), d->aux), biases = bias ? e->src : OPENCL_ABSENT;
    int rc = 0;
    const int plain = d->format == CARD_FORMAT_F32;
    for (uint32_t b = 0; b < run->machine->n_banks && !rc; b++) {
        const struct opencl_arguments arguments = {
            OPERANDS(d->dst, d->src, d->weight, choices, biases, CARD_ADDR(b, 0)),
            WORDS(b, d->param[2], d->param[0], plain || per_choice ? outputs : d->tokens, divisor, d->rows, d->cols,
                  flags)};
        rc = plain ? opencl_launch(run, KERNEL_EXPERT_F32, &arguments, (uint64_t)outputs * d->rows, ITEMS, err)
                   : opencl_launch_tiles(run, of_format(KERNEL_EXPERT, d->format), &arguments, tiles_of(d->rows),
                                         outputs, err);
    }
    return rc;
}

/* ---- choices ---- */

static int enqueue_router(const struct opencl_run *run, const struct card_descriptor *d,
                          const struct card_descriptor *e, struct error *err)
{
    (void)e;
    const struct opencl_arguments arguments = {
        OPERANDS(d->dst, d->src, only_if(has(d, CARD_FLAG_BIAS), d->aux)),
        WORDS(d->rows, d->cols, d->format, d->param[0], d->param[1], d->param[2], d->flags)};
    return opencl_launch(run, KERNEL_ROUTER, &arguments, (uint64_t)d->tokens * ITEMS, ITEMS, err);
}

static int enqueue_top_k(const struct opencl_run *run, const struct card_descriptor *d, const struct card_descriptor *e,
                         struct error *err)
{
    (void)e;
    const struct opencl_arguments arguments = {OPERANDS(d->dst, d->src), WORDS(d->rows, d->cols)};
    return opencl_launch(run, KERNEL_TOP_K, &arguments, (uint64_t)d->tokens * ITEMS, ITEMS, err);
}

static int enqueue_expert_sum(const struct opencl_run *run, const struct card_descriptor *d,
                              const struct card_descriptor *e, struct error *err)
{
    (void)e;
    const struct opencl_arguments arguments = {OPERANDS(d->dst, d->src, only_if(!has(d, CARD_FLAG_UNWEIGHTED), d->aux)),
                                               WORDS(d->tokens, d->cols, d->param[0], d->flags)};
    return opencl_launch(run, KERNEL_EXPERT_SUM, &arguments, floats(d), ITEMS, err);
}

static int enqueue_expert_spread(const struct opencl_run *run, const struct card_descriptor *d,
                                 const struct card_descriptor *e, struct error *err)
{
    (void)e;
    const struct opencl_arguments arguments = {OPERANDS(d->dst, d->src, d->aux),
                                               WORDS(d->tokens, d->cols, d->param[0])};
    return opencl_launch(run, KERNEL_EXPERT_SPREAD, &arguments, floats(d) * d->param[0], ITEMS, err);
}

/* The choices, then, as a kernel of its own, the word that tells of them; and the device is to start. */
static int enqueue_publish(const struct opencl_run *run, const struct card_descriptor *d,
                           const struct card_descriptor *e, struct error *err)
{
    (void)e;
    const uint32_t words = d->rows * (uint32_t)(sizeof(struct card_choice) / 4);
    const struct opencl_arguments choices = {OPERANDS(d->dst + CARD_WORD_BYTES, d->src),
                                             WORDS(d->tokens, 1, words, words, 0, words, 0)};
    const struct opencl_arguments word = {OPERANDS(d->dst), WORDS(d->param[0])};
    int rc = opencl_launch(run, KERNEL_COPY, &choices, (uint64_t)d->tokens * words, ITEMS, err);
    if (!rc) rc = opencl_launch(run, KERNEL_PUBLISH, &word, 1, 1, err);
    if (rc) return rc;
    const cl_int status = clFlush(run->machine->compute);
    return status == CL_SUCCESS ? 0 : opencl_fail(err, "clFlush", status);
}

/* ---- pages ---- */

static struct opencl_pool pool_of(const struct card_descriptor *d, const struct card_descriptor *e)
{
    return (struct opencl_pool){.address = d->opcode == CARD_OP_KV_WRITE ? d->dst : d->weight,
                                .page_bytes = card_pool_page_bytes(d, e),
                                .banks = card_pool_banks(d, e)};
}

static int is_integer(unsigned format) { return format == CARD_FORMAT_INT8 || format == CARD_FORMAT_INT4; }

static int enqueue_kv_write(const struct opencl_run *run, const struct card_descriptor *d,
                            const struct card_descriptor *e, struct error *err)
{
    const struct opencl_pool pool = pool_of(d, e);
    const struct opencl_arguments arguments = {
        .pool = &pool,
        OPERANDS(d->src, only_if(d->param[1] != 0, d->weight), d->aux),
        WIDES(card_page_block_bytes(d->format, d->cols), card_page_block_bytes(d->format, d->param[1])),
        WORDS(d->tokens, d->rows, d->cols, d->param[1], d->format)};
    return opencl_launch(run, KERNEL_KV_WRITE, &arguments, (uint64_t)d->tokens * ITEMS, ITEMS, err);
}

static int enqueue_attention(const struct opencl_run *run, const struct card_descriptor *d,
                             const struct card_descriptor *e, struct error *err)
{
    static const struct card_descriptor nothing;
    const uint32_t values = card_attention_values(d, e);
    const struct opencl_pool pool = pool_of(d, e);
    if (!e) e = &nothing;
    if (is_integer(d->format)) {
        int rc = quantize(run, OPENCL_SCRATCH(0), d->src, d->tokens * d->rows, d->cols, err);
        if (rc) return rc;
    }
    const struct opencl_arguments arguments = {
        .pool = &pool,
        OPERANDS(d->dst, d->src, d->aux, is_integer(d->format) ? OPENCL_SCRATCH(0) : OPENCL_ABSENT,
                 only_if(has(e, CARD_FLAG_SINKS), e->src), only_if(has(e, CARD_FLAG_BIAS), e->weight),
                 only_if(has(e, CARD_FLAG_SPARSE), e->aux)),
        WIDES(card_page_block_bytes(d->format, d->cols), card_page_block_bytes(d->format, values)),
        WORDS(d->tokens, d->rows, d->param[2], d->cols, values, d->param[3], e->param[1], e->param[2], e->param[3],
              d->param[1], e->param[0], d->format, (uint32_t)d->flags | e->flags)};
    return opencl_launch(run, KERNEL_ATTENTION, &arguments, (uint64_t)d->tokens * d->rows * 32, 32, err);
}

/* Bytes of the queries of ATTENTION or INDEX as integers. */
static uint64_t query_bytes(const struct card_descriptor *d)
{
    return is_integer(d->format) ? card_round_up(card_act_bytes(d->tokens * d->rows, d->cols), CARD_WORD_BYTES) : 0;
}

static int enqueue_index(const struct opencl_run *run, const struct card_descriptor *d, const struct card_descriptor *e,
                         struct error *err)
{
    const struct opencl_pool pool = pool_of(d, e);
    int rc = 0;
    if (is_integer(d->format)) rc = quantize(run, OPENCL_SCRATCH(0), d->src, d->tokens * d->rows, d->cols, err);
    for (uint32_t first = 0; first < d->tokens && !rc; first += INDEX_TOKENS) {
        const uint32_t now = d->tokens - first < INDEX_TOKENS ? d->tokens - first : INDEX_TOKENS;
        const struct opencl_arguments arguments = {
            .pool = &pool,
            OPERANDS(d->dst, d->src, d->aux, OPENCL_SCRATCH(0), e->src, OPENCL_SCRATCH(query_bytes(d))),
            WORDS(first, d->tokens, d->rows, d->cols, d->param[3], d->param[1], d->format)};
        rc = opencl_launch(run, KERNEL_INDEX, &arguments, (uint64_t)now * INDEX_ITEMS, INDEX_ITEMS, err);
    }
    return rc;
}

uint64_t opencl_scratch_bytes(const struct card_descriptor *d, const struct card_descriptor *e)
{
    (void)e;
    if (d->opcode == CARD_OP_ATTENTION) return query_bytes(d);
    if (d->opcode != CARD_OP_INDEX) return 0;
    const uint64_t at_once = d->tokens < INDEX_TOKENS ? d->tokens : INDEX_TOKENS;
    return query_bytes(d) + at_once * 4 * ((uint64_t)d->param[3] + INDEX_CHUNK) * sizeof(uint32_t);
}

/* ---- states ---- */

static int enqueue_scan(const struct opencl_run *run, const struct card_descriptor *d, const struct card_descriptor *e,
                        struct error *err)
{
    const struct opencl_arguments arguments = {
        OPERANDS(d->dst, d->src, d->weight, d->aux, e->dst, e->src, e->weight, e->aux),
        WORDS(d->tokens, d->rows, d->cols, d->param[1], d->param[2], d->flags)};
    const uint64_t columns = card_round_up(d->param[1], ITEMS);
    return opencl_launch(run, KERNEL_SCAN, &arguments, (uint64_t)d->tokens * d->rows * columns, ITEMS, err);
}

static int enqueue_conv(const struct opencl_run *run, const struct card_descriptor *d, const struct card_descriptor *e,
                        struct error *err)
{
    const struct opencl_arguments arguments = {
        OPERANDS(d->dst, d->src, d->weight, d->aux, e->dst, only_if(has(e, CARD_FLAG_BIAS), e->src)),
        WORDS(d->tokens, d->cols, d->param[1], e->flags)};
    return opencl_launch(run, KERNEL_CONV, &arguments, d->tokens * card_round_up(d->cols, ITEMS), ITEMS, err);
}

static enqueue_fn *const operations[CARD_OPCODE_END] = {
    [CARD_OP_NORM] = enqueue_norm,         [CARD_OP_QUANTIZE] = enqueue_quantize,
    [CARD_OP_MATMUL] = enqueue_matmul,     [CARD_OP_ROPE] = enqueue_rope,
    [CARD_OP_KV_WRITE] = enqueue_kv_write, [CARD_OP_ATTENTION] = enqueue_attention,
    [CARD_OP_ROUTER] = enqueue_router,     [CARD_OP_EXPERT_MATMUL] = enqueue_expert_matmul,
    [CARD_OP_GLU] = enqueue_glu,           [CARD_OP_EXPERT_SUM] = enqueue_expert_sum,
    [CARD_OP_GATHER] = enqueue_gather,     [CARD_OP_COPY] = enqueue_copy,
    [CARD_OP_ADD] = enqueue_factor,        [CARD_OP_SCALE] = enqueue_factor,
    [CARD_OP_SOFT_CAP] = enqueue_soft_cap, [CARD_OP_TOP_K] = enqueue_top_k,
    [CARD_OP_INDEX] = enqueue_index,       [CARD_OP_SCAN] = enqueue_scan,
    [CARD_OP_CONV] = enqueue_conv,         [CARD_OP_DECAY] = enqueue_decay,
    [CARD_OP_PUBLISH] = enqueue_publish,   [CARD_OP_EXPERT_SPREAD] = enqueue_expert_spread,
};

int opencl_enqueue_operation(const struct opencl_run *run, const struct card_descriptor *d,
                             const struct card_descriptor *e, struct error *err)
{
    return operations[d->opcode](run, d, e, err);
}
