/* SPDX-License-Identifier: Apache-2.0 */
/* The card behind XRT's emulation, by its interface. Run by sim/xrt/emulate.sh, which sets what XRT needs. */
#include "host/card/card.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLOATS 1024u

static struct card *open_card(const char *spec)
{
    struct error err = {0};
    struct card *card;
    if (card_open(spec, NULL, &card, &err)) fail_msg("%s", err.text);
    return card;
}

static card_addr take(struct card *card, unsigned bank, uint64_t bytes)
{
    struct error err = {0};
    card_addr address;
    if (card_alloc(card, bank, bytes, &address, &err)) fail_msg("%s", err.text);
    return address;
}

static void check(int rc, const struct error *err)
{
    if (rc) fail_msg("%s", err->text);
}

/* dst[FLOATS] = src + src */
static struct card_descriptor doubled(card_addr dst, card_addr src)
{
    return (struct card_descriptor){.opcode = CARD_OP_ADD,
                                    .tokens = 1,
                                    .cols = FLOATS,
                                    .dst = dst,
                                    .src = src,
                                    .weight = src,
                                    .param = {0x3f800000u}};
}

static int run_doubled(struct card *card, card_addr dst, card_addr src, struct error *err)
{
    const struct card_descriptor program = doubled(dst, src);
    return card_submit(card, &program, 1, NULL, 0, NULL, err);
}

/* ---- tests ---- */

static uint32_t word_of(unsigned buffer, uint64_t i) { return (uint32_t)(i * 2654435761u) ^ buffer * 0x9e3779b9u; }

/* 256 MiB in each of three banks, all of them there at once, moved in pieces, and copied on the card. */
static void holds_large_buffers(void **state)
{
    (void)state;
    enum { BUFFERS = 3, MIB = 256, PIECE_WORDS = 4 << 20 };
    struct card *card = open_card("xrt");
    struct error err = {0};
    card_addr buffer[BUFFERS];
    uint32_t *piece = malloc(PIECE_WORDS * sizeof *piece);
    assert_non_null(piece);
    for (unsigned b = 0; b < BUFFERS; b++) buffer[b] = take(card, b, (uint64_t)MIB << 20);
    const uint64_t words = ((uint64_t)MIB << 20) / sizeof *piece;
    for (unsigned b = 0; b < BUFFERS; b++) {
        for (uint64_t at = 0; at < words; at += PIECE_WORDS) {
            for (uint64_t i = 0; i < PIECE_WORDS; i++) piece[i] = word_of(b, at + i);
            check(card_write(card, buffer[b] + at * 4, piece, PIECE_WORDS * 4, NULL, 0, NULL, &err), &err);
        }
    }
    /* The end of the first goes to the end of the last. */
    const uint32_t tail = 1 << 20;
    const struct card_descriptor copy = {.opcode = CARD_OP_COPY,
                                         .tokens = 1,
                                         .rows = 1,
                                         .cols = tail,
                                         .src = buffer[0] + (words - tail) * 4,
                                         .dst = buffer[2] + (words - tail) * 4,
                                         .param = {tail, tail, tail, tail}};
    check(card_submit(card, &copy, 1, NULL, 0, NULL, &err), &err);
    for (unsigned b = 0; b < BUFFERS; b++) {
        for (uint64_t at = 0; at < words; at += PIECE_WORDS) {
            check(card_read(card, piece, buffer[b] + at * 4, PIECE_WORDS * 4, NULL, 0, NULL, &err), &err);
            for (uint64_t i = 0; i < PIECE_WORDS; i++) {
                const unsigned from = b == 2 && at + i >= words - tail ? 0 : b;
                if (piece[i] != word_of(from, at + i)) fail_msg("buffer %u, word %lu", b, (unsigned long)(at + i));
            }
        }
    }
    free(piece);
    card_close(card);
}

/* Many calls at once, each after the one before, over the same bytes: nothing overtakes, nothing is lost. */
static void keeps_order(void **state)
{
    (void)state;
    enum { STEPS = 100 };
    static float in[STEPS][FLOATS], out[STEPS][FLOATS];
    struct card *card = open_card("xrt");
    struct error err = {0};
    const card_addr src = take(card, 0, sizeof in[0]), dst = take(card, 1, sizeof out[0]);
    const struct card_descriptor program = doubled(dst, src);
    card_event last = 0;
    for (unsigned s = 0; s < STEPS; s++) {
        card_event written, ran;
        for (unsigned i = 0; i < FLOATS; i++) in[s][i] = (float)(s * 1000 + i);
        check(card_write(card, src, in[s], sizeof in[s], &last, 1, &written, &err), &err);
        check(card_submit(card, &program, 1, &written, 1, &ran, &err), &err);
        check(card_read(card, out[s], dst, sizeof out[s], &ran, 1, &last, &err), &err);
    }
    check(card_wait(card, last, 0, &err), &err);
    for (unsigned s = 0; s < STEPS; s++) {
        for (unsigned i = 0; i < FLOATS; i++) assert_true(out[s][i] == 2 * in[s][i]);
    }
    struct card_counters counters;
    card_count(card, &counters);
    assert_int_equal(counters.programs, STEPS);
    assert_int_equal(counters.descriptors, STEPS);
    card_close(card);
}

