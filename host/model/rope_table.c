/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/model_internal.h"

#include <math.h>

/*
 * Logarithm and exponential in float64 by their series, of +, -, * and / alone: libm's powf may differ by a bit from one
 * C library to the next, and with it every token. The relative error is below 2^-46, so the float32 made of it is the
 * nearest one but for one case in millions.
 */
static double series_log(double x)
{
    int exponent;
    double mantissa = frexp(x, &exponent); /* exact */
    if (mantissa < 0x1.6a09e667f3bcdp-1) { /* sqrt(1/2): the series wants a mantissa near 1 */
        mantissa *= 2.0;
        exponent--;
    }
    double ratio = (mantissa - 1.0) / (mantissa + 1.0), square = ratio * ratio, sum = 0.0;
    for (int k = 31; k >= 1; k -= 2) sum = sum * square + 1.0 / k;
    return 2.0 * ratio * sum + exponent * 0x1.62e42fefa39efp-1;
}

static double series_exp(double x)
{
    int power = (int)(x * 0x1.71547652b82fep+0 + (x < 0 ? -0.5 : 0.5));
    double rest = x - power * 0x1.62e42fefa39efp-1, sum = 1.0;
    for (int k = 18; k >= 1; k--) sum = 1.0 + sum * rest / k;
    return ldexp(sum, power); /* exact */
}

float rope_power(float base, float exponent) { return (float)series_exp((double)exponent * series_log((double)base)); }

/*
 * In float32 step by step, as transformers computes it (modeling_rope_utils.py: 1 / base ** (arange(0, dim, 2) / dim)):
 * the references' angles come from these very roundings. rope_freqs.weight is Llama-3's scaling, one divisor for each
 * frequency.
 */
int rope_table(const struct model *model, float *out, struct error *err)
{
    const struct model_config *config = &model->config;
    const struct gguf_tensor *divisors = tensor_table_get(&model->table, TENSOR_ROPE_FREQS, 0)->tensor;
    uint32_t n = config->rope_dims / 2;
    for (uint32_t i = 0; i < n; i++) {
        out[i] = 1.0f / rope_power(config->rope_theta, (float)(2 * i) / (float)config->rope_dims);
        if (config->rope_scaling == ROPE_SCALING_LINEAR) out[i] /= config->rope_scaling_factor;
        if (divisors == NULL) continue;
        float divisor;
        size_t offset = (size_t)i * gguf_block_bytes(divisors->type);
        gguf_decode(divisors->type, divisors->data + offset, 1, &divisor);
        if (!isfinite(divisor) || divisor <= 0.0f)
            return error_set(err, ERROR_BAD_FILE, "tensor rope_freqs.weight: element %u is %g (must be above 0)", i,
                             (double)divisor);
        out[i] /= divisor;
    }
    return 0;
}
