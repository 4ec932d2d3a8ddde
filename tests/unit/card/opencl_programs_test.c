/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs on the OpenCL card that the host takes part in: PUBLISH and AWAIT with the experts brought by the thread that
 * submitted and by another, waiting with a limit, what follows a program that waits, reset; and the simulator's counters.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/card/card_fixture.h"

#include <pthread.h>
#include <time.h>

enum { EXPERTS = 8, CHOICES = 3, WORD = 41, SECOND = 1000000 };

/* SCALE by 2 of what SCALE by 3 makes of x, with PUBLISH and AWAIT between. */
struct fixture {
    struct card *card;
    card_addr x, middle, result, mailbox, choices, slots;
    struct card_choice choice[CHOICES];
    struct card_descriptor program[4];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const float x[2] = {1.0f, -4.0f}, nothing[2] = {0};
    card_addr slot[EXPERTS];
    for (int e = 0; e < EXPERTS; e++) slot[e] = e == 2 ? CARD_ADDR(0, 4096) : CARD_NO_SLOT;
    for (uint32_t i = 0; i < CHOICES; i++) f->choice[i] = (struct card_choice){2 * i + 1, (float)i};
    f->choice[1].expert = 2;
    f->card = open_card("opencl", 1);
    f->x = put(f->card, x, sizeof x);
    f->middle = put(f->card, nothing, sizeof nothing);
    f->result = put(f->card, nothing, sizeof nothing);
    f->mailbox = put(f->card, (uint8_t[64 + sizeof f->choice]){0}, 64 + sizeof f->choice);
    f->choices = put(f->card, f->choice, sizeof f->choice);
    f->slots = put(f->card, slot, sizeof slot);
    struct card_descriptor *d = f->program;
    d[0] = (struct card_descriptor){.opcode = CARD_OP_SCALE, .tokens = 1, .cols = 2, .dst = f->middle, .src = f->x};
    d[0].param[0] = bits_of(3.0f);
    d[1] = (struct card_descriptor){.opcode = CARD_OP_PUBLISH, .tokens = 1, .rows = CHOICES, .dst = f->mailbox};
    d[1].src = f->choices;
    d[1].param[0] = WORD;
    d[2] = (struct card_descriptor){.opcode = CARD_OP_AWAIT, .tokens = 1, .weight = f->slots, .aux = f->choices};
    d[2].param[0] = CHOICES;
    d[2].param[1] = EXPERTS;
    d[2].param[2] = 60 * SECOND;
    d[3] = d[0];
    d[3].dst = f->result;
    d[3].src = f->middle;
    d[3].param[0] = bits_of(2.0f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    card_close(f->card);
    free(f);
    return 0;
}

static void assert_result(struct fixture *f, float first, float second)
{
    float got[2];
    get(f->card, got, f->result, sizeof got);
    assert_int_equal(bits_of(got[0]), bits_of(first));
    assert_int_equal(bits_of(got[1]), bits_of(second));
}

/* What a host does: waits for the word, takes the choices and brings what is not there. Other calls may run beside it. */
static void bring_experts(struct fixture *f)
{
    const card_addr somewhere = CARD_ADDR(0, 4096);
    struct card_choice got[CHOICES];
    uint32_t word = 0;
    while (word != WORD) get(f->card, &word, f->mailbox, sizeof word);
    get(f->card, got, f->mailbox + 64, sizeof got);
    assert_memory_equal(got, f->choice, sizeof got);
    for (int i = 0; i < CHOICES; i++) {
        struct error err = {0};
        const card_addr slot = f->slots + got[i].expert * sizeof somewhere;
        if (card_write(f->card, slot, &somewhere, sizeof somewhere, NULL, 0, NULL, &err)) fail_msg("%s", err.text);
    }
}

static card_event submit(struct fixture *f, const card_event *after, unsigned n_after)
{
    struct error err = {0};
    card_event event;
    if (card_submit(f->card, f->program, 4, after, n_after, &event, &err)) fail_msg("%s", err.text);
    return event;
}

static void the_submitter_brings_experts(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    const card_event event = submit(f, NULL, 0);
    bring_experts(f);
    assert_int_equal(card_wait(f->card, event, 0, &err), 0);
    assert_result(f, 6.0f, -24.0f);
    const card_event again = submit(f, NULL, 0); /* they are there now */
    assert_int_equal(card_wait(f->card, again, 0, &err), 0);
}

static void *bring_from_outside(void *fixture)
{
    bring_experts(fixture);
    return NULL;
}

static void another_thread_brings_experts(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, bring_from_outside, f), 0);
    const int rc = card_submit(f->card, f->program, 4, NULL, 0, NULL, &err);
    assert_int_equal(pthread_join(thread, NULL), 0);
    if (rc) fail_msg("%s", err.text);
    assert_result(f, 6.0f, -24.0f);
}

