/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The float reference: a card in plain C, one readable function per operation, weights as floats only, libm's functions
 * and sums in double. It shares no arithmetic with the simulator, so that one checks the other and both check the model
 * families against outside references. Speed is no aim.
 */
#include "host/card/card_host_memory.h"
#include "kernels/abi/card_math.h"
#include "sim/step.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ref_card {
    struct host_memory_card host;
};

/* ---- helpers ---- */

static const float *floats_at(const void *base, size_t row, size_t cols) { return (const float *)base + row * cols; }

static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

/* Element `index` of a KV page. */
static float load_element(const uint8_t *page, unsigned format, size_t index)
{
    if (format == CARD_FORMAT_F16) return card_f16_to_f32(load_u16(page + 2 * index));
    return load_f32(page + 4 * index);
}

static void store_element(uint8_t *page, unsigned format, size_t index, float value)
{
    if (format == CARD_FORMAT_F16)
        store_u16(page + 2 * index, card_f32_to_f16(value));
    else
        memcpy(page + 4 * index, &value, sizeof value);
}

/* Offset in the pool of the page that holds a position of the token's sequence. */
static size_t page_offset(const struct sim_step *s, uint32_t token, uint32_t position, uint32_t kv_heads)
{
    size_t entry = (size_t)sim_step_batch(s)[token].first_page + position / CARD_PAGE_TOKENS;
    return (size_t)sim_step_pages(s)[entry] * card_page_bytes(s->d->format, kv_heads, s->d->cols);
}

/* Index in its page of a position's first key element for one KV head. */
static size_t key_index(uint32_t position, uint32_t kv_head, uint32_t cols)
{
    return ((size_t)kv_head * CARD_PAGE_TOKENS + position % CARD_PAGE_TOKENS) * cols;
}

/* ---- the operations ---- */

static void norm(const struct sim_step *s)
{
    const size_t n = s->d->cols, vectors = (size_t)s->d->tokens * s->d->rows;
    const float *weight = s->weight;
    for (size_t v = 0; v < vectors; v++) {
        const float *src = floats_at(s->src, v, n);
        float *dst = (float *)s->dst + v * n;
        double rms = sqrt(dot(src, src, n) / (double)n + sim_step_float(s, 0));
        for (size_t i = 0; i < n; i++) dst[i] = (float)(src[i] / rms * weight[i]);
    }
}

/* Rounds to the integers of the act layout, so that a program with QUANTIZE runs here too; nothing here reads them. */
static void quantize(const struct sim_step *s)
{
    const uint32_t n = s->d->cols, tokens = s->d->tokens, groups = (uint32_t)card_act_groups(n);
    uint8_t *base = s->dst;
    for (size_t t = 0; t < tokens; t++) {
        const float *x = floats_at(s->src, t, n);
        for (size_t g = 0; g < groups; g++) {
            float largest = 0;
            int32_t sum = 0;
            for (size_t i = g * 32; i < g * 32 + 32 && i < n; i++) largest = fmaxf(largest, fabsf(x[i]));
            for (size_t i = g * 32; i < g * 32 + 32; i++) {
                float ratio = i < n && largest > 0 && isfinite(largest) ? x[i] / largest * 127.0f : 0.0f;
                int8_t value = isfinite(ratio) ? (int8_t)lrintf(ratio) : (int8_t)0;
                base[t * groups * 32 + i] = (uint8_t)value;
                sum += value;
            }
            float scale = largest / 127.0f;
            memcpy(base + card_act_scale_offset(tokens, n) + (t * groups + g) * 4, &scale, 4);
            memcpy(base + card_act_sum_offset(tokens, n) + (t * groups + g) * 4, &sum, 4);
        }
    }
}

static void matmul(const struct sim_step *s)
{
    const struct card_descriptor *d = s->d;
    for (size_t t = 0; t < d->tokens; t++) {
        for (size_t r = 0; r < d->rows; r++) {
            double sum = dot(floats_at(s->weight, r, d->cols), floats_at(s->src, t, d->cols), d->cols);
            float *dst = (float *)s->dst + t * d->rows + r;
            if (d->flags & CARD_FLAG_BIAS) sum += ((const float *)s->aux)[r];
            if (d->flags & CARD_FLAG_ADD) sum += *dst;
            *dst = (float)sum;
        }
    }
}

