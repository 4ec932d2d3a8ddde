/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linked into a test that runs under oclgrind. Its device computes fma, as the backend's probe sees, but does not say so;
 * and it interprets on threads of this process without regard of -cl-denorms-are-zero, so that the process is put into
 * the card's float mode before it makes any.
 */
#define CL_TARGET_OPENCL_VERSION 120
#include "host/base/float_mode.h"

#include <CL/cl.h>
#include <dlfcn.h>
#include <string.h>

typedef cl_int ask_fn(cl_device_id device, cl_device_info what, size_t bytes, void *value, size_t *needed);

__attribute__((constructor)) static void flush_subnormals(void) { (void)float_mode_enter(); }

cl_int clGetDeviceInfo(cl_device_id device, cl_device_info what, size_t bytes, void *value, size_t *needed)
{
    ask_fn *next;
    void *symbol = dlsym(RTLD_NEXT, "clGetDeviceInfo");
    memcpy(&next, &symbol, sizeof next); /* C has no cast from an object's address to a function's */
    const cl_int status = next(device, what, bytes, value, needed);
    if (what == CL_DEVICE_SINGLE_FP_CONFIG && value) *(cl_device_fp_config *)value |= CL_FP_FMA;
    return status;
}
