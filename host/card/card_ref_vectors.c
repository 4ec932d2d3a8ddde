/* SPDX-License-Identifier: Apache-2.0 */
/* The float reference: operations on vectors, element by element or vector by vector. */
#include "host/card/card_ref.h"

void ref_norm(const struct sim_step *s)
{
    const size_t n = s->d->cols, vectors = (size_t)s->d->tokens * s->d->rows;
    for (size_t v = 0; v < vectors; v++) {
        const size_t weights = sim_step_has(s, CARD_FLAG_EACH) ? v % s->d->rows : 0;
        const float *src = ref_row(s->src, v, n), *weight = s->weight ? ref_row(s->weight, weights, n) : NULL;
        const float *bias = s->aux ? ref_row(s->aux, weights, n) : NULL;
        float *dst = ref_result(s, v, n);
        double mean = 0, square = 0;
        for (size_t i = 0; i < n && sim_step_has(s, CARD_FLAG_LAYER); i++) mean += src[i] / (double)n;
        for (size_t i = 0; i < n; i++) square += (src[i] - mean) * (src[i] - mean);
        if (!sim_step_has(s, CARD_FLAG_SUM)) square /= (double)n;
        const double length = sqrt(square + sim_step_float(s, 0));
        for (size_t i = 0; i < n; i++) {
            dst[i] = (float)((src[i] - mean) / length * (weight ? weight[i] : 1) + (bias ? bias[i] : 0));
        }
    }
}

/* One group of act[T][C]: up to n <= 32 values at x; the others are zeros. */
static void quantize_group(const float *x, size_t n, int8_t *value, float *scale, int32_t *sum)
{
    float largest = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(largest) || !isfinite(x[i]))
            largest = NAN;
        else
            largest = fmaxf(largest, fabsf(x[i]));
    }
    *scale = largest / 127.0f;
    if (*scale < 0x1p-64f) *scale = 0;
    *sum = 0;
    for (size_t i = 0; i < CARD_GROUP_COLS; i++) {
        value[i] = i<n && * scale> 0 ? (int8_t)lrint(x[i] / (double)*scale) : 0;
        *sum += value[i];
    }
}

/* Writes the act layout, so that a program with QUANTIZE runs here too; no operation of this card reads it. */
void ref_quantize(const struct sim_step *s)
{
    const uint32_t n = s->d->cols, tokens = s->d->tokens;
    const size_t groups = card_act_groups(n);
    uint8_t *base = s->dst;
    for (size_t t = 0; t < tokens; t++) {
        for (size_t g = 0; g < groups; g++) {
            const size_t at = t * groups + g, first = g * CARD_GROUP_COLS, left = n > first ? n - first : 0;
            float scale;
            int32_t sum;
            quantize_group(ref_row(s->src, t, n) + (left ? first : 0), left < CARD_GROUP_COLS ? left : CARD_GROUP_COLS,
                           (int8_t *)base + at * CARD_GROUP_COLS, &scale, &sum);
            memcpy(base + card_act_scale_offset(tokens, n) + at * 4, &scale, 4);
            memcpy(base + card_act_sum_offset(tokens, n) + at * 4, &sum, 4);
        }
    }
}

void ref_rope(const struct sim_step *s)
{
    const struct card_descriptor *d = s->d;
    const size_t half = d->param[0] / 2;
    const float *frequency = s->weight;
    const int interleaved = sim_step_has(s, CARD_FLAG_INTERLEAVED);
    for (size_t v = 0; v < (size_t)d->tokens * d->rows; v++) {
        float *turned = ref_result(s, v, d->cols) + d->param[2];
        for (size_t i = 0; i < half; i++) {
            const double angle = (float)sim_step_batch(s)[v / d->rows].position * frequency[i];
            const double sine = sin(angle) * sim_step_float(s, 1), cosine = cos(angle) * sim_step_float(s, 1);
            float *a = &turned[interleaved ? 2 * i : i], *b = &turned[interleaved ? 2 * i + 1 : i + half];
            const double x = *a, y = *b;
            *a = (float)(x * cosine - y * sine);
            *b = (float)(y * cosine + x * sine);
        }
    }
}

