/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/bytes.h"
#include "host/base/map_file.h"
#include "host/experts/routing_trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define LAYERS 3u
#define USED 2u
#define DEPTH 2u
#define MOST_ROWS 5u

struct made {
    uint32_t sequence[MOST_ROWS];
    uint16_t choice[LAYERS * MOST_ROWS * USED], weight[LAYERS * MOST_ROWS * USED];
    uint16_t predicted[LAYERS * DEPTH * MOST_ROWS * USED];
    uint8_t confidence[LAYERS * DEPTH * MOST_ROWS * USED];
};

static const struct routing_shape shapes[] = {
    {"little", 0x1234567890abcdefu, LAYERS, 8, USED, 0, 0},
    {"with weights", 7, LAYERS, 255, USED, 0, ROUTING_WEIGHTS},
    {"wide", 0, LAYERS, 256, USED, DEPTH, ROUTING_PREDICTED},
    {"all", 1, LAYERS, 4096, USED, DEPTH, ROUTING_PREDICTED | ROUTING_WEIGHTS},
};

/* Rows 1 .. MOST_ROWS in turn; values that differ from place to place. */
static struct routing_step make_step(const struct routing_shape *shape, uint32_t i, struct made *made)
{
    uint32_t n_rows = 1 + i % MOST_ROWS, n = n_rows * USED;
    for (uint32_t r = 0; r < n_rows; r++) made->sequence[r] = (i * 31 + r) | (r % 2 ? ROUTING_PROMPT : 0);
    for (uint32_t c = 0; c < LAYERS * n; c++) {
        made->choice[c] = (uint16_t)((c / USED * 3 + c % USED + i) % shape->n_experts);
        made->weight[c] = (uint16_t)(c * 4099 + i);
    }
    for (uint32_t c = 0; c < LAYERS * DEPTH * n; c++) {
        made->predicted[c] = (uint16_t)(c % 3 == 0 ? ROUTING_NO_EXPERT : (c + i) % shape->n_experts);
        made->confidence[c] = (uint8_t)(c * 7 + i);
    }
    struct routing_step step = {n_rows, made->sequence, made->choice, NULL, NULL, NULL};
    if (shape->flags & ROUTING_WEIGHTS) step.weight = made->weight;
    if (shape->flags & ROUTING_PREDICTED) step.predicted = made->predicted, step.confidence = made->confidence;
    return step;
}

static char *temporary(void)
{
    static char path[] = "/tmp/sluice-routing-XXXXXX";
    memcpy(path, "/tmp/sluice-routing-XXXXXX", sizeof path);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    return path;
}

static void write_trace(const char *path, const struct routing_shape *shape, uint32_t n_steps)
{
    struct routing_writer *writer;
    struct made made;
    struct error err = {0};
    if (routing_writer_open(path, shape, &writer, &err) < 0) fail_msg("%s", err.text);
    for (uint32_t i = 0; i < n_steps; i++) {
        struct routing_step step = make_step(shape, i, &made);
        assert_int_equal(routing_writer_step(writer, &step, &err), 0);
    }
    assert_int_equal(routing_writer_close(writer, &err), 0);
}

static void check_equal(const struct routing_shape *shape, const struct routing_step *a, const struct routing_step *b)
{
    size_t n = (size_t)LAYERS * a->n_rows * USED;
    assert_int_equal(a->n_rows, b->n_rows);
    assert_memory_equal(a->sequence, b->sequence, a->n_rows * sizeof *a->sequence);
    assert_memory_equal(a->choice, b->choice, n * sizeof *a->choice);
    if (shape->flags & ROUTING_WEIGHTS) assert_memory_equal(a->weight, b->weight, n * sizeof *a->weight);
    if (!(shape->flags & ROUTING_PREDICTED)) return;
    assert_memory_equal(a->predicted, b->predicted, n * DEPTH * sizeof *a->predicted);
    assert_memory_equal(a->confidence, b->confidence, n * DEPTH);
}

