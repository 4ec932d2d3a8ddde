/* SPDX-License-Identifier: Apache-2.0 */
/* PUBLISH and AWAIT: a program that runs and a thread of the host bring an expert together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/card/run_for_test.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

enum { T = 2, K = 2, EXPERTS = 6, R = 16, C = 32, ROUNDS = 50 };

static void publish_writes_choices_and_number(void **state)
{
    struct card *card = *state;
    struct card_choice choice[T * K];
    uint8_t before[64 + sizeof choice], after[sizeof before];
    for (uint32_t i = 0; i < T * K; i++)
        choice[i] = (struct card_choice){i * 77, i ? (float)i : float_of_bits(0xffc12345)};
    memset(before, 0xab, sizeof before);
    struct test_run run = {.d = {.opcode = CARD_OP_PUBLISH, .tokens = T, .rows = K, .param = {0x12345678}}};
    run.dst = (struct host_data){before, sizeof before};
    run.src = (struct host_data){choice, sizeof choice};
    run.result = after;
    run_on(card, &run);
    assert_int_equal(load_u32(after), 0x12345678);
    assert_memory_equal(after + 4, before + 4, 60);
    assert_memory_equal(after + 64, choice, sizeof choice);
}

static double milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
}

static void await_names_who_is_missing(void **state)
{
    struct card *card = *state;
    struct error err = {0};
    struct card_choice choice[T * K] = {{1, 0}, {3, 0}, {1, 0}, {5, 0}};
    card_addr slot[EXPERTS];
    for (int i = 0; i < EXPERTS; i++)
        slot[i] = i == 5 ? CARD_NO_SLOT : 0; /* what a slot holds is nobody's business yet */
    struct card_descriptor d = {.opcode = CARD_OP_AWAIT, .tokens = T, .param = {K, EXPERTS, 30000}};
    d.weight = put(card, slot, sizeof slot);
    d.aux = put(card, choice, sizeof choice);
    const double start = milliseconds();
    assert_int_equal(card_submit(card, &d, 1, NULL, 0, NULL, &err), ERROR_CARD);
    assert_true(milliseconds() - start >= 30);
    assert_non_null(strstr(err.text, "descriptor 0 (AWAIT): expert 5: no slot after "));
    choice[3].expert = EXPERTS;
    card_free(card, d.aux);
    d.aux = put(card, choice, sizeof choice);
    assert_int_equal(card_submit(card, &d, 1, NULL, 0, NULL, &err), ERROR_CARD);
    assert_non_null(strstr(err.text, "choice 3: expert 6, the slot table has 6"));
    choice[3].expert = 3; /* expert 5 is not chosen: nothing to wait for */
    card_free(card, d.aux);
    d.aux = put(card, choice, sizeof choice);
    run_program(card, &d, 1);
    card_free(card, d.weight);
    card_free(card, d.aux);
}

/* What the host's thread needs: it reads mailboxes and brings experts. */
struct host {
    struct card *card;
    card_addr mailbox, slots, room; /* room: a matrix for each expert */
    const struct test_matrix *matrix;
    uint64_t matrix_bytes;
};

static void *bring_experts(void *argument)
{
    const struct host *host = argument;
    struct error err = {0};
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        uint32_t number = 0;
        struct card_choice choice[T * K];
        while (number != round) {
            if (card_read(host->card, &number, host->mailbox, 4, NULL, 0, NULL, &err)) return "card_read";
            sched_yield();
        }
        if (card_read(host->card, choice, host->mailbox + 64, sizeof choice, NULL, 0, NULL, &err)) return "card_read";
        for (int i = 0; i < T * K; i++) {
            const uint32_t e = choice[i].expert;
            const card_addr at = host->room + e * host->matrix_bytes;
            if (e >= EXPERTS) return "choices";
            int brought = 0; /* the program may use it already */
            for (int j = 0; j < i; j++) brought |= choice[j].expert == e;
            if (brought) continue;
            if (card_write(host->card, at, host->matrix[e].bytes, host->matrix_bytes, NULL, 0, NULL, &err))
                return "write";
            if (card_write(host->card, host->slots + 8 * e, &at, 8, NULL, 0, NULL, &err)) return "write";
        }
    }
    return NULL;
}

/*
 * ROUNDS programs of ROUTER, PUBLISH, AWAIT, EXPERT_MATMUL, each on an empty slot table and wiped matrices: the thread
 * sees which experts are chosen while the program runs, and brings them.
 */