/* What was published stays; nothing after the AWAIT has run, and what follows the program fails with it. */
static void an_expert_that_does_not_come_is_named(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    f->program[2].param[2] = 3000;
    const card_event event = submit(f, NULL, 0);
    uint32_t word = 0;
    float late[2] = {7.0f, 7.0f};
    card_event read;
    assert_int_equal(card_read(f->card, late, f->result, sizeof late, &event, 1, &read, &err), 0);
    const card_event next = submit(f, &event, 1);
    assert_int_equal(card_wait(f->card, next, 0, &err), ERROR_CARD);
    assert_non_null(strstr(err.text, "that this was to follow failed: descriptor 2 (AWAIT): expert 1: no slot after "));
    assert_int_equal(card_wait(f->card, event, 0, &err), ERROR_CARD);
    assert_non_null(strstr(err.text, "descriptor 2 (AWAIT): expert 1: no slot after "));
    assert_int_equal(card_wait(f->card, read, 0, &err), ERROR_CARD);
    assert_int_equal(card_wait(f->card, event, 5, &err), ERROR_CARD); /* again and again */
    get(f->card, &word, f->mailbox, sizeof word);
    assert_int_equal(word, WORD);
    assert_result(f, 0.0f, 0.0f);
    assert_true(late[0] == 7.0f);
}

/* A program and a read that follow one that waits come after it, although nobody waits for it itself. */
static void what_follows_waits_too(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    const card_event first = submit(f, NULL, 0);
    struct card_descriptor again = f->program[3];
    float got[2];
    card_event second, read;
    again.dst = f->middle;
    again.src = f->result;
    assert_int_equal(card_submit(f->card, &again, 1, &first, 1, &second, &err), 0);
    assert_int_equal(card_read(f->card, got, f->middle, sizeof got, &second, 1, &read, &err), 0);
    assert_int_equal(card_wait(f->card, read, 20, &err), ERROR_TIMEOUT);
    bring_experts(f);
    assert_int_equal(card_wait(f->card, read, 0, &err), 0);
    assert_true(got[0] == 12.0f && got[1] == -48.0f);
}

static void waiting_has_a_limit(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    const card_event event = submit(f, NULL, 0);
    assert_int_equal(card_wait(f->card, event, 1, &err), ERROR_TIMEOUT);
    assert_non_null(strstr(err.text, "is not over in the time given"));
    assert_int_equal(card_wait(f->card, event, 1, &err), ERROR_TIMEOUT);
    bring_experts(f);
    assert_int_equal(card_wait(f->card, event, 600000, &err), 0);
    assert_int_equal(card_wait(f->card, event, 1, &err), 0);
}

/* Reset, and close, of a card with a program that waits do not wait for its experts. */
static void reset_ends_what_waits(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    (void)submit(f, NULL, 0);
    assert_int_equal(card_reset(f->card, &err), 0);
    const float x[2] = {1.0f, 2.0f};
    struct card_descriptor d = {.opcode = CARD_OP_SCALE, .tokens = 1, .cols = 2, .param = {bits_of(5.0f)}};
    d.src = put(f->card, x, sizeof x);
    d.dst = f->result = put(f->card, x, sizeof x);
    run_program(f->card, &d, 1);
    assert_result(f, 5.0f, 10.0f);
}

/* More programs than there are statuses on the card, one of them waiting for experts at first. */
static void many_programs_in_flight(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    card_event event[100];
    event[0] = submit(f, NULL, 0);
    for (int i = 1; i < 20; i++) event[i] = submit(f, NULL, 0);
    bring_experts(f);
    for (int i = 20; i < 100; i++) event[i] = submit(f, &event[i - 1], 1);
    for (int i = 99; i >= 0; i--) assert_int_equal(card_wait(f->card, event[i], 0, &err), 0);
    assert_result(f, 6.0f, -24.0f);
}

/* ---- counters ---- */