static void test_what_is_written_is_read(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        char *path = temporary();
        write_trace(path, &shapes[s], 12);
        struct routing_trace *trace;
        struct error err = {0};
        if (routing_trace_open(path, &trace, &err) < 0) fail_msg("%s", err.text);
        assert_memory_equal(routing_trace_shape(trace), &shapes[s], sizeof shapes[s]);
        assert_true(routing_trace_is_whole(trace));
        for (int pass = 0; pass < 2; pass++) {
            struct routing_step step;
            struct made made;
            for (uint32_t i = 0; i < 12; i++) {
                struct routing_step expected = make_step(&shapes[s], i, &made);
                if (routing_trace_next(trace, &step, &err) != 1) fail_msg("%s", err.text);
                check_equal(&shapes[s], &expected, &step);
            }
            assert_int_equal(routing_trace_next(trace, &step, &err), 0);
            routing_trace_rewind(trace);
        }
        routing_trace_close(trace);
        unlink(path);
    }
}

/* A trace in memory, to be damaged. */
struct bytes {
    uint8_t *at;
    size_t size;
};

static struct bytes whole_trace(const struct routing_shape *shape)
{
    struct map_file map;
    char *path = temporary();
    write_trace(path, shape, 3);
    assert_int_equal(map_file_open(path, &map, NULL), 0);
    struct bytes bytes = {malloc(map.size), map.size};
    assert_non_null(bytes.at);
    memcpy(bytes.at, map.bytes, map.size);
    map_file_close(&map);
    unlink(path);
    return bytes;
}

static void seal_header(uint8_t *bytes) { store_u64(bytes + 120, XXH3_64bits(bytes, 120)); }

/* The shape "little": step 0 has one row, so 4 + 4 + LAYERS * USED bytes and its hash. */
#define STEP 128u
#define STEP_BYTES (8u + LAYERS * USED)

static void seal_step(uint8_t *bytes)
{
    store_u32(bytes + STEP + STEP_BYTES, (uint32_t)XXH3_64bits(bytes + STEP, STEP_BYTES));
}

/* How reading all of it ends: 0 or a routing_error. */
static int outcome(const uint8_t *bytes, size_t size)
{
    struct routing_trace *trace;
    struct routing_step step;
    struct error err = {0};
    int status = routing_trace_open_memory(bytes, size, "t", &trace, &err);
    while (status >= 0 && (status = routing_trace_next(trace, &step, &err)) == 1) {}
    routing_trace_close(trace);
    if (status == 0) return 0;
    assert_int_equal(status, ERROR_BAD_FILE);
    assert_int_equal(err.code, ERROR_BAD_FILE);
    assert_memory_equal(err.text, "t: ", 3);
    return err.detail;
}

struct lie {
    enum routing_error error;
    uint32_t at, bytes;
    uint64_t value;
    void (*seal)(uint8_t *);
};

