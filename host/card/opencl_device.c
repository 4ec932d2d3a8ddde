/* SPDX-License-Identifier: Apache-2.0 */
/* Which OpenCL device is the card, and whether it can be one. */
#include "host/card/opencl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_PLATFORMS 16u
#define MOST_DEVICES 64u

const char *opencl_status_name(cl_int status)
{
    switch (status) {
    case CL_DEVICE_NOT_FOUND: return "CL_DEVICE_NOT_FOUND";
    case CL_DEVICE_NOT_AVAILABLE: return "CL_DEVICE_NOT_AVAILABLE";
    case CL_COMPILER_NOT_AVAILABLE: return "CL_COMPILER_NOT_AVAILABLE";
    case CL_MEM_OBJECT_ALLOCATION_FAILURE: return "CL_MEM_OBJECT_ALLOCATION_FAILURE";
    case CL_OUT_OF_RESOURCES: return "CL_OUT_OF_RESOURCES";
    case CL_OUT_OF_HOST_MEMORY: return "CL_OUT_OF_HOST_MEMORY";
    case CL_BUILD_PROGRAM_FAILURE: return "CL_BUILD_PROGRAM_FAILURE";
    case CL_INVALID_VALUE: return "CL_INVALID_VALUE";
    case CL_INVALID_BINARY: return "CL_INVALID_BINARY";
    case CL_INVALID_KERNEL_NAME: return "CL_INVALID_KERNEL_NAME";
    case CL_INVALID_KERNEL_ARGS: return "CL_INVALID_KERNEL_ARGS";
    case CL_INVALID_WORK_GROUP_SIZE: return "CL_INVALID_WORK_GROUP_SIZE";
    case CL_INVALID_BUFFER_SIZE: return "CL_INVALID_BUFFER_SIZE";
    case CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST: return "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST";
    case -1001: return "CL_PLATFORM_NOT_FOUND_KHR";
    default: return "OpenCL error";
    }
}

int opencl_fail(struct error *err, const char *what, cl_int status)
{
    const int no_memory = status == CL_MEM_OBJECT_ALLOCATION_FAILURE || status == CL_OUT_OF_HOST_MEMORY;
    return error_set(err, no_memory ? ERROR_NO_MEMORY : ERROR_CARD, "opencl: %s: %s (%d)", what,
                     opencl_status_name(status), status);
}

static int refuse(const struct opencl_facts *facts, const char *lacks, struct error *err)
{
    return error_set(err, ERROR_UNSUPPORTED, "opencl: the device \"%s\" (%s) cannot be a card: %s", facts->name,
                     facts->platform, lacks);
}

int opencl_check_facts(const struct opencl_facts *facts, struct error *err)
{
    char text[160];
    unsigned major = 0, minor = 0;
    if (!facts->available) return refuse(facts, "it is not available", err);
    if (!facts->compiler) return refuse(facts, "it has no compiler for OpenCL C", err);
    if (sscanf(facts->version, "OpenCL %u.%u", &major, &minor) != 2 || major * 10 + minor < 12) {
        snprintf(text, sizeof text, "it speaks \"%.60s\", needed is OpenCL 1.2", facts->version);
        return refuse(facts, text, err);
    }
    if (!facts->little_endian) return refuse(facts, "its memory is not little-endian", err);
    if (!(facts->single & CL_FP_FMA)) return refuse(facts, "float32 has no fused multiply-add (CL_FP_FMA)", err);
    if (!(facts->single & CL_FP_ROUND_TO_NEAREST)) {
        return refuse(facts, "float32 does not round to nearest (CL_FP_ROUND_TO_NEAREST)", err);
    }
    if (!(facts->single & CL_FP_INF_NAN)) return refuse(facts, "float32 has no infinity and NaN (CL_FP_INF_NAN)", err);
    if (facts->work_group_size < OPENCL_WORK_GROUP) {
        snprintf(text, sizeof text, "a work-group has %zu items at most, needed are %u", facts->work_group_size,
                 OPENCL_WORK_GROUP);
        return refuse(facts, text, err);
    }
    if (facts->local_bytes < OPENCL_LOCAL_BYTES) {
        snprintf(text, sizeof text, "%" PRIu64 " bytes of local memory, needed are %u", (uint64_t)facts->local_bytes,
                 OPENCL_LOCAL_BYTES);
        return refuse(facts, text, err);
    }
    if (facts->memory_bytes < OPENCL_LEAST_MEMORY || facts->largest_buffer_bytes < OPENCL_LEAST_MEMORY) {
        snprintf(text, sizeof text, "%" PRIu64 " bytes of memory, %" PRIu64 " in one buffer, needed are %u",
                 (uint64_t)facts->memory_bytes, (uint64_t)facts->largest_buffer_bytes, OPENCL_LEAST_MEMORY);
        return refuse(facts, text, err);
    }
    return 0;
}