static void a_thread_brings_what_a_program_awaits(void **state)
{
    struct card *card = *state;
    struct test_random random = seeded("mailbox");
    struct test_matrix matrix[EXPERTS];
    float x[T * C], want[EXPERTS][T * R], got[T * K * R];
    fill_random(&random, x, T * C);
    struct host host = {.card = card, .matrix = matrix};
    host.matrix_bytes = card_matrix_bytes(CARD_FORMAT_INT8, R, C);
    const card_addr act = put(card, NULL, card_act_bytes(T, C)), src = put_floats(card, x, T * C);
    const card_addr result = put(card, NULL, sizeof got), logits = put(card, NULL, T * EXPERTS * 4);
    const card_addr choices = put(card, NULL, T * K * sizeof(struct card_choice));
    host.room = put(card, NULL, EXPERTS * host.matrix_bytes);
    host.slots = put(card, NULL, EXPERTS * 8);
    host.mailbox = put(card, NULL, 64 + T * K * sizeof(struct card_choice));
    const struct card_descriptor quantize = {
        .opcode = CARD_OP_QUANTIZE, .tokens = T, .cols = C, .dst = act, .src = src};
    run_program(card, &quantize, 1);
    for (int e = 0; e < EXPERTS; e++) {
        struct card_descriptor d = {.opcode = CARD_OP_MATMUL, .format = CARD_FORMAT_INT8, .tokens = T, .rows = R};
        matrix[e] = test_matrix_make(&random, CARD_FORMAT_INT8, R, C);
        d.cols = C;
        d.src = act;
        d.dst = result;
        d.weight = put(card, matrix[e].bytes, host.matrix_bytes);
        run_program(card, &d, 1);
        get(card, want[e], result, sizeof want[e]);
        card_free(card, d.weight);
    }
    const uint32_t zero = 0;
    struct error err = {0};
    assert_int_equal(card_write(card, host.mailbox, &zero, 4, NULL, 0, NULL, &err), 0);

    struct card_descriptor program[4] = {
        {.opcode = CARD_OP_ROUTER, .tokens = T, .rows = K, .cols = EXPERTS, .dst = choices, .src = logits},
        {.opcode = CARD_OP_PUBLISH, .tokens = T, .rows = K, .dst = host.mailbox, .src = choices},
        {.opcode = CARD_OP_AWAIT, .tokens = T, .weight = host.slots, .aux = choices, .param = {K, EXPERTS, 30000000}},
        {.opcode = CARD_OP_EXPERT_MATMUL,
         .format = CARD_FORMAT_INT8,
         .tokens = T,
         .rows = R,
         .cols = C,
         .dst = result,
         .src = act,
         .weight = host.slots,
         .aux = choices,
         .param = {K, EXPERTS}},
    };
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, bring_experts, &host), 0);
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        float logit[T * EXPERTS];
        uint8_t junk[EXPERTS * 8], wiped[EXPERTS * 64] = {0};
        struct card_choice choice[T * K];
        fill_random(&random, logit, T * EXPERTS);
        memset(junk, 0xff, sizeof junk); /* CARD_NO_SLOT everywhere */
        assert_int_equal(card_write(card, host.slots, junk, sizeof junk, NULL, 0, NULL, &err), 0);
        assert_int_equal(card_write(card, host.room, wiped, sizeof wiped, NULL, 0, NULL, &err), 0);
        assert_int_equal(card_write(card, logits, logit, sizeof logit, NULL, 0, NULL, &err), 0);
        program[1].param[0] = round;
        run_program(card, program, 4);
        get(card, got, result, sizeof got);
        get(card, choice, choices, sizeof choice);
        for (int i = 0; i < T * K; i++)
            assert_memory_equal(got + (size_t)i * R, want[choice[i].expert] + (size_t)(i / K) * R, R * 4);
    }
    void *failure;
    pthread_join(thread, &failure);
    if (failure) fail_msg("the host's thread: %s", (const char *)failure);
    for (int e = 0; e < EXPERTS; e++) test_matrix_free(&matrix[e]);
}

static int setup(void **state)
{
    *state = open_card("sim", 2);
    return 0;
}

static int teardown(void **state)
{
    card_close(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publish_writes_choices_and_number),
        cmocka_unit_test(await_names_who_is_missing),
        cmocka_unit_test(a_thread_brings_what_a_program_awaits),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
