/* SPDX-License-Identifier: Apache-2.0 */
/* The card interface itself, on every backend of the build: names, description, memory, events, counters, reset. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/card/card_fixture.h"

/* XRT needs a card: tests/xrt/card_test.c has its tests. */
static bool can_be_opened(const char *backend) { return strcmp(backend, "xrt") != 0; }

static void unknown_names_are_refused_with_the_list(void **state)
{
    (void)state;
    const char *const names[] = {"opencl2", "", "SIM", "sim ", "ref:1", "ref:", "xrt2"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct error err = {0};
        struct card *card;
        assert_int_equal(card_open(names[i], NULL, &card, &err), ERROR_NOT_FOUND);
        assert_null(card);
        for (const char *const *name = card_backends(); *name; name++) assert_non_null(strstr(err.text, *name));
    }
}

static void sim_takes_a_number_of_banks(void **state)
{
    (void)state;
    const char *const wrong[] = {"sim:",         "sim:0",        "sim:banks",
                                 "sim:banks=",   "sim:banks=0",  "sim:banks=65",
                                 "sim:banks=4x", "sim:banks=-1", "sim:banks=99999999999999999999",
                                 "sim:simd=",    "sim:,banks=2", "sim:banks=2,",
                                 "sim:abi=1",    "sim:abi=4",    "sim:abi="};
    const struct card_options options = {.threads = 1, .memory_bytes = TEST_MEMORY};
    struct card_info info;
    struct card *card;
    struct error err = {0};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(card_open(wrong[i], &options, &card, &err), ERROR_NOT_FOUND);
        assert_non_null(strstr(err.text, "banks=N (1 to 64)"));
        assert_null(card);
    }
    assert_int_equal(card_open("sim:banks=3,abi=2", &options, &card, &err), 0);
    card_describe(card, &info);
    assert_int_equal(info.n_banks, 3);
    assert_int_equal(info.abi_version, 2);
    card_close(card);
}

static void sim_takes_an_instruction_set(void **state)
{
    (void)state;
    static const char *const good[] = {"sim:simd=generic", "sim:banks=2,simd=generic", "sim:simd=generic,banks=2"};
    static const char *const unknown[] = {"sim:simd=sse9", "sim:simd=Generic", "sim:simd=generic ", "sim:simd=avx512x",
                                          "sim:simd=generic;"};
    static const char *const malformed[] = {"sim:simd=",
                                            "sim:simd",
                                            "sim:simd=generic,",
                                            "sim:,simd=generic",
                                            "sim:SIMD=a",
                                            "sim:simd=generic,sse",
                                            "sim:simd=sixteen-letters-x"};
    const struct card_options options = {.threads = 1, .memory_bytes = TEST_MEMORY};
    struct card_info info;
    struct card *card;
    struct error err = {0};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(card_open(good[i], &options, &card, &err), 0);
        card_describe(card, &info);
        assert_string_equal(info.name, "simulated card, generic");
        assert_int_equal(info.n_banks, i ? 2 : 1);
        card_close(card);
    }
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        assert_int_equal(card_open(unknown[i], &options, &card, &err), ERROR_UNSUPPORTED);
        assert_non_null(strstr(err.text, "processor (generic always is)"));
        assert_non_null(strstr(err.text, unknown[i] + strlen("sim:simd=")));
        assert_null(card);
    }
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        const int rc = card_open(malformed[i], &options, &card, &err);
        if (rc != ERROR_NOT_FOUND) fail_msg("%s: %d", malformed[i], rc);
        assert_non_null(strstr(err.text, "simd=NAME"));
        assert_null(card);
    }
}

/* Each set works or is refused in words that name it; at least the other architecture's are refused. */
static void sim_refuses_what_the_processor_lacks(void **state)
{
    (void)state;
    static const char *const names[] = {"avx512", "avx2", "neon"};
    const struct card_options options = {.threads = 1, .memory_bytes = TEST_MEMORY};
    int refused = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char spec[32], words[64];
        struct card_info info;
        struct card *card;
        struct error err = {0};
        snprintf(spec, sizeof spec, "sim:simd=%s", names[i]);
        const int rc = card_open(spec, &options, &card, &err);
        if (rc) {
            assert_int_equal(rc, ERROR_UNSUPPORTED);
            snprintf(words, sizeof words, "no SIMD \"%s\" in this build or processor", names[i]);
            assert_non_null(strstr(err.text, words));
            refused++;
            continue;
        }
        card_describe(card, &info);
        snprintf(words, sizeof words, "simulated card, %s", names[i]);
        assert_string_equal(info.name, words);
        card_close(card);
    }
    assert_in_range(refused, 1, 3);
}

