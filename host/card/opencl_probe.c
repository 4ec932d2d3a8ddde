/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device says of itself is not enough: some contract a * b + c although told not to, some flush subnormals.
 * Before a device is a card its bits for numbers that show such things are compared with ours.
 */
#include "host/card/opencl.h"
#include "kernels/abi/card_math.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RESULTS = 12, RANDOM = 500 };

static const char *const names[RESULTS] = {
    "fma",          "a * b + c (contracted?)", "a * b",         "recip",       "rsqrt", "exp", "sin", "cos",
    "x sigmoid(x)", "float to half",           "half to float", "int to float"};

/* a, b, c: double rounding would show, the exact product is needed, subnormal results and operands, infinities, NaN. */
static const uint32_t special[][3] = {
    {0x3f800001u, 0x3f800001u, 0xbf800002u}, {0x3f800001u, 0x3f7fffffu, 0xbf800000u},
    {0x4b800001u, 0x4b800001u, 0xd7800002u}, {0x00800000u, 0x3f000000u, 0x00000000u},
    {0x00000001u, 0x3f800000u, 0x00000001u}, {0x00400000u, 0x40000000u, 0x80800001u},
    {0x1f800000u, 0x1f800000u, 0x00000000u}, {0x20000001u, 0x1f800001u, 0x80000001u},
    {0x7f7fffffu, 0x40000000u, 0xff7fffffu}, {0x7f800000u, 0x00000000u, 0x3f800000u},
    {0xff800000u, 0x3f800000u, 0x7f800000u}, {0x7fc00000u, 0x3f800000u, 0x3f800000u},
    {0x80000000u, 0x3f800000u, 0x80000000u}, {0x00000000u, 0x80000000u, 0x00000000u},
    {0x42b17218u, 0xc2b00000u, 0x80000000u}, {0xc2ce0000u, 0x33800000u, 0x3f800000u},
    {0x4a800000u, 0x3f800000u, 0x4a7fffffu}, {0x477fefffu, 0x33800001u, 0x387fffffu},
};
enum { SPECIAL = sizeof special / sizeof *special, N = SPECIAL + RANDOM };

static void make_inputs(uint32_t input[N][3])
{
    uint64_t state = 1;
    memcpy(input, special, sizeof special);
    for (int i = SPECIAL; i < N; i++) {
        for (int k = 0; k < 3; k++) {
            state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
            input[i][k] = (uint32_t)(state >> 32);
            if (i % 2) input[i][k] = (input[i][k] & 0x87ffffffu) + 0x3c000000u; /* every other near 1 */
        }
    }
}

static void compute_here(const uint32_t input[3], uint32_t to[RESULTS])
{
    const float a = card_float(input[0]), b = card_float(input[1]), c = card_float(input[2]);
    float sine, cosine;
    card_sincos(a, &sine, &cosine);
    const float product = a * b;
    to[0] = card_bits(card_fma(a, b, c));
    to[1] = card_bits(product + c);
    to[2] = card_bits(product);
    to[3] = card_bits(card_recip(a));
    to[4] = card_bits(card_rsqrt(a));
    to[5] = card_bits(card_exp(a));
    to[6] = card_bits(sine);
    to[7] = card_bits(cosine);
    to[8] = card_bits(card_silu(a));
    to[9] = card_f32_to_f16(a);
    to[10] = card_bits(card_f16_to_f32((uint16_t)input[0]));
    to[11] = card_bits((float)(int32_t)input[0]);
}

/* A NaN has no defined bits but for halves. */
static int same(unsigned result, uint32_t a, uint32_t b)
{
    return a == b || (result != 9 && isnan(card_float(a)) && isnan(card_float(b)));
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
    for (int i = 0; i < N && !rc; i++) {
        uint32_t want[RESULTS];
        compute_here(input[i], want);
        for (unsigned k = 0; k < RESULTS && !rc; k++) {
            if (same(k, result[i][k], want[k])) continue;
            rc = error_set(err, ERROR_UNSUPPORTED,
                           "opencl: the device \"%.80s\" cannot be a card: %s of 0x%08x, 0x%08x, 0x%08x gives 0x%08x, "
                           "not 0x%08x",
                           device_name, names[k], input[i][0], input[i][1], input[i][2], result[i][k], want[k]);
        }
    }
    if (kernel) clReleaseKernel(kernel);
    free(result);
    return rc;
}