static void ask_text(cl_device_id device, cl_device_info what, char *to, size_t bytes)
{
    char text[1024] = "";
    to[0] = 0;
    if (clGetDeviceInfo(device, what, sizeof text - 1, text, NULL) == CL_SUCCESS) {
        snprintf(to, bytes, "%.*s", (int)bytes - 1, text);
    }
}

/* What a device does not tell stays 0, and is then what it lacks. */
static void ask_facts(cl_platform_id platform, cl_device_id device, struct opencl_facts *facts)
{
    *facts = (struct opencl_facts){0};
    ask_text(device, CL_DEVICE_NAME, facts->name, sizeof facts->name);
    ask_text(device, CL_DEVICE_VERSION, facts->version, sizeof facts->version);
    ask_text(device, CL_DRIVER_VERSION, facts->driver, sizeof facts->driver);
    char text[1024] = "";
    if (clGetPlatformInfo(platform, CL_PLATFORM_VERSION, sizeof text - 1, text, NULL) != CL_SUCCESS) text[0] = 0;
    snprintf(facts->platform, sizeof facts->platform, "%.*s", (int)sizeof facts->platform - 1, text);
#define ASK(what, field) (void)clGetDeviceInfo(device, what, sizeof facts->field, &facts->field, NULL)
    ASK(CL_DEVICE_AVAILABLE, available);
    ASK(CL_DEVICE_COMPILER_AVAILABLE, compiler);
    ASK(CL_DEVICE_ENDIAN_LITTLE, little_endian);
    ASK(CL_DEVICE_SINGLE_FP_CONFIG, single);
    ASK(CL_DEVICE_GLOBAL_MEM_SIZE, memory_bytes);
    ASK(CL_DEVICE_MAX_MEM_ALLOC_SIZE, largest_buffer_bytes);
    ASK(CL_DEVICE_LOCAL_MEM_SIZE, local_bytes);
    ASK(CL_DEVICE_MAX_WORK_GROUP_SIZE, work_group_size);
#undef ASK
}

struct found {
    cl_platform_id platform[MOST_DEVICES];
    cl_device_id device[MOST_DEVICES];
    unsigned n;
};

static int list_devices(struct found *found, struct error *err)
{
    cl_platform_id platform[MOST_PLATFORMS];
    cl_uint n_platforms = 0;
    found->n = 0;
    cl_int status = clGetPlatformIDs(MOST_PLATFORMS, platform, &n_platforms);
    if (status != CL_SUCCESS || n_platforms == 0) {
        return error_set(err, ERROR_NOT_FOUND,
                         "opencl: this machine has no OpenCL platform (install the driver of its GPU, or a CPU one: "
                         "apt-get install pocl-opencl-icd)");
    }
    for (cl_uint p = 0; p < n_platforms && p < MOST_PLATFORMS; p++) {
        cl_uint n = 0;
        if (clGetDeviceIDs(platform[p], CL_DEVICE_TYPE_ALL, MOST_DEVICES - found->n, found->device + found->n, &n))
            continue;
        for (cl_uint d = 0; d < n && found->n < MOST_DEVICES; d++) found->platform[found->n++] = platform[p];
    }
    if (found->n) return 0;
    return error_set(err, ERROR_NOT_FOUND, "opencl: %u platform(s) on this machine, and none has a device",
                     n_platforms);
}

int opencl_find_device(const char *number, cl_device_id *device, struct opencl_facts *facts, struct error *err)
{
    struct found found;
    int rc = list_devices(&found, err);
    if (rc) return rc;
    if (number) {
        char *end;
        errno = 0;
        unsigned long wanted = strtoul(number, &end, 10);
        if (*number < '0' || *number > '9' || *end || errno) {
            return error_set(err, ERROR_BAD_ARGUMENT, "opencl: \"%s\" is no device number (as in --card opencl:0)",
                             number);
        }
        if (wanted >= found.n) {
            return error_set(err, ERROR_NOT_FOUND, "opencl: there is no device %lu, this machine has 0 to %u", wanted,
                             found.n - 1);
        }
        *device = found.device[wanted];
        ask_facts(found.platform[wanted], *device, facts);
        return opencl_check_facts(facts, err);
    }
    for (unsigned i = 0; i < found.n; i++) {
        struct error why;
        *device = found.device[i];
        ask_facts(found.platform[i], *device, facts);
        rc = opencl_check_facts(facts, i ? &why : err); /* the first one's reason is told */
        if (rc == 0) return 0;
    }
    return rc;
}
