/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/model_config.h"
#include "host/model/model_internal.h"

#include <math.h>

/*
 * Logarithm and exponential in float64 by their series, of +, -, * and / alone: libm's powf may differ by a bit from one
 * C library to the next, and with it every token. The relative error is below 2^-46, so the float32 made of it is the
 * nearest one but for one case in millions.
 */
double model_log(double x)
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

float rope_power(float base, float exponent) { return (float)series_exp((double)exponent * model_log((double)base)); }

/* The dimension whose frequency turns n times within `context` positions (transformers: find_correction_dim). */
static double turning_dim(const struct model_config *config, float turns)
{
    double ratio = config->rope_original / ((double)turns * 2.0 * 0x1.921fb54442d18p+1);
    return config->rope_dims * model_log(ratio) / (2.0 * model_log((double)config->rope_theta));
}

/*
 * YaRN (Peng et al., 2023, as transformers' _compute_yarn_parameters): frequencies that turn often stay, those that
 * turn rarely are divided by the factor, and between the two there is a ramp.
 */
static void scale_yarn(const struct model_config *config, float *out, uint32_t n)
{
    double low = turning_dim(config, config->yarn_beta_fast), high = turning_dim(config, config->yarn_beta_slow);
    if (!config->yarn_exact_range) low = floor(low), high = ceil(high);
    if (low < 0) low = 0;
    if (high > config->rope_dims - 1.0) high = config->rope_dims - 1.0;
    float first = (float)low, range = (float)(high == low ? 0.001 : high - low);
    for (uint32_t i = 0; i < n; i++) {
        float ramp = ((float)i - first) / range;
        ramp = ramp < 0.0f ? 0.0f : ramp > 1.0f ? 1.0f : ramp;
        float kept = 1.0f - ramp, interpolated = 1.0f / (config->rope_scaling_factor * (1.0f / out[i]));
        out[i] = interpolated * (1.0f - kept) + out[i] * kept;
    }
}

static const struct gguf_tensor *divisors_of(const struct model *model, enum rope_frequencies which)
{
    if (which == ROPE_FREQUENCIES_LOCAL) return NULL;
    return tensor_table_get(&model->table, which == ROPE_FREQUENCIES_LONG ? TENSOR_ROPE_LONG : TENSOR_ROPE_FREQS, 0)
        ->tensor;
}

static int divide(const struct gguf_tensor *divisors, float *out, uint32_t n, struct error *err)
{
    for (uint32_t i = 0; divisors != NULL && i < n; i++) {
        float divisor;
        size_t offset = (size_t)i * gguf_block_bytes(divisors->type);
        gguf_decode(divisors->type, divisors->data + offset, 1, &divisor);
        if (!isfinite(divisor) || divisor <= 0.0f)
            return error_set(err, ERROR_BAD_FILE, "tensor %.*s: element %u is %g (must be above 0)",
                             (int)divisors->name.length, divisors->name.bytes, i, (double)divisor);
        out[i] /= divisor;
    }
    return 0;
}

/* LeRoPE (Mistral Large 4): each frequency times e^alpha. */
static int multiply(const struct gguf_tensor *logarithms, float *out, uint32_t n, struct error *err)
{
    const float e = 2.7182818f;
    float alphas[CARD_MAX_HEAD_DIM / 2];
    uint8_t bytes[sizeof alphas];
    if (logarithms == NULL) return 0;
    if (gguf_block_elements(logarithms->type) != 1 || n > CARD_MAX_HEAD_DIM / 2 || logarithms->n_bytes > sizeof bytes)
        return error_set(err, ERROR_UNSUPPORTED, "tensor %.*s: not in floats", (int)logarithms->name.length,
                         logarithms->name.bytes);
    gguf_read_rows(logarithms, 0, logarithms->n_elements / logarithms->dimension[0], bytes);
    gguf_decode(logarithms->type, bytes, n, alphas);
    for (uint32_t i = 0; i < n; i++) {
        if (!isfinite(alphas[i]))
            return error_set(err, ERROR_BAD_FILE, "tensor %.*s: element %u is infinite or not a number",
                             (int)logarithms->name.length, logarithms->name.bytes, i);
        out[i] *= rope_power(e, alphas[i]);
    }
    return 0;
}

uint32_t rope_table_dims(const struct model *model, enum rope_frequencies which)
{
    if (which == ROPE_FREQUENCIES_LOCAL) return model->config.rope_local_dims;
    if (which == ROPE_FREQUENCIES_LONG && divisors_of(model, which) == NULL) return 0;
    return model->config.rope_dims;
}

/*
 * In float32 step by step, as transformers computes it (modeling_rope_utils.py: 1 / base ** (arange(0, dim, 2) / dim)):
 * the references' angles come from these very roundings. rope_freqs.weight is Llama-3's scaling, one divisor for each
 * frequency; long rope's factors are divisors too. Local layers are never scaled.
 */
int rope_table(const struct model *model, enum rope_frequencies which, float *out, struct error *err)
{
    const struct model_config *config = &model->config;
    bool local = which == ROPE_FREQUENCIES_LOCAL;
    uint32_t dims = rope_table_dims(model, which), n = dims / 2;
    for (uint32_t i = 0; i < n; i++) {
        float theta = local ? config->rope_local_theta : config->rope_theta;
        out[i] = 1.0f / rope_power(theta, (float)(2 * i) / (float)dims);
        if (!local && config->rope_scaling == ROPE_SCALING_LINEAR) out[i] /= config->rope_scaling_factor;
    }
    if (!local && config->rope_scaling == ROPE_SCALING_YARN) scale_yarn(config, out, n);
    int result = local ? 0 : multiply(tensor_table_get(&model->table, TENSOR_ROPE_LOG, 0)->tensor, out, n, err);
    return result < 0 ? result : divide(divisors_of(model, which), out, n, err);
}