static void rope(const struct sim_step *s)
{
    const struct card_descriptor *d = s->d;
    const size_t half = d->param[0] / 2;
    const float *frequency = s->weight;
    const int interleaved = d->flags & CARD_FLAG_INTERLEAVED;
    for (size_t v = 0; v < (size_t)d->tokens * d->rows; v++) {
        float *head = (float *)s->dst + v * d->cols;
        for (size_t i = 0; i < half; i++) {
            float angle = (float)sim_step_batch(s)[v / d->rows].position * frequency[i];
            float sine = sinf(angle) * sim_step_float(s, 1), cosine = cosf(angle) * sim_step_float(s, 1);
            float *a = &head[interleaved ? 2 * i : i], *b = &head[interleaved ? 2 * i + 1 : i + half];
            float x = *a, y = *b;
            *a = x * cosine - y * sine;
            *b = y * cosine + x * sine;
        }
    }
}

static void kv_write(const struct sim_step *s)
{
    const struct card_descriptor *d = s->d;
    for (uint32_t t = 0; t < d->tokens; t++) {
        uint32_t position = sim_step_batch(s)[t].position;
        uint8_t *page = (uint8_t *)s->dst + page_offset(s, t, position, d->rows);
        size_t values = (size_t)d->rows * CARD_PAGE_TOKENS * d->cols;
        for (uint32_t h = 0; h < d->rows; h++) {
            size_t at = key_index(position, h, d->cols);
            const float *key = floats_at(s->src, (size_t)t * d->rows + h, d->cols);
            const float *value = floats_at(s->weight, (size_t)t * d->rows + h, d->cols);
            for (size_t i = 0; i < d->cols; i++) store_element(page, d->format, at + i, key[i]);
            for (size_t i = 0; i < d->cols; i++) store_element(page, d->format, values + at + i, value[i]);
        }
    }
}

/* query . key of one position, times P1. */
static double score(const struct sim_step *s, uint32_t token, const float *query, uint32_t kv_head, uint32_t position)
{
    const struct card_descriptor *d = s->d;
    const uint8_t *page = (const uint8_t *)s->weight + page_offset(s, token, position, d->param[2]);
    size_t at = key_index(position, kv_head, d->cols);
    double sum = 0;
    for (size_t i = 0; i < d->cols; i++) sum += (double)query[i] * load_element(page, d->format, at + i);
    return sum * sim_step_float(s, 1);
}

/* One query head of one token: two passes over the positions, the first finds the largest score. */
static void attend(const struct sim_step *s, uint32_t token, uint32_t head)
{
    const struct card_descriptor *d = s->d;
    const uint32_t kv_head = head / (d->rows / d->param[2]);
    const uint32_t last = sim_step_batch(s)[token].position, first = sim_step_first_seen(s, last);
    const size_t values = (size_t)d->param[2] * CARD_PAGE_TOKENS * d->cols;
    const float *query = floats_at(s->src, (size_t)token * d->rows + head, d->cols);
    float *dst = (float *)s->dst + ((size_t)token * d->rows + head) * d->cols;
    double acc[CARD_MAX_HEAD_DIM] = {0}, largest = -INFINITY, sum = 0;

    for (uint32_t p = first; p <= last; p++) largest = fmax(largest, score(s, token, query, kv_head, p));
    for (uint32_t p = first; p <= last; p++) {
        const uint8_t *page = (const uint8_t *)s->weight + page_offset(s, token, p, d->param[2]);
        const size_t at = values + key_index(p, kv_head, d->cols);
        const double weight = exp(score(s, token, query, kv_head, p) - largest);
        sum += weight;
        for (size_t i = 0; i < d->cols; i++) acc[i] += weight * load_element(page, d->format, at + i);
    }
    for (size_t i = 0; i < d->cols; i++) dst[i] = (float)(acc[i] / sum);
}

static void attention(const struct sim_step *s)
{
    for (uint32_t t = 0; t < s->d->tokens; t++) {
        for (uint32_t h = 0; h < s->d->rows; h++) attend(s, t, h);
    }
}

static int is_chosen(const struct card_choice *choice, uint32_t n, uint32_t expert)
{
    for (uint32_t j = 0; j < n; j++) {
        if (choice[j].expert == expert) return 1;
    }
    return 0;
}

