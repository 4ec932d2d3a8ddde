/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device says of itself is not enough: some contract a * b + c although told not to, some keep subnormals or flush
 * them by another rule. Before a device is a card its bits for numbers that show such things are compared with ours.
 */
#include "host/base/float_mode.h"
#include "host/card/opencl.h"
#include "kernels/abi/card_math.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RESULTS = 15, RANDOM = 500, PRODUCT = 0, FMA = 1, HALF = 12 };

static const char *const names[RESULTS] = {"a * b",         "fma",           "a * b + c (contracted?)",
                                           "a + c",         "comparisons",   "recip",
                                           "rsqrt",         "exp",           "sin",
                                           "cos",           "x sigmoid(x)",  "softplus",
                                           "float to half", "half to float", "int to float"};

/*
 * Products and fma around 2^-126, a, b, c, and what they must be (kernels/README.md: what is below 2^-126 after rounding
 * to 24 bits is zero): with (1 + d)(1 - d) 2^-126, d = n 2^-23, exact values above and below 2^-126 - 2^-151, and one of
 * exactly 2^-126 - 2^-150. As constants, as not every host rounds there by the rule (float_mode.h).
 */
static const uint32_t border[][5] = {
    {0x200003e8u, 0x1ffff830u, 0x00000000u, 0x00800000u, 0x00800000u},
    {0xa00003e8u, 0x1ffff830u, 0x80000000u, 0x80800000u, 0x80800000u},
    {0x20000708u, 0x1ffff1f0u, 0x00000000u, 0x00000000u, 0x00000000u},
    {0xa0000708u, 0x1ffff1f0u, 0x80000000u, 0x80000000u, 0x80000000u},
    {0x1fffffffu, 0x20000000u, 0x00000000u, 0x00000000u, 0x00000000u},
    {0x20000000u, 0x20000000u, 0x00000000u, 0x00800000u, 0x00800000u},
    {0x20800384u, 0x1ffff8f8u, 0x80800000u, 0x01000000u, 0x00800000u}, /* cancels: 2 (1 + d)(1 - d) - 1 */
    {0x208004b0u, 0x1ffff6a0u, 0x80800000u, 0x01000000u, 0x00000000u},
    {0x00400000u, 0x40000000u, 0x00000000u, 0x00000000u, 0x00000000u}, /* a subnormal operand is zero */
    {0x80400000u, 0x40000000u, 0x80000000u, 0x80000000u, 0x80000000u},
    {0x3f800000u, 0x3f000000u, 0x807fffffu, 0x3f000000u, 0x3f000000u},
    {0x00800000u, 0x3f800000u, 0x80800001u, 0x00800000u, 0x80000000u}, /* -2^-149 is -0 */
};

/* a, b, c: double rounding would show, the exact product is needed, subnormal results and operands, infinities, NaN. */
static const uint32_t special[][3] = {
    {0x3f800001u, 0x3f800001u, 0xbf800002u}, {0x3f800001u, 0x3f7fffffu, 0xbf800000u},
    {0x4b800001u, 0x4b800001u, 0xd7800002u}, {0x00800000u, 0x3f000000u, 0x00000000u},
    {0x00000001u, 0x3f800000u, 0x00000001u}, {0x00400000u, 0x40000000u, 0x80800001u},
    {0x00000001u, 0x00000000u, 0x80000001u}, {0x807fffffu, 0x00000001u, 0x00400000u},
    {0x00800000u, 0x007fffffu, 0x80ffffffu}, {0x00c00000u, 0x80800000u, 0x80800000u},
    {0x1f800000u, 0x1f800000u, 0x00000000u}, {0x20000001u, 0x1f800001u, 0x80000001u},
    {0x7f7fffffu, 0x40000000u, 0xff7fffffu}, {0x7f800000u, 0x00000000u, 0x3f800000u},
    {0xff800000u, 0x3f800000u, 0x7f800000u}, {0x7fc00000u, 0x3f800000u, 0x3f800000u},
    {0x80000000u, 0x3f800000u, 0x80000000u}, {0x00000000u, 0x80000000u, 0x00000000u},
    {0x42b17218u, 0xc2b00000u, 0x80000000u}, {0xc2ce0000u, 0x33800000u, 0x3f800000u},
    {0x4a800000u, 0x3f800000u, 0x4a7fffffu}, {0x477fefffu, 0x33800001u, 0x387fffffu},
};
enum {
    BORDER = sizeof border / sizeof *border,
    SPECIAL = sizeof special / sizeof *special,
    N = BORDER + SPECIAL + RANDOM
};

static void make_inputs(uint32_t input[N][3])
{
    uint64_t state = 1;
    for (int i = 0; i < BORDER; i++) memcpy(input[i], border[i], sizeof input[i]);
    memcpy(input[BORDER], special, sizeof special);
    for (int i = BORDER + SPECIAL; i < N; i++) {
        for (int k = 0; k < 3; k++) {
            state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
            input[i][k] = (uint32_t)(state >> 32);
            if (i % 2) input[i][k] = (input[i][k] & 0x87ffffffu) + 0x3c000000u; /* every other near 1 */
        }
    }
}

