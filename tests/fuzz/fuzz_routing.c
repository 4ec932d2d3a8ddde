/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a routing trace, their hashes made right first: refused by a named error, or every step can be read, and
 * all experts in it exist. tests/unit/experts/routing_corpus_test.c replays the corpus.
 */
#include "host/base/bytes.h"
#include "host/base/memory.h"
#include "host/experts/routing_trace.h"

#include <string.h>
#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) __builtin_trap();                                                                            \
    } while (0)

/* The header's hash, and each step's for as long as sizes make sense; written apart from the reader. */
static void make_right(uint8_t *bytes, size_t size)
{
    if (size < ROUTING_HEADER_BYTES) return;
    store_u64(bytes + 120, XXH3_64bits(bytes, 120));
    uint64_t flags = load_u32(bytes + 12), layers = load_u32(bytes + 24), used = load_u32(bytes + 32);
    uint64_t wide = load_u32(bytes + 28) > 255 ? 2 : 1, depth = load_u32(bytes + 36);
    if (layers > ROUTING_MAX_LAYERS || used > ROUTING_MAX_USED || depth > ROUTING_MAX_DEPTH) return;
    uint64_t a_row = 4 + layers * used * (wide + (flags & 1 ? 2 : 0) + depth * (wide + 1));
    size_t at = ROUTING_HEADER_BYTES;
    while (size - at >= 4) {
        uint64_t step = 4 + load_u32(bytes + at) * a_row;
        if (!range_fits(step, 4, size - at)) return;
        store_u32(bytes + at + step, (uint32_t)XXH3_64bits(bytes + at, step));
        at += step + 4;
    }
}

static void check_step(const struct routing_shape *shape, const struct routing_step *step)
{
    size_t n = (size_t)shape->n_layers * step->n_rows * shape->n_used;
    REQUIRE(step->n_rows >= 1 && step->n_rows <= ROUTING_MAX_ROWS);
    volatile uint64_t sink = 0;
    for (uint32_t r = 0; r < step->n_rows; r++) sink += step->sequence[r];
    for (size_t i = 0; i < n; i++) REQUIRE(step->choice[i] < shape->n_experts);
    if (shape->flags & ROUTING_WEIGHTS)
        for (size_t i = 0; i < n; i++) sink += step->weight[i];
    size_t m = routing_n_predicted(shape, step->n_rows);
    REQUIRE((m > 0) == ((shape->flags & ROUTING_PREDICTED) != 0));
    for (size_t i = 0; i < m; i++) {
        REQUIRE(step->predicted[i] < shape->n_experts || step->predicted[i] == ROUTING_NO_EXPERT);
        sink += step->confidence[i];
    }
    (void)sink; /* read, so that the sanitizers see every byte */
}

static void read_all(const uint8_t *bytes, size_t n_bytes)
{
    struct routing_trace *trace;
    struct routing_step step;
    struct error err = {0};
    int status = routing_trace_open_memory(bytes, n_bytes, "fuzz.routing", &trace, &err);
    if (status < 0) {
        REQUIRE(!trace && status == err.code && strncmp(err.text, "fuzz.routing: ", 14) == 0);
        REQUIRE(err.detail != ROUTING_NO_ERROR);
        return;
    }
    struct routing_shape shape = *routing_trace_shape(trace);
    REQUIRE(routing_shape_check(&shape, NULL) == 0 && strlen(shape.model) < ROUTING_NAME_BYTES);
    unsigned steps[2] = {0, 0};
    for (int pass = 0; pass < 2; pass++) {
        while ((status = routing_trace_next(trace, &step, &err)) == 1) {
            check_step(&shape, &step);
            steps[pass]++;
        }
        REQUIRE(status == 0 || (status == err.code && err.detail != ROUTING_NO_ERROR) || status == ERROR_NO_MEMORY);
        routing_trace_rewind(trace);
    }
    REQUIRE(steps[0] == steps[1]);
    routing_trace_close(trace);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    read_all(bytes, n_bytes);
    uint8_t *right = memory_array(n_bytes, 1);
    if (!right) return 0;
    if (n_bytes > 0) memcpy(right, bytes, n_bytes);
    make_right(right, n_bytes);
    read_all(right, n_bytes);
    free(right);
    return 0;
}
