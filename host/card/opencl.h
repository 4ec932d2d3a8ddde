/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the OpenCL backend share. One way to call OpenCL: version 1.2, no extension. */
#ifndef SLUICE_CARD_OPENCL_H
#define SLUICE_CARD_OPENCL_H

#define CL_TARGET_OPENCL_VERSION 120
#include "host/base/error.h"
#include "host/card/card_backend.h"

#include <CL/cl.h>

/* "CL_OUT_OF_RESOURCES" of a status; "OpenCL error" for one without a name here. Static storage. */
const char *opencl_status_name(cl_int status);

/* Sets *err to "opencl: <what>: <name> (<number>)". Returns the error code: memory ran out, or ERROR_CARD. */
int opencl_fail(struct error *err, const char *what, cl_int status);

/* ---- the device: opencl_device.c ---- */

/* What decides whether a device can be a card. */
struct opencl_facts {
    char name[128], version[128], driver[128], platform[128];
    cl_bool available, compiler, little_endian;
    cl_device_fp_config single;
    cl_ulong memory_bytes, largest_buffer_bytes, local_bytes;
    size_t work_group_size;
};

#define OPENCL_WORK_GROUP 128u /* work-items of the largest kernel's group */
#define OPENCL_LOCAL_BYTES                                                                                             \
    (24u << 10) /* local memory that the largest kernel needs, with room for the compiler's own */
#define OPENCL_LEAST_MEMORY (8u << 20) /* of the device, and of one buffer */

/* ERROR_UNSUPPORTED, naming the device and what it lacks. */
int opencl_check_facts(const struct opencl_facts *facts, struct error *err);

/*
 * The device that `number` names ("0", "1", ... over all platforms in the loader's order; NULL: the first that can be a
 * card) with its facts checked. ERROR_NOT_FOUND without platform or device, and what is there in the message.
 */
int opencl_find_device(const char *number, cl_device_id *device, struct opencl_facts *facts, struct error *err);

/* ---- the program: opencl_program.c ---- */

/* The kernels' text, without a 0 at the end. */
const char *opencl_source(size_t *bytes);

/*
 * Builds text for the device, or takes the result of an earlier build from the cache folder (NULL: no cache), where it
 * is kept by hash of text, device and driver. A cache that cannot be read or written costs time only. ERROR_CARD with
 * the compiler's last words when it does not build. *out is owned by the caller: clReleaseProgram.
 */
int opencl_build(cl_context context, cl_device_id device, const struct opencl_facts *facts, const char *text,
                 size_t bytes, const char *cache, cl_program *out, struct error *err);

/* $XDG_CACHE_HOME/sluice, or $HOME/.cache/sluice; NULL if neither variable is set. The caller frees it. */
char *opencl_cache_folder(void);

/* ---- trust: opencl_probe.c ---- */

/* Runs fixed numbers through fma, products and card_math.h. ERROR_UNSUPPORTED names what came out with other bits. */
int opencl_probe(cl_context context, cl_command_queue queue, cl_program program, const char *device_name,
                 struct error *err);

/* ---- running: opencl_launch.c, opencl_operations.c, opencl_checks.c ---- */

enum opencl_kernel {
    KERNEL_NORM,
    KERNEL_QUANTIZE,
    KERNEL_ROPE,
    KERNEL_ROUTER,
    KERNEL_GLU,
    KERNEL_EXPERT_SUM,
    KERNEL_GATHER,
    KERNEL_KV_WRITE,
    KERNEL_ATTENTION,
    KERNEL_COPY,
    KERNEL_ADD,
    KERNEL_SCALE,
    KERNEL_SOFT_CAP,
    KERNEL_TOP_K,
    KERNEL_INDEX,
    KERNEL_SCAN,
    KERNEL_CONV,
    KERNEL_DECAY,
    KERNEL_EXPERT_SPREAD,
    KERNEL_PUBLISH,
    KERNEL_CHECK_BATCH,
    KERNEL_CHECK_SLOTS,
    KERNEL_CHECK_INDEXES,
    KERNEL_FOLLOW,
    KERNEL_MATMUL_F32,
    KERNEL_EXPERT_F32,
    KERNEL_MATMUL_1,                       /* by enum card_format, INT4 to MXFP4: one token */
    KERNEL_MATMUL_8 = KERNEL_MATMUL_1 + 8, /* up to 8 tokens a group */
    KERNEL_EXPERT = KERNEL_MATMUL_8 + 8,
    KERNEL_COUNT = KERNEL_EXPERT + 8,
};

#define OPENCL_STATUS_WORDS 16u /* the first of kernels/opencl/prelude.cl's STATUS_* is word 0 */
#define OPENCL_SLOTS 32u        /* programs that may be in flight */

struct opencl_machine {
    cl_context context;
    cl_command_queue compute;
    cl_kernel kernel[KERNEL_COUNT];
    cl_mem bank[CARD_MAX_BANKS];
    unsigned n_banks;
    cl_mem status[OPENCL_SLOTS]; /* of each program in flight */
    cl_mem ranges;               /* allocations: pairs of address and bytes, for check_slots */
    unsigned n_ranges;
    cl_mem scratch; /* of one operation after the other; NULL until one needs it */
    uint64_t scratch_bytes;
    const struct card_extents *extents;
};

int opencl_make_kernels(struct opencl_machine *machine, cl_program program, struct error *err);

/* What a program moves and multiplies by its shapes alone; the rest is in its status. */
struct opencl_account {
    uint64_t descriptors, weight_bytes, kv_bytes, multiply_adds;
};

/*
 * Enqueues the kernels of a checked program's descriptors from `first` on, in order, up to the end or to an AWAIT, whose
 * table of choices it has checked; *next is that one's index, or n_descriptors. status: the program's slot, already
 * zero. What lies before a PUBLISH is flushed with it.
 */
int opencl_enqueue(struct opencl_machine *machine, unsigned slot, const struct card_descriptor *program,
                   unsigned n_descriptors, unsigned first, unsigned *next, struct opencl_account *account,
                   struct error *err);

/* Enqueues: the program of `slot` does not run if that of `earlier` failed. */
int opencl_enqueue_follow(struct opencl_machine *machine, unsigned slot, unsigned earlier, struct error *err);

/* 0, or the failure that a status tells, named by descriptor. */
int opencl_status_error(const uint32_t status[OPENCL_STATUS_WORDS], const struct card_descriptor *program,
                        unsigned n_descriptors, struct error *err);

#endif