static double gelu_tanh(double x) { return x / 2 * (1 + tanh(sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x))); }

static double activate(const struct sim_step *s, double x)
{
    switch (s->d->format) {
    case CARD_ACTIVATION_SILU: return x * ref_sigmoid(x);
    case CARD_ACTIVATION_GELU: return gelu_tanh(x);
    case CARD_ACTIVATION_GELU_ERF: return x / 2 * erfc(-x / sqrt(2.0));
    case CARD_ACTIVATION_RELU: return x > 0 || isnan(x) ? x : 0;
    case CARD_ACTIVATION_SIGMOID: return ref_sigmoid(x);
    default: return x * ref_sigmoid(sim_step_float(s, 1) * x); /* SWIGLU_OAI */
    }
}

void ref_glu(const struct sim_step *s)
{
    const size_t n = s->d->cols;
    const double limit = sim_step_float(s, 0);
    for (size_t i = 0; i < s->d->tokens * n; i++) {
        double x = *ref_row(s->src, sim_step_has(s, CARD_FLAG_BROADCAST) ? i / n : i, 1);
        double y = s->weight ? *ref_row(s->weight, i, 1) : 1;
        if (limit != 0) {
            if (x > limit) x = limit;
            if (s->weight && fabs(y) > limit) y = copysign(limit, y);
        }
        if (s->weight && s->d->format == CARD_ACTIVATION_SWIGLU_OAI) y += 1;
        *ref_result(s, i, 1) = (float)(activate(s, x) * y);
    }
}

void ref_gather(const struct sim_step *s)
{
    const size_t n = s->d->cols;
    const uint32_t *index = s->aux;
    for (size_t t = 0; t < s->d->tokens; t++) memcpy(ref_result(s, t, n), ref_row(s->src, index[t], n), n * 4);
}

void ref_copy(const struct sim_step *s)
{
    const uint32_t *stride = s->d->param;
    for (size_t t = 0; t < s->d->tokens; t++) {
        for (size_t r = 0; r < s->d->rows; r++) {
            memcpy((float *)s->dst + t * stride[2] + r * stride[3],
                   (const float *)s->src + t * stride[0] + r * stride[1], (size_t)s->d->cols * 4);
        }
    }
}

void ref_add(const struct sim_step *s)
{
    const size_t n = s->d->cols;
    for (size_t i = 0; i < s->d->tokens * n; i++) {
        const double added = *ref_row(s->weight, sim_step_has(s, CARD_FLAG_BROADCAST) ? i % n : i, 1);
        *ref_result(s, i, 1) = (float)(*ref_row(s->src, i, 1) + sim_step_float(s, 0) * added);
    }
}

void ref_scale(const struct sim_step *s)
{
    const size_t n = s->d->cols;
    for (size_t i = 0; i < s->d->tokens * n; i++) {
        const double of_token = s->weight ? *ref_row(s->weight, i / n, 1) : 1;
        *ref_result(s, i, 1) = (float)(*ref_row(s->src, i, 1) * of_token * sim_step_float(s, 0));
    }
}

void ref_soft_cap(const struct sim_step *s)
{
    const double cap = sim_step_float(s, 0);
    for (size_t i = 0; i < (size_t)s->d->tokens * s->d->cols; i++) {
        *ref_result(s, i, 1) = (float)(cap * tanh(*ref_row(s->src, i, 1) / cap));
    }
}

void ref_decay(const struct sim_step *s)
{
    const size_t n = s->d->cols;
    for (size_t i = 0; i < s->d->tokens * n; i++) {
        const double x = (double)*ref_row(s->src, i, 1) + *ref_row(s->aux, i % n, 1);
        const double softplus = x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
        *ref_result(s, i, 1) = (float)(*ref_row(s->weight, i % n, 1) * softplus);
    }
}