/* A step over pages, states and experts: what it moves and multiplies is counted alike on both cards. */
static struct card_counters counted(const char *spec)
{
    struct card *card = open_card(spec, 1);
    struct {
        struct card_batch_token token[3];
        uint32_t page[2];
    } table = {{{40, 0, 41, 1}, {41, 0, 42, 1}, {0, 0, 1, 0}}, {1, 0}};
    const uint32_t sparse[3][2] = {{0, 39}, {40, 41}, {0, CARD_NO_POSITION}};
    const struct card_choice choice[3] = {{1, 1.0f}, {1, 1.0f}, {0, 1.0f}};
    float zeros[4096] = {0};
    const card_addr batch = put(card, &table, sizeof table), x = put(card, zeros, sizeof zeros);
    const card_addr dst = put(card, zeros, sizeof zeros), pool = put(card, zeros, sizeof zeros);
    const card_addr slots = put(card, (card_addr[]){x, x}, 16);
    struct card_descriptor program[] = {
        {.opcode = CARD_OP_KV_WRITE, .format = CARD_FORMAT_INT8, .tokens = 3, .rows = 1, .cols = 16, .dst = pool},
        {.opcode = CARD_OP_ATTENTION, .format = CARD_FORMAT_INT8, .tokens = 3, .rows = 2, .cols = 16, .dst = dst},
        {.opcode = CARD_OP_ATTENTION, .format = CARD_FORMAT_INT8, .tokens = 3, .rows = 2, .cols = 16, .dst = dst},
        {.opcode = CARD_OP_EXTENSION, .flags = CARD_FLAG_SPARSE, .cols = 8},
        {.opcode = CARD_OP_INDEX, .format = CARD_FORMAT_INT4, .tokens = 3, .rows = 2, .cols = 16, .dst = dst},
        {.opcode = CARD_OP_EXTENSION},
        {.opcode = CARD_OP_SCAN, .flags = CARD_FLAG_EXTENDED, .tokens = 3, .rows = 2, .cols = 4, .dst = dst},
        {.opcode = CARD_OP_EXTENSION},
        {.opcode = CARD_OP_CONV, .flags = CARD_FLAG_EXTENDED, .tokens = 3, .cols = 5, .dst = dst},
        {.opcode = CARD_OP_EXTENSION},
        {.opcode = CARD_OP_EXPERT_MATMUL, .format = CARD_FORMAT_F32, .tokens = 3, .rows = 4, .cols = 8, .dst = dst},
        {.opcode = CARD_OP_MATMUL, .format = CARD_FORMAT_F32, .tokens = 3, .rows = 4, .cols = 8, .dst = dst},
    };
    for (size_t i = 0; i < sizeof program / sizeof *program; i++) {
        struct card_descriptor *d = &program[i];
        d->src = d->weight = x;
        d->aux = batch;
        d->param[0] = 2;
        d->param[1] = 4;
        d->param[2] = 1;
    }
    program[0].param[1] = 16;
    program[1].weight = program[2].weight = program[4].weight = pool;
    program[1].param[1] = program[2].param[1] = program[4].param[1] = bits_of(1.0f);
    program[1].param[3] = 30;
    program[2].flags = program[4].flags = CARD_FLAG_EXTENDED;
    program[2].flags |= CARD_FLAG_LATENT;
    program[3].param[0] = program[3].param[1] = 0;
    program[3].param[3] = 2;
    program[3].aux = put(card, sparse, sizeof sparse);
    program[4].param[3] = 5;
    program[7].dst = program[9].dst = pool;
    program[10].weight = slots;
    program[10].aux = put(card, choice, sizeof choice);
    program[10].param[0] = 1;
    program[10].param[1] = 2;
    program[11].param[0] = 0;
    run_program(card, program, sizeof program / sizeof *program);
    struct card_counters counters = {0};
    card_count(card, &counters);
    card_close(card);
    return counters;
}

static void counters_are_the_simulators(void **state)
{
    (void)state;
    const struct card_counters sim = counted("sim"), opencl = counted("opencl");
    assert_int_equal(opencl.descriptors, sim.descriptors);
    assert_int_equal(opencl.weight_bytes, sim.weight_bytes);
    assert_int_equal(opencl.kv_bytes, sim.kv_bytes);
    assert_int_equal(opencl.multiply_adds, sim.multiply_adds);
    assert_int_equal(opencl.weight_bytes, 3 * 4 * 8 * 4); /* two experts and a matrix */
}

int main(void)
{
#define WITH_CARD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_CARD(the_submitter_brings_experts),
        WITH_CARD(another_thread_brings_experts),
        WITH_CARD(an_expert_that_does_not_come_is_named),
        WITH_CARD(what_follows_waits_too),
        WITH_CARD(waiting_has_a_limit),
        WITH_CARD(reset_ends_what_waits),
        WITH_CARD(many_programs_in_flight),
        cmocka_unit_test(counters_are_the_simulators),
    };
    return cmocka_run_group_tests_name("opencl programs", tests, NULL, NULL);
}