/* Called in the card's float mode: no part of it may move out. */
__attribute__((noinline)) static void compute_here(const uint32_t input[3], uint32_t to[RESULTS])
{
    const float a = card_float(input[0]), b = card_float(input[1]), c = card_float(input[2]);
    float sine, cosine;
    card_sincos(a, &sine, &cosine);
    const float product = a * b;
    to[PRODUCT] = card_bits(product);
    to[FMA] = card_bits(card_fma(a, b, c));
    to[2] = card_bits(product + c);
    to[3] = card_bits(a + c);
    to[4] = (uint32_t)(a > b) | (uint32_t)(a == 0.0f) << 1 | (uint32_t)(b >= c) << 2 | (uint32_t)(c < 0.0f) << 3;
    to[5] = card_bits(card_recip(a));
    to[6] = card_bits(card_rsqrt(a));
    to[7] = card_bits(card_exp(a));
    to[8] = card_bits(sine);
    to[9] = card_bits(cosine);
    to[10] = card_bits(card_silu(a));
    to[11] = card_bits(card_softplus(a));
    to[HALF] = card_f32_to_f16(a);
    to[13] = card_bits(card_f16_to_f32((uint16_t)input[0]));
    to[14] = card_bits((float)(int32_t)input[0]);
}

/* A NaN has no defined bits but for halves. */
static int same(unsigned result, uint32_t a, uint32_t b)
{
    return a == b || (result != HALF && isnan(card_float(a)) && isnan(card_float(b)));
}

static int run(cl_context context, cl_command_queue queue, cl_kernel kernel, const uint32_t input[N][3],
               uint32_t (*result)[RESULTS], struct error *err)
{
    cl_int status, other;
    const cl_uint n = N;
    const size_t items = N;
    const char *what = "clCreateBuffer";
    cl_mem in = clCreateBuffer(context, CL_MEM_READ_WRITE, sizeof(uint32_t[N][3]), NULL, &status);
    cl_mem out = clCreateBuffer(context, CL_MEM_READ_WRITE, sizeof(uint32_t[N][RESULTS]), NULL, &other);
    if (status == CL_SUCCESS) status = other;
    if (status == CL_SUCCESS) {
        what = "running the probe";
        status = clEnqueueWriteBuffer(queue, in, CL_TRUE, 0, sizeof(uint32_t[N][3]), input, 0, NULL, NULL);
        if (!status) status = clSetKernelArg(kernel, 0, sizeof in, &in);
        if (!status) status = clSetKernelArg(kernel, 1, sizeof out, &out);
        if (!status) status = clSetKernelArg(kernel, 2, sizeof n, &n);
        if (!status) status = clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &items, NULL, 0, NULL, NULL);
        if (!status)
            status = clEnqueueReadBuffer(queue, out, CL_TRUE, 0, sizeof(uint32_t[N][RESULTS]), result, 0, NULL, NULL);
    }
    if (in) clReleaseMemObject(in);
    if (out) clReleaseMemObject(out);
    return status ? opencl_fail(err, what, status) : 0;
}

/* Input number i: ERROR_UNSUPPORTED names the first result that differs. */
static int compare(int i, const uint32_t input[3], const uint32_t got[RESULTS], const char *device_name,
                   struct error *err)
{
    uint32_t want[RESULTS] = {0};
    const uint64_t mode = float_mode_enter();
    compute_here(input, want);
    float_mode_set(mode);
    if (i < BORDER) {
        want[PRODUCT] = border[i][3];
        want[FMA] = border[i][4];
    }
    for (unsigned k = 0; k < (i < BORDER ? FMA + 1u : RESULTS); k++) {
        if (same(k, got[k], want[k])) continue;
        return error_set(err, ERROR_UNSUPPORTED,
                         "opencl: the device \"%.80s\" cannot be a card: %s of 0x%08x, 0x%08x, 0x%08x gives 0x%08x, "
                         "not 0x%08x%s",
                         device_name, names[k], input[0], input[1], input[2], got[k], want[k],
                         i < BORDER ? " (it does not flush subnormals as a card does)" : "");
    }
    return 0;
}

int opencl_probe(cl_context context, cl_command_queue queue, cl_program program, const char *device_name,
                 struct error *err)
{
    cl_int status;
    uint32_t input[N][3];
    uint32_t(*result)[RESULTS] = malloc(sizeof(uint32_t[N][RESULTS]));
    if (!result) return error_set(err, ERROR_NO_MEMORY, "opencl: no memory");
    make_inputs(input);
    cl_kernel kernel = clCreateKernel(program, "probe", &status);
    int rc =
        status ? opencl_fail(err, "clCreateKernel probe", status) : run(context, queue, kernel, input, result, err);
    for (int i = 0; i < N && !rc; i++) rc = compare(i, input[i], result[i], device_name, err);
    if (kernel) clReleaseKernel(kernel);
    free(result);
    return rc;
}