static void router(const struct sim_step *s)
{
    const struct card_descriptor *d = s->d;
    for (size_t t = 0; t < d->tokens; t++) {
        const float *logit = floats_at(s->src, t, d->cols);
        struct card_choice *choice = (struct card_choice *)s->dst + t * d->rows;
        for (uint32_t j = 0; j < d->rows; j++) {
            uint32_t best = d->cols;
            for (uint32_t e = 0; e < d->cols; e++) {
                if (is_chosen(choice, j, e)) continue;
                /* Larger wins; equal keeps the lower index; NaN never displaces and is always displaced. */
                if (best == d->cols || logit[e] > logit[best] || (isnan(logit[best]) && !isnan(logit[e]))) best = e;
            }
            choice[j].expert = best;
        }
        double sum = 0, chosen = 0;
        const double largest = logit[choice[0].expert];
        for (uint32_t e = 0; e < d->cols; e++) sum += exp(logit[e] - largest);
        for (uint32_t j = 0; j < d->rows; j++) chosen += exp(logit[choice[j].expert] - largest);
        if (d->flags & CARD_FLAG_RENORMALIZE) sum = chosen;
        for (uint32_t j = 0; j < d->rows; j++) {
            choice[j].weight = (float)(exp(logit[choice[j].expert] - largest) / sum * sim_step_float(s, 0));
        }
    }
}

static void expert_matmul(const struct sim_step *s)
{
    const struct card_descriptor *d = s->d;
    const size_t choices = (size_t)d->tokens * d->param[0];
    for (size_t i = 0; i < choices; i++) {
        const struct card_choice *choice = (const struct card_choice *)s->aux + i;
        const card_addr slot = ((const card_addr *)s->weight)[choice->expert];
        const void *matrix = sim_memory_at(s->memory, slot, card_matrix_bytes(d->format, d->rows, d->cols));
        const float *x = floats_at(s->src, d->flags & CARD_FLAG_PER_CHOICE ? i : i / d->param[0], d->cols);
        float *dst = (float *)s->dst + i * d->rows;
        for (size_t r = 0; r < d->rows; r++) dst[r] = (float)dot(floats_at(matrix, r, d->cols), x, d->cols);
    }
}

static void glu(const struct sim_step *s)
{
    const float *gate = s->src, *up = s->weight;
    float *dst = s->dst;
    for (size_t i = 0; i < (size_t)s->d->tokens * s->d->cols; i++) {
        dst[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
    }
}

static void expert_sum(const struct sim_step *s)
{
    const size_t n = s->d->cols, choices = s->d->param[0];
    const struct card_choice *choice = s->aux;
    for (size_t t = 0; t < s->d->tokens; t++) {
        float *dst = (float *)s->dst + t * n;
        for (size_t i = 0; i < n; i++) {
            double sum = dst[i];
            for (size_t j = t * choices; j < (t + 1) * choices; j++) {
                sum += (double)choice[j].weight * floats_at(s->src, j, n)[i];
            }
            dst[i] = (float)sum;
        }
    }
}

static void gather(const struct sim_step *s)
{
    const size_t n = s->d->cols;
    const uint32_t *index = s->aux;
    for (size_t t = 0; t < s->d->tokens; t++) memcpy((float *)s->dst + t * n, floats_at(s->src, index[t], n), n * 4);
}

/* ---- the backend ---- */

static void (*const operations[CARD_OPCODE_END])(const struct sim_step *s) = {
    [CARD_OP_NORM] = norm,         [CARD_OP_QUANTIZE] = quantize,
    [CARD_OP_MATMUL] = matmul,     [CARD_OP_ROPE] = rope,
    [CARD_OP_KV_WRITE] = kv_write, [CARD_OP_ATTENTION] = attention,
    [CARD_OP_ROUTER] = router,     [CARD_OP_EXPERT_MATMUL] = expert_matmul,
    [CARD_OP_GLU] = glu,           [CARD_OP_EXPERT_SUM] = expert_sum,
    [CARD_OP_GATHER] = gather,
};

static int submit(struct card_backend *backend, const struct card_order *order, const struct card_descriptor *program,
                  unsigned n_descriptors, struct error *err)
{
    (void)order;
    struct host_memory_card *card = host_memory_of(backend);
    for (unsigned i = 0; i < n_descriptors; i++) {
        struct sim_step step;
        sim_step_find(&step, &program[i], &card->memory);
        int rc = sim_step_check(&step, err);
        if (rc) {
            error_prefix(err, "descriptor %u (%s)", i, card_opcode_name(program[i].opcode));
            return rc;
        }
        operations[program[i].opcode](&step);
        sim_account_add(&card->account, &step);
    }
    return 0;
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
    info->kv_formats = 1u << CARD_FORMAT_F32 | 1u << CARD_FORMAT_F16;
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
    .submit = submit,
    .released = host_memory_released,
};