/* A table that lies fails its program, and what follows it, with the reason; nothing else. */
static void a_lie_fails_its_event(void **state)
{
    (void)state;
    struct card *card = open_card("xrt");
    struct error err = {0};
    float values[FLOATS] = {0};
    const uint32_t row = 77;
    const card_addr rows = take(card, 0, sizeof values), index = take(card, 0, sizeof row);
    const card_addr dst = take(card, 0, sizeof values);
    const struct card_descriptor gather = {
        .opcode = CARD_OP_GATHER, .tokens = 1, .rows = 1, .cols = FLOATS, .dst = dst, .src = rows, .aux = index};
    const struct card_descriptor program[2] = {doubled(dst, rows), gather};
    card_event ran, read;
    check(card_write(card, rows, values, sizeof values, NULL, 0, NULL, &err), &err);
    check(card_write(card, index, &row, sizeof row, NULL, 0, NULL, &err), &err);
    check(card_submit(card, program, 2, NULL, 0, &ran, &err), &err);
    check(card_read(card, values, dst, sizeof values, &ran, 1, &read, &err), &err);
    assert_int_equal(card_wait(card, read, 0, &err), ERROR_CARD);
    assert_non_null(strstr(err.text, "that this was to follow failed: descriptor 1 (GATHER): index 0: row 77 of 1"));
    assert_int_equal(card_wait(card, ran, 0, &err), ERROR_CARD);
    assert_int_equal(card_wait(card, ran, 0, &err), ERROR_CARD);
    assert_int_equal(card_submit(card, program, 1, &ran, 1, NULL, &err), ERROR_CARD);
    check(run_doubled(card, dst, rows, &err), &err);
    card_close(card);
}

/* A program of more descriptors than one run takes; the message counts through. */
static void cuts_long_programs(void **state)
{
    (void)state;
    enum { N = 40000 };
    struct card *card = open_card("xrt");
    struct error err = {0};
    struct card_descriptor *program = calloc(N, sizeof *program);
    float values[FLOATS] = {1};
    const uint32_t row = 5;
    const card_addr a = take(card, 0, sizeof values), b = take(card, 0, sizeof values);
    const card_addr index = take(card, 0, sizeof row);
    assert_non_null(program);
    check(card_write(card, a, values, sizeof values, NULL, 0, NULL, &err), &err);
    check(card_write(card, index, &row, sizeof row, NULL, 0, NULL, &err), &err);
    for (unsigned i = 0; i < N; i++)
        program[i] = (struct card_descriptor){
            .opcode = CARD_OP_SCALE, .tokens = 1, .cols = 1, .dst = b, .src = a, .param = {0x40000000u + i}};
    check(card_submit(card, program, N, NULL, 0, NULL, &err), &err);
    check(card_read(card, values, b, sizeof(float), NULL, 0, NULL, &err), &err);
    uint32_t bits;
    memcpy(&bits, values, sizeof bits);
    assert_int_equal(bits, 0x40000000u + N - 1);
    program[N - 1] = (struct card_descriptor){
        .opcode = CARD_OP_GATHER, .tokens = 1, .rows = 1, .cols = 1, .dst = b, .src = a, .aux = index};
    assert_int_equal(card_submit(card, program, N, NULL, 0, NULL, &err), ERROR_CARD);
    assert_non_null(strstr(err.text, "descriptor 39999 (GATHER)"));
    free(program);
    card_close(card);
}

/* ---- faults: the device process is told of them by the environment that it inherits ---- */

/* Puts 21 in, runs, and takes 42 out. */
static void check_works(struct card *card)
{
    struct error err = {0};
    const card_addr src = take(card, 0, FLOATS * 4), dst = take(card, 3, FLOATS * 4);
    float values[FLOATS] = {21};
    check(card_write(card, src, values, sizeof values, NULL, 0, NULL, &err), &err);
    check(run_doubled(card, dst, src, &err), &err);
    check(card_read(card, values, dst, sizeof values, NULL, 0, NULL, &err), &err);
    assert_true(values[0] == 42);
}

/* A run goes wrong: it fails, and so does all that comes after. */
static void check_broken(struct card *card, const char *said)
{
    struct error err = {0};
    const card_addr src = take(card, 0, FLOATS * 4), dst = take(card, 0, FLOATS * 4);
    float values[FLOATS] = {0};
    assert_int_equal(run_doubled(card, dst, src, &err), ERROR_CARD);
    print_message("%s\n", err.text);
    assert_non_null(strstr(err.text, said));
    assert_int_equal(run_doubled(card, dst, src, &err), ERROR_CARD);
    assert_int_equal(card_read(card, values, src, sizeof values, NULL, 0, NULL, &err), ERROR_CARD);
    assert_non_null(strstr(err.text, said));
}

