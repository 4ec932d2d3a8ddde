/* SPDX-License-Identifier: Apache-2.0 */
/* XRT's native C API, loaded when the process starts: sluice is built against its headers and needs no library of it. */
#ifndef SLUICE_CARD_XRT_API_H
#define SLUICE_CARD_XRT_API_H

#include "host/base/error.h"

#include <xrt/xrt_bo.h>
#include <xrt/xrt_device.h>
#include <xrt/xrt_kernel.h>

/* In every XRT from 2.13 (2022.1) on; XRT keeps them through major version 2. */
#define XRT_FUNCTIONS(X)                                                                                               \
    X(xrtDeviceOpen)                                                                                                   \
    X(xrtDeviceClose)                                                                                                  \
    X(xrtDeviceLoadXclbin)                                                                                             \
    X(xrtDeviceGetXclbinUUID)                                                                                          \
    X(xrtPLKernelOpenExclusive)                                                                                        \
    X(xrtKernelClose)                                                                                                  \
    X(xrtKernelArgGroupId)                                                                                             \
    X(xrtBOAlloc)                                                                                                      \
    X(xrtBOAllocUserPtr)                                                                                               \
    X(xrtBOSubAlloc)                                                                                                   \
    X(xrtBOFree)                                                                                                       \
    X(xrtBOSync)                                                                                                       \
    X(xrtBOMap)                                                                                                        \
    X(xrtRunOpen)                                                                                                      \
    X(xrtRunClose)                                                                                                     \
    X(xrtRunSetArg)                                                                                                    \
    X(xrtRunStart)                                                                                                     \
    X(xrtRunState)                                                                                                     \
    X(xrtRunWaitFor)

/* What xrt_error.h declares: in C++ only in some versions, so it is declared here. Class 1 to 7: <xrt/xrt_error_code.h>. */
typedef int xrt_last_error_fn(xrtDeviceHandle device, int error_class, uint64_t *error, uint64_t *timestamp);
typedef int xrt_error_text_fn(xrtDeviceHandle device, uint64_t error, char *text, size_t size, size_t *length);

struct xrt_api {
    void *library;
#define XRT_POINTER(name) __typeof__(name) *name;
    XRT_FUNCTIONS(XRT_POINTER)
#undef XRT_POINTER
    xrt_last_error_fn *last_error; /* NULL where XRT has it not */
    xrt_error_text_fn *error_text;
};

/* ERROR_NOT_FOUND without XRT, ERROR_UNSUPPORTED if it lacks a function. */
int xrt_api_open(struct xrt_api *api, struct error *err);

/* Once a device is open, which loads what has them. */
void xrt_api_find_errors(struct xrt_api *api);

/* Adds the last error that the device reports, if there is one, to the message. */
void xrt_api_explain(const struct xrt_api *api, xrtDeviceHandle device, struct error *err);

#endif