/* The area of dealt matrices is at one offset, whatever each bank holds already. */
static void a_dealt_allocation_has_one_offset(void **state)
{
    (void)state;
    const struct card_options options = {.threads = 1, .memory_bytes = TEST_MEMORY, .banks = 3};
    struct card_info before, after;
    struct card *card;
    struct error err = {0};
    card_addr held[3];
    uint64_t offset;
    assert_int_equal(card_open("sim", &options, &card, &err), 0);
    for (unsigned b = 0; b < 3; b++)
        assert_int_equal(card_alloc(card, b, 1 + b * 2 * CARD_ALIGNMENT, &held[b], &err), 0);
    card_describe(card, &before);
    assert_int_equal(card_alloc_dealt(card, 3, 5 * CARD_ALIGNMENT + 1, &offset, &err), 0);
    assert_int_equal(offset, 6 * CARD_ALIGNMENT); /* bank 2 is free from there on */
    card_describe(card, &after);
    for (unsigned b = 0; b < 3; b++) {
        uint8_t byte = (uint8_t)(b + 1), back = 0;
        card_addr last = CARD_ADDR(b, offset + 5 * CARD_ALIGNMENT);
        assert_int_equal(before.bank[b].bytes_free - after.bank[b].bytes_free, 6 * CARD_ALIGNMENT);
        assert_int_equal(card_write(card, last, &byte, 1, NULL, 0, NULL, &err), 0);
        assert_int_equal(card_read(card, &back, last, 1, NULL, 0, NULL, &err), 0);
        assert_int_equal(back, byte);
        card_free(card, CARD_ADDR(b, offset));
    }
    card_free(card, held[2]);
    assert_int_equal(card_alloc_dealt(card, 2, CARD_ALIGNMENT, &offset, &err), 0);
    assert_int_equal(offset, 4 * CARD_ALIGNMENT); /* bank 2 does not count */
    assert_int_equal(card_alloc_dealt(card, 3, TEST_MEMORY / 3, &offset, &err), ERROR_NO_MEMORY);
    assert_int_equal(offset, 0);
    assert_int_equal(card_alloc_dealt(card, 4, 1, &offset, &err), ERROR_BAD_ARGUMENT);
    assert_int_equal(card_alloc_dealt(card, 0, 1, &offset, &err), ERROR_BAD_ARGUMENT);
    assert_int_equal(card_alloc_dealt(card, 3, 0, &offset, &err), ERROR_BAD_ARGUMENT);
    card_close(card);
}

static void every_backend_describes_itself(void **state)
{
    (void)state;
    for (const char *const *name = card_backends(); *name; name++) {
        if (!can_be_opened(*name)) continue;
        struct card *card = open_card(*name, 2);
        struct card_info info;
        card_describe(card, &info);
        assert_string_equal(info.backend, *name);
        assert_true(info.name[0] != 0);
        assert_int_equal(info.abi_version, CARD_ABI_VERSION);
        assert_true(info.weight_formats >> CARD_FORMAT_F32 & 1);
        assert_true(info.kv_formats >> info.kv_default & 1);
        assert_int_equal(info.n_banks, 1);
        assert_string_equal(info.bank[0].name, "memory");
        assert_int_equal(info.bank[0].bytes, TEST_MEMORY);
        assert_int_equal(info.bank[0].bytes_free, TEST_MEMORY - CARD_ALIGNMENT);
        card_close(card);
    }
    card_close(NULL);
}

/* Memory left to the backend's choice: there is some, and nothing of it is touched. */
static void default_memory_costs_nothing(void **state)
{
    (void)state;
    for (const char *const *name = card_backends(); *name; name++) {
        if (!can_be_opened(*name)) continue;
        struct card *card;
        struct card_info info;
        struct error err;
        assert_int_equal(card_open(*name, NULL, &card, &err), 0);
        card_describe(card, &info);
        assert_true(info.bank[0].bytes > 64u << 20);
        assert_true(info.threads >= 1 || strcmp(*name, "opencl") == 0);
        card_close(card);
    }
}

