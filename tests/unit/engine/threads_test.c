/* SPDX-License-Identifier: Apache-2.0 */
/* Four threads submit and cancel while the owner runs: every sequence ends once, and (under TSan) nothing races. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/engine/sequence.h"
#include "tests/unit/engine/fake_model.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#define N_CLIENTS 4
#define N_EACH 150

struct request_state {
    struct client *client;
    atomic_uint n_tokens, n_ends;
    atomic_int reason;
    uint64_t id;
};

struct client {
    struct engine *engine;
    uint32_t number;
    pthread_t thread;
    struct request_state requests[N_EACH];
    unsigned n_refused;
};

static int on_token(void *context, uint32_t token)
{
    struct request_state *request = context;
    (void)token;
    return atomic_fetch_add(&request->n_tokens, 1) == 49; /* some are longer than they may be */
}

static void on_end(void *context, enum finish_reason reason, const struct engine_usage *usage, const struct error *err)
{
    struct request_state *request = context;
    (void)usage, (void)err;
    atomic_store(&request->reason, (int)reason);
    atomic_fetch_add(&request->n_ends, 1);
}

static void *client_main(void *context)
{
    struct client *client = context;
    for (uint32_t i = 0; i < N_EACH; i++) {
        struct request_state *state = &client->requests[i];
        uint32_t dice = random_bits(3, client->number, i, 0), prompt[40];
        struct engine_counters counters;
        struct error err = {0};
        for (uint32_t j = 0; j < 40; j++) prompt[j] = (j + dice) % FAKE_VOCAB;
        const struct engine_request request = {
            .prompt = prompt,
            .n_prompt = 1 + dice % 40,
            .max_tokens = (dice >> 8) % 60,
            .sampling = {.temperature = 1, .top_p = 0.9f, .seed = dice},
            .callbacks = {.token = on_token, .end = on_end},
            .context = state,
        };
        if (engine_submit(client->engine, &request, &state->id, &err) < 0) {
            client->n_refused++; /* the queue is full */
            atomic_store(&state->n_ends, 1);
        }
        if (dice >> 16 & 1) engine_cancel(client->engine, client->requests[(dice >> 20) % (i + 1)].id);
        engine_count(client->engine, &counters);
        if (counters.waiting > 40) sched_yield();
    }
    return NULL;
}

static void *owner_main(void *context)
{
    struct error err = {0};
    int status = engine_run(context, &err);
    return status < 0 ? context : NULL;
}

static void run_clients(bool drain)
{
    static struct client clients[N_CLIENTS];
    struct loaded_model loaded;
    struct engine *engine;
    struct error err = {0};
    pthread_t owner;
    void *failed;
    const struct engine_options options = {.context = 128, .max_sequences = 5, .chunk = 30, .queue_limit = 64};
    memset(clients, 0, sizeof clients);
    fake_model_make(&loaded, 128, 14 * FAKE_PAGE_BYTES, 0); /* pages for some of them: others wait */
    if (engine_open(&loaded, NULL, &options, &engine, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(pthread_create(&owner, NULL, owner_main, engine), 0);
    for (uint32_t i = 0; i < N_CLIENTS; i++) {
        clients[i].engine = engine;
        clients[i].number = i;
        assert_int_equal(pthread_create(&clients[i].thread, NULL, client_main, &clients[i]), 0);
    }
    for (uint32_t i = 0; i < N_CLIENTS; i++) pthread_join(clients[i].thread, NULL);
    engine_stop(engine, drain);
    pthread_join(owner, &failed);
    assert_null(failed);
    if (engine_validate(engine, &err) < 0) fail_msg("%s", err.text);

    unsigned n_reasons[4] = {0}, n_refused = 0;
    for (uint32_t i = 0; i < N_CLIENTS; i++) {
        n_refused += clients[i].n_refused;
        for (uint32_t j = 0; j < N_EACH; j++) {
            assert_int_equal(clients[i].requests[j].n_ends, 1);
            n_reasons[clients[i].requests[j].reason]++;
        }
    }
    assert_int_equal(n_reasons[FINISH_ERROR], 0);
    assert_true(n_refused < N_CLIENTS * N_EACH);
    struct engine_counters counters;
    engine_count(engine, &counters);
    assert_int_equal(counters.pages_used, 0);
    assert_int_equal(counters.pages_reserved, 0);
    assert_int_equal(counters.waiting, 0);
    engine_close(engine);
}

static void test_clients_then_drain(void **state)
{
    (void)state;
    run_clients(true);
}

static void test_clients_then_stop(void **state)
{
    (void)state;
    run_clients(false);
}

/* An owner that sleeps is woken by a submit and by a stop. */
static void test_sleeping_owner_wakes(void **state)
{
    (void)state;
    struct loaded_model loaded;
    struct engine *engine;
    struct error err = {0};
    pthread_t owner;
    struct request_state request_state = {0};
    const struct engine_options options = {0};
    fake_model_make(&loaded, 128, 1 << 20, 0);
    assert_int_equal(engine_open(&loaded, NULL, &options, &engine, &err), 0);
    assert_int_equal(pthread_create(&owner, NULL, owner_main, engine), 0);
    for (int i = 0; i < 3; i++) {
        const struct engine_request request = {
            .prompt = (const uint32_t[]){5},
            .n_prompt = 1,
            .max_tokens = 3,
            .sampling = {.top_p = 1},
            .callbacks = {.token = on_token, .end = on_end},
            .context = &request_state,
        };
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        atomic_store(&request_state.n_ends, 0);
        assert_int_equal(engine_submit(engine, &request, &request_state.id, &err), 0);
        for (int wait = 0; atomic_load(&request_state.n_ends) == 0; wait++) {
            assert_in_range(wait, 0, 10000);
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
    }
    assert_int_equal(request_state.n_tokens, 9);
    engine_stop(engine, true);
    pthread_join(owner, NULL);
    engine_close(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clients_then_drain),
        cmocka_unit_test(test_clients_then_stop),
        cmocka_unit_test(test_sleeping_owner_wakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