/* Only copies after the reset, and time for them: a busy machine must not be taken for a card that hangs. */
static void reports_a_hang(void **state)
{
    (void)state;
    struct error err = {0};
    float in[FLOATS] = {5}, out[FLOATS] = {0};
    setenv("SLUICE_XRT_HANG_AT", "1", 1);
    struct card *card = open_card("xrt:0,watchdog=4000");
    check_broken(card, "the card hangs: the engine has not ended a program");
    unsetenv("SLUICE_XRT_HANG_AT");
    check(card_reset(card, &err), &err);
    const card_addr address = take(card, 0, sizeof in);
    check(card_write(card, address, in, sizeof in, NULL, 0, NULL, &err), &err);
    check(card_read(card, out, address, sizeof out, NULL, 0, NULL, &err), &err);
    assert_memory_equal(in, out, sizeof in);
    card_close(card);
}

/* A copy to the card, one from it, and the one that takes a program there: XRT waits for each for ever. */
static void reports_a_copy_that_hangs(void **state)
{
    (void)state;
    static const char *const said[] = {"4096 bytes to bank 1 has not ended after",
                                       "4096 bytes from bank 1 has not ended", "it has not taken a program after"};
    for (unsigned i = 0; i < 3; i++) {
        struct error err = {0};
        float values[FLOATS] = {7};
        setenv("SLUICE_XRT_STALL_AT", "1", 1);
        struct card *card = open_card("xrt:0,watchdog=800");
        unsetenv("SLUICE_XRT_STALL_AT");
        const card_addr address = take(card, 1, sizeof values), other = take(card, 2, sizeof values);
        const int rc = i == 0   ? card_write(card, address, values, sizeof values, NULL, 0, NULL, &err)
                       : i == 1 ? card_read(card, values, address, sizeof values, NULL, 0, NULL, &err)
                                : run_doubled(card, other, address, &err);
        assert_int_equal(rc, ERROR_CARD);
        if (!strstr(err.text, said[i])) fail_msg("%s", err.text);
        check_broken(card, said[i]);
        check(card_reset(card, &err), &err);
        card_close(card);
    }
}

static void survives_a_dead_device(void **state)
{
    (void)state;
    struct error err = {0};
    setenv("SLUICE_XRT_DIE_AT", "2", 1);
    struct card *card = open_card("xrt");
    check_works(card);
    check_broken(card, "is lost: its process");
    unsetenv("SLUICE_XRT_DIE_AT");
    check(card_reset(card, &err), &err);
    check_works(card);
    card_close(card);
}

/* A reset that does not succeed leaves a card that says why, and another reset may. */
static void survives_a_failed_reset(void **state)
{
    (void)state;
    struct error err = {0};
    struct card *card = open_card("xrt");
    const card_addr address = take(card, 0, FLOATS * 4);
    card_event read;
    static float values[FLOATS];
    check(card_read(card, values, address, sizeof values, NULL, 0, &read, &err), &err);
    setenv("SLUICE_XRT_PROCESS", "/nowhere/sluice-xrt", 1);
    assert_int_not_equal(card_reset(card, &err), 0);
    unsetenv("SLUICE_XRT_PROCESS");
    (void)card_wait(card, read, 0, &err); /* it may have been over before */
    check_broken(card, "/nowhere/sluice-xrt");
    check(card_reset(card, &err), &err);
    check_works(card);
    card_close(card);
}

/* Another bitstream, hot; one that is refused changes nothing. */
static void loads_a_bitstream(void **state)
{
    (void)state;
    struct error err = {0};
    struct card *card = open_card("xrt");
    check_works(card);
    assert_int_not_equal(card_load_bitstream(card, "/nowhere.xclbin", &err), 0);
    assert_non_null(strstr(err.text, "/nowhere.xclbin"));
    check_works(card);
    check(card_load_bitstream(card, getenv("SLUICE_BITSTREAM"), &err), &err);
    check_works(card);
    card_close(card);
}

/* Open and close again and again: nothing of the one before is in the way. */
static void opens_again(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        struct error err = {0};
        struct card *card = open_card("xrt:0");
        struct card_info info;
        card_describe(card, &info);
        assert_string_equal(info.backend, "xrt");
        assert_int_equal(info.n_banks, 4);
        const card_addr src = take(card, 3, FLOATS * 4), dst = take(card, 2, FLOATS * 4);
        check(run_doubled(card, dst, src, &err), &err);
        card_close(card);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order),
        cmocka_unit_test(a_lie_fails_its_event),
        cmocka_unit_test(cuts_long_programs),
        cmocka_unit_test(reports_a_hang),
        cmocka_unit_test(reports_a_copy_that_hangs),
        cmocka_unit_test(survives_a_dead_device),
        cmocka_unit_test(opens_again),
        cmocka_unit_test(survives_a_failed_reset),
        cmocka_unit_test(loads_a_bitstream),
        cmocka_unit_test(holds_large_buffers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