static void bad_options_are_refused(void **state)
{
    (void)state;
    struct card *card;
    struct error err = {0};
    const struct card_options threads = {.threads = 100000, .memory_bytes = TEST_MEMORY};
    const struct card_options memory = {.memory_bytes = UINT64_MAX};
    assert_int_equal(card_open("sim", &threads, &card, &err), ERROR_BAD_ARGUMENT);
    assert_non_null(strstr(err.text, "threads: 100000"));
    assert_int_equal(card_open("sim", &memory, &card, &err), ERROR_TOO_LARGE);
    assert_int_equal(card_open("ref", &memory, &card, &err), ERROR_TOO_LARGE);
    assert_null(card);
}

static void allocations_are_bounded_and_returned(void **state)
{
    (void)state;
    for (const char *const *name = card_backends(); *name; name++) {
        if (!can_be_opened(*name)) continue;
        struct card *card = open_card(*name, 1);
        struct error err = {0};
        struct card_info info;
        card_addr a, b;
        assert_int_equal(card_alloc(card, 0, 1, &a, &err), 0);
        assert_true(a != 0 && CARD_ADDR_OFFSET(a) % CARD_ALIGNMENT == 0);
        assert_int_equal(card_alloc(card, 0, TEST_MEMORY, &b, &err), ERROR_NO_MEMORY);
        assert_int_equal(b, 0);
        assert_non_null(strstr(err.text, "bank 0 (memory) has no room for 67108864 bytes: 67100672 of 67108864 free"));
        assert_int_equal(card_alloc(card, 1, 1, &b, &err), ERROR_BAD_ARGUMENT);
        assert_int_equal(card_alloc(card, 0, 0, &b, &err), ERROR_BAD_ARGUMENT);
        card_free(card, 0);
        card_free(card, a + CARD_ALIGNMENT); /* nothing starts there */
        card_free(card, CARD_ADDR(7, 4096)); /* nor is there such a bank */
        card_free(card, a);
        card_describe(card, &info);
        assert_int_equal(info.bank[0].bytes_free, TEST_MEMORY - CARD_ALIGNMENT);
        card_close(card);
    }
}

static void copies_stay_inside_one_allocation(void **state)
{
    (void)state;
    for (const char *const *name = card_backends(); *name; name++) {
        if (!can_be_opened(*name)) continue;
        struct card *card = open_card(*name, 1);
        struct error err = {0};
        uint8_t data[200], back[200];
        card_event done;
        for (int i = 0; i < 200; i++) data[i] = (uint8_t)i;
        const card_addr a = put(card, NULL, 100), b = put(card, NULL, 100);
        assert_int_equal(card_write(card, a + 50, data, 50, NULL, 0, &done, &err), 0);
        assert_int_equal(card_wait(card, done, 0, &err), 0);
        assert_int_equal(card_read(card, back, a + 60, 40, &done, 1, &done, &err), 0);
        assert_int_equal(card_wait(card, done, 0, &err), 0);
        assert_memory_equal(back, data + 10, 40);
        const card_addr bad[] = {a + 1, a + 100, a - 1, 0, b + 4096, CARD_ADDR(1, 4096), UINT64_MAX};
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            assert_int_equal(card_write(card, bad[i], data, 100, NULL, 0, &done, &err), ERROR_BAD_ARGUMENT);
            assert_int_equal(card_read(card, back, bad[i], 100, NULL, 0, &done, &err), ERROR_BAD_ARGUMENT);
            assert_non_null(strstr(err.text, "card read: 100 bytes at bank"));
        }
        assert_int_equal(card_write(card, a, data, SIZE_MAX, NULL, 0, &done, &err), ERROR_BAD_ARGUMENT);
        card_free(card, a);
        assert_int_equal(card_read(card, back, a, 1, NULL, 0, &done, &err), ERROR_BAD_ARGUMENT);
        card_close(card);
    }
}