static void test_each_lie_has_its_name(void **state)
{
    (void)state;
    static const struct lie lies[] = {
        {ROUTING_NOT_A_TRACE, 0, 1, 'X', seal_header},
        {ROUTING_OTHER_VERSION, 8, 4, 2, seal_header},
        {ROUTING_DAMAGED_HEADER, 16, 1, 0, NULL},
        {ROUTING_BAD_FLAGS, 12, 4, 4, seal_header},
        {ROUTING_BAD_SHAPE, 12, 4, ROUTING_PREDICTED, seal_header}, /* without a depth */
        {ROUTING_BAD_SHAPE, 24, 4, 0, seal_header},
        {ROUTING_BAD_SHAPE, 24, 4, UINT32_MAX, seal_header},
        {ROUTING_BAD_SHAPE, 28, 4, 1, seal_header}, /* fewer experts than a token uses */
        {ROUTING_BAD_SHAPE, 28, 4, 5000, seal_header},
        {ROUTING_BAD_SHAPE, 32, 4, 0, seal_header},
        {ROUTING_BAD_SHAPE, 32, 4, 65, seal_header},
        {ROUTING_BAD_SHAPE, 36, 4, 1, seal_header}, /* a depth without predictions */
        {ROUTING_BAD_NAME, 57, 1, '\n', seal_header},
        {ROUTING_BAD_NAME, 100, 1, 'x', seal_header}, /* behind the name's end */
        {ROUTING_BAD_COUNTS, 40, 8, 4, seal_header},
        {ROUTING_BAD_COUNTS, 48, 8, 5, seal_header},
        {ROUTING_BAD_ROWS, STEP, 4, 0, NULL},
        {ROUTING_BAD_ROWS, STEP, 4, ROUTING_MAX_ROWS + 1, NULL},
        {ROUTING_CUT_SHORT, STEP, 4, ROUTING_MAX_ROWS, NULL},
        {ROUTING_DAMAGED_STEP, STEP + 4, 1, 0x55, NULL},
        {ROUTING_DAMAGED_STEP, STEP + STEP_BYTES, 4, 0, NULL},
        {ROUTING_BAD_EXPERT, STEP + 8, 1, 8, seal_step},
        {ROUTING_BAD_EXPERT, STEP + 8 + LAYERS * USED - 1, 1, 0xff, seal_step}, /* no expert, but no prediction */
        {ROUTING_TWICE, STEP + 9, 1, 0, seal_step},
    };
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct bytes bytes = whole_trace(&shapes[0]);
        assert_int_equal(outcome(bytes.at, bytes.size), 0);
        for (uint32_t b = 0; b < lies[i].bytes; b++) bytes.at[lies[i].at + b] = (uint8_t)(lies[i].value >> (8 * b));
        if (lies[i].seal) lies[i].seal(bytes.at);
        int got = outcome(bytes.at, bytes.size);
        if (got != (int)lies[i].error) fail_msg("lie %zu: error %d instead of %d", i, got, (int)lies[i].error);
        free(bytes.at);
    }
}

/* A wide trace refuses experts beyond the model's in predictions too. */
static void test_predictions_are_checked(void **state)
{
    (void)state;
    struct bytes bytes = whole_trace(&shapes[2]);
    uint32_t a_layer = 2 * USED + DEPTH * 3 * USED, step = 4 + 4 + LAYERS * a_layer;
    uint32_t at = STEP + 8 + 2 * USED; /* the first prediction of the first layer */
    store_u16(bytes.at + at, 256);
    store_u32(bytes.at + STEP + step, (uint32_t)XXH3_64bits(bytes.at + STEP, step));
    assert_int_equal(outcome(bytes.at, bytes.size), ROUTING_BAD_EXPERT);
    uint16_t other = load_u16(bytes.at + at + 2);
    store_u16(bytes.at + at, other);
    store_u32(bytes.at + STEP + step, (uint32_t)XXH3_64bits(bytes.at + STEP, step));
    assert_int_equal(outcome(bytes.at, bytes.size), ROUTING_TWICE);
    free(bytes.at);
}

/* Cut anywhere, a whole trace is refused, and one whose writer died is read up to its last whole step. */
static void test_cut_anywhere(void **state)
{
    (void)state;
    struct bytes bytes = whole_trace(&shapes[3]);
    for (size_t size = 0; size < bytes.size; size++) {
        uint8_t *cut = malloc(size + 1); /* an own block, so that the sanitizer sees its end */
        assert_non_null(cut);
        memcpy(cut, bytes.at, size);
        int got = outcome(cut, size);
        if (size < ROUTING_HEADER_BYTES)
            assert_int_equal(got, ROUTING_TOO_SHORT);
        else if (got != ROUTING_BAD_COUNTS) /* cut between two steps */
            assert_int_equal(got, ROUTING_CUT_SHORT);
        if (size >= ROUTING_HEADER_BYTES) {
            store_u64(cut + 40, UINT64_MAX);
            store_u64(cut + 48, UINT64_MAX);
            seal_header(cut);
            assert_int_equal(outcome(cut, size), 0);
        }
        free(cut);
    }
    free(bytes.at);
}

