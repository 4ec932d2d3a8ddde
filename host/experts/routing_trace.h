/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routing traces: which experts the routers chose, step by step, in a file. Recorded by --record-routing, made by
 * routing_generate.h, replayed by `sluice bench --routing` and tests/bench/expert_misses.
 *
 * Numbers are little-endian. The header:
 *
 *   offset size
 *        0    8 magic "SLUROUTE"
 *        8    4 version
 *       12    4 flags: enum routing_flag
 *       16    8 hash of the model, 0: synthetic
 *       24    4 layers that have experts
 *       28    4 experts of a layer
 *       32    4 experts that a token uses in a layer
 *       36    4 depth: so many layers before it, each layer's choice is predicted (0 unless ROUTING_PREDICTED)
 *       40    8 steps; all ones while the file is written, and for ever if the writer died
 *       48    8 rows of all steps (tokens); all ones likewise
 *       56   64 the model's name, zero-padded UTF-8
 *      120    8 XXH3 of the 120 bytes before
 *
 * and then steps, one after the other, each
 *
 *   u32 rows; u32 sequence[rows], its top bit set where the token is of a prompt
 *   for each layer:  expert choice[rows][used], best first
 *                    u16 weight[rows][used] of 65535ths, if ROUTING_WEIGHTS
 *                    for each distance 1 .. depth: expert predicted[rows][used], u8 confidence[rows][used] of 255ths
 *   u32 low half of the XXH3 of the step's bytes before
 *
 * An expert is a u8 up to 255 experts, else a u16. A prediction of distance d was made when the layer d before it chose;
 * all ones: there is none, as in the first d layers. A file without its counts (the writer died) is read up to its
 * last whole step.
 */
#ifndef SLUICE_EXPERTS_ROUTING_TRACE_H
#define SLUICE_EXPERTS_ROUTING_TRACE_H

#include "host/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROUTING_VERSION 1u
#define ROUTING_HEADER_BYTES 128u
#define ROUTING_NAME_BYTES 64u
#define ROUTING_MAX_LAYERS 1024u
#define ROUTING_MAX_EXPERTS 4096u
#define ROUTING_MAX_USED 64u
#define ROUTING_MAX_DEPTH 8u
#define ROUTING_MAX_ROWS 65536u
#define ROUTING_NO_EXPERT 0xffffu
#define ROUTING_PROMPT 0x80000000u /* of a sequence */

enum routing_flag {
    ROUTING_WEIGHTS = 1 << 0,
    ROUTING_PREDICTED = 1 << 1,
};

struct routing_shape {
    char model[ROUTING_NAME_BYTES]; /* zero-terminated */
    uint64_t model_hash;
    uint32_t n_layers, n_experts, n_used, depth, flags;
};

/* Arrays are borrowed from the maker of the step until its next step or its close. */
struct routing_step {
    uint32_t n_rows;
    const uint32_t *sequence;  /* [row], ROUTING_PROMPT in the top bit */
    const uint16_t *choice;    /* [layer][row][used] */
    const uint16_t *weight;    /* [layer][row][used], 65535ths; NULL without ROUTING_WEIGHTS */
    const uint16_t *predicted; /* [layer][distance - 1][row][used], ROUTING_NO_EXPERT: none; NULL: no predictions */
    const uint8_t *confidence; /* the same, 255ths; NULL: no predictions */
};

/* What a reader refuses: in error.detail of ERROR_BAD_FILE. */
#define ROUTING_ERRORS(X)                                                                                              \
    X(ROUTING_TOO_SHORT, "too short for a header")                                                                     \
    X(ROUTING_NOT_A_TRACE, "not a routing trace")                                                                      \
    X(ROUTING_OTHER_VERSION, "another version of the format")                                                          \
    X(ROUTING_DAMAGED_HEADER, "the header does not have its hash")                                                     \
    X(ROUTING_BAD_FLAGS, "unknown flags")                                                                              \
    X(ROUTING_BAD_SHAPE, "impossible counts of layers or experts")                                                     \
    X(ROUTING_BAD_NAME, "the model's name is no text")                                                                 \
    X(ROUTING_BAD_ROWS, "a step with an impossible number of rows")                                                    \
    X(ROUTING_CUT_SHORT, "it ends in the middle of a step")                                                            \
    X(ROUTING_DAMAGED_STEP, "a step does not have its hash")                                                           \
    X(ROUTING_BAD_EXPERT, "an expert that the model does not have")                                                    \
    X(ROUTING_TWICE, "a token chose an expert twice")                                                                  \
    X(ROUTING_BAD_COUNTS, "steps or rows are not as many as the header says")

enum routing_error {
    ROUTING_NO_ERROR = 0,
#define ROUTING_ENUM(name, text) name,
    ROUTING_ERRORS(ROUTING_ENUM)
#undef ROUTING_ENUM
};

/* ERROR_BAD_ARGUMENT names the count that no trace can have. */
int routing_shape_check(const struct routing_shape *shape, struct error *err);

/* Values of predicted and confidence in one step of so many rows; 0 without predictions. */
size_t routing_n_predicted(const struct routing_shape *shape, uint32_t n_rows);

struct routing_writer;

/*
 * Creates or replaces the file at path; a pipe or device is written too, without the counts. The writer is the
 * caller's, who closes it. ERROR_BAD_ARGUMENT for an impossible shape, ERROR_IO names the path.
 */
int routing_writer_open(const char *path, const struct routing_shape *shape, struct routing_writer **out,
                        struct error *err);
/* Buffered; memory is taken when a step has more rows than any before. Experts are not checked here. */
int routing_writer_step(struct routing_writer *writer, const struct routing_step *step, struct error *err);
/* Writes the counts, closes and frees; NULL does nothing. On an error the writer is gone too. */
int routing_writer_close(struct routing_writer *writer, struct error *err);

struct routing_trace;

/* Checks the header. The trace is the caller's, who closes it. ERROR_BAD_FILE with a routing_error in err->detail. */
int routing_trace_open(const char *path, struct routing_trace **out, struct error *err);
/* The same of bytes that stay the caller's and must outlive the trace; name is for messages and is copied. */
int routing_trace_open_memory(const uint8_t *bytes, size_t size, const char *name, struct routing_trace **out,
                              struct error *err);
void routing_trace_close(struct routing_trace *trace); /* NULL does nothing */

const struct routing_shape *routing_trace_shape(const struct routing_trace *trace);
bool routing_trace_is_whole(const struct routing_trace *trace); /* its writer lived to close it */

/* 1 and the next step, 0 at the end, or ERROR_BAD_FILE, and then nothing more can be read. */
int routing_trace_next(struct routing_trace *trace, struct routing_step *step, struct error *err);
void routing_trace_rewind(struct routing_trace *trace);

/*
 * ERROR_BAD_ARGUMENT if the trace is not of this model: another hash (unless one of them is 0), or other counts of
 * layers, experts or experts used. Says which model the trace is of.
 */
int routing_trace_check_model(const struct routing_trace *trace, const struct routing_shape *model, struct error *err);

#endif