static void events_grow_and_can_be_waited_for_twice(void **state)
{
    (void)state;
    for (const char *const *name = card_backends(); *name; name++) {
        if (!can_be_opened(*name)) continue;
        struct card *card = open_card(*name, 1);
        struct error err = {0};
        const card_addr a = put(card, NULL, 64);
        uint8_t data[64] = {0};
        card_event last = 0, done;
        for (int i = 0; i < 5; i++) {
            assert_int_equal(card_write(card, a, data, 64, &last, 1, &done, &err), 0);
            assert_true(done > last);
            last = done;
        }
        assert_int_equal(card_wait(card, last, 10, &err), 0);
        assert_int_equal(card_wait(card, last, 10, &err), 0);
        assert_int_equal(card_wait(card, 0, 10, &err), 0);
        done = last + 1;
        assert_int_equal(card_wait(card, done, 10, &err), ERROR_BAD_ARGUMENT);
        assert_int_equal(card_read(card, data, a, 64, &done, 1, &last, &err), ERROR_BAD_ARGUMENT);
        card_close(card);
    }
}

/* What follows a failed program does not run, and says why. */
static void failure_spreads_to_what_depends_on_it(void **state)
{
    (void)state;
    for (const char *const *name = card_backends(); *name; name++) {
        if (!can_be_opened(*name)) continue;
        struct card *card = open_card(*name, 1);
        struct error err = {0};
        const uint32_t bad_index = 7;
        float in[4] = {1, 2, 3, 4}, out[4] = {9, 9, 9, 9};
        card_event failed, after, free_of_it;
        const struct card_descriptor d = {.opcode = CARD_OP_GATHER,
                                          .tokens = 1,
                                          .rows = 1,
                                          .cols = 4,
                                          .src = put_floats(card, in, 4),
                                          .dst = put_floats(card, out, 4),
                                          .aux = put(card, &bad_index, 4)};
        for (int round = 0; round < 20; round++) { /* more failures than the list first holds */
            assert_int_equal(card_submit(card, &d, 1, NULL, 0, &failed, &err), 0);
            assert_int_equal(card_read(card, out, d.src, 16, &failed, 1, &after, &err), 0);
            assert_int_equal(card_read(card, in, d.src, 16, NULL, 0, &free_of_it, &err), 0);
            assert_int_equal(card_wait(card, after, 0, &err), ERROR_CARD);
            assert_non_null(strstr(err.text, "that this was to follow failed: descriptor 0 (GATHER): index 0: row 7"));
            assert_int_equal(card_wait(card, failed, 0, &err), ERROR_CARD);
            assert_int_equal(card_wait(card, free_of_it, 0, &err), 0);
            assert_true(out[0] == 9); /* the read did not happen */
        }
        card_close(card);
    }
}

/* What the counters are tested with: T tokens of one sequence, two of E experts chosen, K a token. */
enum { T = 3, R = 5, COLS = 8, E = 4, K = 2 };
static const struct card_choice counted_choices[T * K] = {{1, 1}, {3, 1}, {3, 1}, {1, 1}, {1, 1}, {3, 1}};
static const struct {
    struct card_batch_token token[T];
    uint32_t page[2];
} counted_batch = {{{0, 0, 1, 0}, {33, 0, 34, 0}, {40, 0, 41, 0}}, {1, 0}};