static void test_a_dead_writers_trace_is_read(void **state)
{
    (void)state;
    char *path = temporary();
    struct routing_writer *writer;
    struct made made;
    struct error err = {0};
    assert_int_equal(routing_writer_open(path, &shapes[0], &writer, &err), 0);
    uint32_t written = 0;
    struct stat about = {0};
    while (about.st_size == 0) { /* until the stream's buffer has gone to the file */
        struct routing_step step = make_step(&shapes[0], written++, &made);
        assert_int_equal(routing_writer_step(writer, &step, &err), 0);
        assert_int_equal(stat(path, &about), 0);
    }
    struct routing_trace *trace;
    struct routing_step step;
    if (routing_trace_open(path, &trace, &err) < 0) fail_msg("%s", err.text);
    assert_false(routing_trace_is_whole(trace));
    uint32_t read = 0;
    while (routing_trace_next(trace, &step, &err) == 1) read++;
    assert_in_range(read, written - 3, written);
    routing_trace_close(trace);
    assert_int_equal(routing_writer_close(writer, &err), 0);
    unlink(path);
}

static void test_another_models_trace_is_refused(void **state)
{
    (void)state;
    struct bytes bytes = whole_trace(&shapes[0]);
    struct routing_trace *trace;
    struct error err = {0};
    assert_int_equal(routing_trace_open_memory(bytes.at, bytes.size, "t", &trace, &err), 0);
    struct routing_shape model = shapes[0];
    assert_int_equal(routing_trace_check_model(trace, &model, &err), 0);
    model.model_hash = 0; /* of a model without one only the counts can be compared */
    assert_int_equal(routing_trace_check_model(trace, &model, &err), 0);
    model.model_hash = 1;
    assert_int_equal(routing_trace_check_model(trace, &model, &err), ERROR_BAD_ARGUMENT);
    assert_non_null(strstr(err.text, "a trace of little (3 layers, 2 of 8 experts)"));
    uint32_t *counts[] = {&model.n_layers, &model.n_experts, &model.n_used};
    for (unsigned i = 0; i < 3; i++) {
        model = shapes[0];
        *counts[i] += 1;
        assert_int_equal(routing_trace_check_model(trace, &model, &err), ERROR_BAD_ARGUMENT);
    }
    routing_trace_close(trace);
    free(bytes.at);
}

static void test_writer_refuses(void **state)
{
    (void)state;
    struct routing_writer *writer;
    struct error err = {0};
    struct routing_shape shape = shapes[0];
    shape.n_used = 9;
    assert_int_equal(routing_writer_open("/dev/null", &shape, &writer, &err), ERROR_BAD_ARGUMENT);
    assert_null(writer);
    assert_int_equal(routing_writer_open("/no/such/folder/t", &shapes[0], &writer, &err), ERROR_IO);
    assert_non_null(strstr(err.text, "/no/such/folder/t"));
    struct made made;
    struct routing_step step = make_step(&shapes[0], 0, &made);
    if (access("/dev/full", W_OK) == 0) {
        assert_int_equal(routing_writer_open("/dev/full", &shapes[0], &writer, &err), 0);
        int status = 0;
        for (int i = 0; i < 4096 && status == 0; i++) status = routing_writer_step(writer, &step, &err);
        assert_int_equal(status, ERROR_IO);
        assert_int_equal(routing_writer_close(writer, &err), ERROR_IO);
    }
    assert_int_equal(routing_writer_open("/dev/null", &shapes[0], &writer, &err), 0);
    step.n_rows = 0;
    assert_int_equal(routing_writer_step(writer, &step, &err), ERROR_BAD_ARGUMENT);
    assert_int_equal(routing_writer_close(writer, NULL), 0);
    assert_int_equal(routing_writer_close(NULL, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_each_lie_has_its_name),
        cmocka_unit_test(test_predictions_are_checked),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_a_dead_writers_trace_is_read),
        cmocka_unit_test(test_another_models_trace_is_refused),
        cmocka_unit_test(test_writer_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
