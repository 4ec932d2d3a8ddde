/* SPDX-License-Identifier: Apache-2.0 */
/* Whose turn it is, over queues made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/engine/sequence.h"

#include <string.h>

#define MOST 512

struct queue {
    struct admission admission;
    struct sequence_queue waiting;
    struct sequence sequences[MOST], *running[MOST];
    uint32_t n_sequences, n_running;
};

static void arrive(struct queue *queue, uint64_t client, int32_t priority)
{
    struct sequence *sequence = &queue->sequences[queue->n_sequences];
    *sequence = (struct sequence){.id = queue->n_sequences++, .client = client, .priority = priority};
    sequence_queue_push(&queue->waiting, sequence);
}

/* Admits the next, which then runs; its number of arrival. */
static uint64_t admit_one(struct queue *queue)
{
    struct sequence *next = admission_next(&queue->admission, &queue->waiting, queue->running, queue->n_running);
    assert_non_null(next);
    struct sequence_queue old = queue->waiting;
    queue->waiting = (struct sequence_queue){0};
    for (struct sequence *after, *s = old.first; s; s = after) {
        after = s->next;
        if (s != next) sequence_queue_push(&queue->waiting, s);
    }
    admission_took(&queue->admission, next);
    queue->running[queue->n_running++] = next;
    return next->id;
}

static void end_all(struct queue *queue) { queue->n_running = 0; }

static void order_is(struct queue *queue, bool one_at_a_time, const uint64_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(admit_one(queue), ids[i]);
        if (one_at_a_time) end_all(queue);
    }
    assert_null(admission_next(&queue->admission, &queue->waiting, queue->running, queue->n_running));
}
#define ORDER_IS(queue, alone, ...)                                                                                    \
    order_is(queue, alone, (const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

static void one_client_in_order_of_arrival(void **state)
{
    static struct queue queue;
    (void)state;
    for (int i = 0; i < 4; i++) arrive(&queue, 0, 0);
    ORDER_IS(&queue, false, 0, 1, 2, 3);
}

static void clients_in_turn(void **state)
{
    static struct queue alone, side;
    struct queue *const queues[] = {&alone, &side};
    (void)state;
    for (int q = 0; q < 2; q++) {
        for (int i = 0; i < 5; i++) arrive(queues[q], 1, 0);
        arrive(queues[q], 2, 0);
        arrive(queues[q], 2, 0);
        arrive(queues[q], 3, 0);
        /* One runs at a time: whose last turn is longest ago; or all run: of whom the fewest do. */
        ORDER_IS(queues[q], q == 0, 0, 5, 7, 1, 6, 2, 3, 4);
    }
}

static void urgent_first(void **state)
{
    static struct queue queue;
    (void)state;
    arrive(&queue, 1, 100);
    arrive(&queue, 1, 100);
    arrive(&queue, 2, 50);
    arrive(&queue, 2, 50);
    arrive(&queue, 1, 40);
    arrive(&queue, 3, -7);
    ORDER_IS(&queue, false, 5, 4, 2, 3, 0, 1);
}

static void a_newcomer_waits_for_one_at_most(void **state)
{
    static struct queue queue;
    (void)state;
    for (int i = 0; i < 100; i++) arrive(&queue, 1, 0);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(admit_one(&queue), i);
        end_all(&queue);
    }
    arrive(&queue, 2, 0);
    assert_int_equal(admit_one(&queue), 100);
}

/* More clients than are remembered: every one still gets its turn before any gets two more. */
static void many_clients(void **state)
{
    static struct queue queue;
    unsigned served[200] = {0};
    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned client = 0; client < 200; client++) arrive(&queue, client + 1, 0);
    }
    for (unsigned i = 0; i < 400; i++) {
        const uint64_t client = queue.sequences[admit_one(&queue)].client;
        served[client - 1]++;
        assert_true(served[client - 1] <= 2);
    }
    for (unsigned client = 0; client < 200; client++) assert_int_equal(served[client], 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_client_in_order_of_arrival),
        cmocka_unit_test(clients_in_turn),
        cmocka_unit_test(urgent_first),
        cmocka_unit_test(a_newcomer_waits_for_one_at_most),
        cmocka_unit_test(many_clients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