/* Puts the tables on the card and runs one of each counted operation; x is what they read. */
static void run_counted(struct card *card, const struct card_counters *before, card_addr x)
{
    const card_addr w = put(card, NULL, R * COLS * 4), y = put(card, NULL, 4096);
    const card_addr slot[E] = {w, w, w, w}, slots = put(card, slot, sizeof slot);
    const card_addr choices = put(card, counted_choices, sizeof counted_choices);
    const card_addr table = put(card, &counted_batch, sizeof counted_batch);
    const card_addr pool = put(card, NULL, 2 * card_page_bytes(CARD_FORMAT_F16, 1, COLS, COLS));
    struct card_descriptor program[] = {
        {.opcode = CARD_OP_MATMUL, .format = CARD_FORMAT_F32, .rows = R, .dst = y, .weight = w},
        {.opcode = CARD_OP_EXPERT_MATMUL, .format = CARD_FORMAT_F32, .rows = R, .dst = y, .weight = slots},
        {.opcode = CARD_OP_KV_WRITE, .format = CARD_FORMAT_F16, .rows = 1, .dst = pool, .weight = y},
        {.opcode = CARD_OP_ATTENTION, .format = CARD_FORMAT_F16, .rows = 2, .dst = y, .weight = pool},
    };
    for (int i = 0; i < 4; i++) {
        program[i].tokens = T;
        program[i].cols = COLS;
        program[i].src = x;
        program[i].aux = i == 1 ? choices : table;
    }
    memcpy(program[1].param, (const uint32_t[4]){K, E}, sizeof program[1].param);
    memcpy(program[2].param, (const uint32_t[4]){2, COLS}, sizeof program[2].param);
    memcpy(program[3].param, (const uint32_t[4]){2, bits_of(1), 1, 10}, sizeof program[3].param);
    run_program(card, program, 4);
    struct card_counters after;
    card_count(card, &after);
    assert_int_equal(after.bytes_to_card - before->bytes_to_card,
                     sizeof slot + sizeof counted_choices + sizeof counted_batch);
}

static void counters_are_exact(void **state)
{
    (void)state;
    for (const char *const *name = card_backends(); *name; name++) {
        if (!can_be_opened(*name)) continue;
        struct card *card = open_card(*name, 1);
        struct card_counters before, after;
        const card_addr x = put(card, NULL, 4096);
        card_count(card, &before);
        run_counted(card, &before, x);
        card_count(card, &after);
        assert_int_equal(after.programs - before.programs, 1);
        assert_int_equal(after.descriptors - before.descriptors, 4);
        assert_int_equal(after.weight_bytes - before.weight_bytes, R * COLS * 4 + 2 * R * COLS * 4);
        const uint64_t seen = 1 + 10 + 10; /* positions, with a window of 10 */
        assert_int_equal(after.kv_bytes - before.kv_bytes, 2 * T * COLS * 2 + 2 * seen * COLS * 2);
        assert_int_equal(after.multiply_adds - before.multiply_adds,
                         T * R * COLS + T * K * R * COLS + 2 * seen * 2 * COLS);
        assert_int_equal(after.cycles, 0);
        uint8_t back[10];
        get(card, back, x, 10);
        card_count(card, &after);
        assert_int_equal(after.bytes_from_card - before.bytes_from_card, 10);
        card_close(card);
    }
}

static void reset_and_sensors_and_bitstream(void **state)
{
    (void)state;
    for (const char *const *name = card_backends(); *name; name++) {
        if (!can_be_opened(*name)) continue;
        struct card *card = open_card(*name, 1);
        struct error err = {0};
        struct card_sensors sensors;
        struct card_info info;
        const card_addr a = put(card, NULL, 1 << 20);
        assert_int_equal(card_reset(card, &err), 0);
        card_describe(card, &info);
        assert_int_equal(info.bank[0].bytes_free, TEST_MEMORY - CARD_ALIGNMENT);
        assert_int_equal(card_write(card, a, "x", 1, NULL, 0, NULL, &err), ERROR_BAD_ARGUMENT);
        assert_int_equal(card_read_sensors(card, &sensors, &err), 0);
        assert_true(isnan(sensors.temperature_c) && isnan(sensors.power_w));
        assert_int_equal(card_load_bitstream(card, "a.xclbin", &err), ERROR_UNSUPPORTED);
        assert_non_null(strstr(err.text, "a.xclbin"));
        card_close(card);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_names_are_refused_with_the_list),
        cmocka_unit_test(every_backend_describes_itself),
        cmocka_unit_test(sim_takes_a_number_of_banks),
        cmocka_unit_test(sim_takes_an_instruction_set),
        cmocka_unit_test(sim_refuses_what_the_processor_lacks),
        cmocka_unit_test(a_dealt_allocation_has_one_offset),
        cmocka_unit_test(default_memory_costs_nothing),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(allocations_are_bounded_and_returned),
        cmocka_unit_test(copies_stay_inside_one_allocation),
        cmocka_unit_test(events_grow_and_can_be_waited_for_twice),
        cmocka_unit_test(failure_spreads_to_what_depends_on_it),
        cmocka_unit_test(counters_are_exact),
        cmocka_unit_test(reset_and_sensors_and_bitstream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
