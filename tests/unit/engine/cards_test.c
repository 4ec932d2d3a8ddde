/* SPDX-License-Identifier: Apache-2.0 */
/* One model over several cards: the same bits as on one, whatever the division; time and errors that name the card. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/card/card_list.h"
#include "host/engine/engine.h"
#include "host/engine/sequence.h"
#include "host/experts/experts.h"
#include "tests/unit/engine/recorder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DENSE FIXTURES "/models/llama/model-q4_0.gguf"   /* 3 layers */
#define MOE FIXTURES "/models/qwen3_moe/model-q8_0.gguf" /* 2 layers */
#define N_PROMPT 150u                                    /* more than two groups of a step */
#define N_NEW 9u

struct way {
    const char *cards;
    uint32_t chunk, beside, expert_slots;
    const char *guess, *record;
    bool whole, resident; /* steps are not divided into groups; experts may not stream */
    bool load_only;       /* no engine */
};

struct cards_engine {
    struct model *model;
    struct card_list cards;
    struct loaded_model *loaded;
    struct engine *engine;
};

static int try_open(struct cards_engine *all, const char *path, const struct way *way, uint64_t memory_bytes,
                    struct error *err)
{
    const struct card_options card_options = {.threads = 1, .memory_bytes = memory_bytes};
    const struct model_load_options load = {.threads = 1,
                                            .expert_slots = way->expert_slots,
                                            .expert_guess = way->guess,
                                            .record_routing = way->record,
                                            .experts_resident = way->resident};
    const struct engine_options options = {.max_sequences = 1 + way->beside, .chunk = way->chunk, .context = 256};
    *all = (struct cards_engine){0};
    int status = model_open(path, &all->model, err);
    if (status == 0) status = card_list_open(way->cards, &card_options, &all->cards, err);
    if (status == 0) status = experts_load_cards(all->model, all->cards.card, all->cards.n, &load, &all->loaded, err);
    if (status == 0 && way->whole) loaded_model_keep_whole(all->loaded);
    return status < 0 || way->load_only ? status : engine_open(all->loaded, NULL, &options, &all->engine, err);
}

static void close_all(struct cards_engine *all)
{
    engine_close(all->engine);
    loaded_model_close(all->loaded);
    card_list_close(&all->cards);
    model_close(all->model);
}

static void open_all(struct cards_engine *all, const char *path, const struct way *way)
{
    struct error err = {0};
    if (try_open(all, path, way, 256 << 20, &err) < 0) fail_msg("%s: %s", way->cards, err.text);
}

static void submit(struct cards_engine *all, struct recorder *recorder, uint32_t salt, uint32_t n_prompt,
                   uint32_t max_tokens)
{
    uint32_t prompt[N_PROMPT];
    struct error err = {0};
    for (uint32_t i = 0; i < n_prompt; i++)
        prompt[i] = random_bits(salt, 0, i, 0) % model_get_config(all->model)->n_vocab;
    struct engine_request request = recorder_request(recorder, prompt, n_prompt, max_tokens);
    if (engine_submit(all->engine, &request, &recorder->id, &err) < 0) fail_msg("%s", err.text);
}

static void finish(struct engine *engine, const struct recorder *recorder)
{
    struct error err = {0};
    while (!recorder->n_ends)
        if (engine_step(engine, &err) < 0 || engine_validate(engine, &err) < 0) fail_msg("%s", err.text);
}

/* Logits and tokens of one sequence, with others in the same steps. */
static void run(const char *path, const struct way *way, struct recorder *recorder)
{
    struct cards_engine all;
    struct recorder others[4] = {0};
    open_all(&all, path, way);
    *recorder = (struct recorder){.n_vocab = model_get_config(all.model)->n_vocab};
    for (uint32_t i = 0; i < way->beside; i++) submit(&all, &others[i], i, 3 + 40 * i, 60);
    submit(&all, recorder, 1000, N_PROMPT, N_NEW);
    finish(all.engine, recorder);
    if (recorder->reason != FINISH_LENGTH) fail_msg("%s: %s", way->cards, recorder->error.text);
    assert_int_equal(recorder->n_rows, N_PROMPT + N_NEW - 1);
    close_all(&all);
}

static void compare(const char *path, const struct way *ways, size_t n)
{
    struct recorder one, other;
    run(path, &(struct way){.cards = "sim", .chunk = 256}, &one);
    for (size_t i = 0; i < n; i++) {
        run(path, &ways[i], &other);
        if (memcmp(other.rows, one.rows, (size_t)one.n_rows * one.n_vocab * sizeof(float)) != 0)
            fail_msg("%s, chunk %u, %u slots: other bits", ways[i].cards, ways[i].chunk, ways[i].expert_slots);
        assert_memory_equal(other.tokens, one.tokens, N_NEW * sizeof(uint32_t));
        recorder_free(&other);
    }
    recorder_free(&one);
}

static void test_dense_models_have_the_same_bits(void **state)
{
    (void)state;
    static const struct way ways[] = {
        {.cards = "sim*2", .chunk = 256},
        {.cards = "sim*3", .chunk = 256, .beside = 4},
        {.cards = "sim*3", .chunk = 7, .beside = 2},
        {.cards = "sim:banks=4,sim:banks=3", .chunk = 70},
        {.cards = "sim:u55c,sim:u50,sim:u280", .chunk = 128},
    };
    compare(DENSE, ways, sizeof ways / sizeof *ways);
}

static void test_models_with_experts_have_the_same_bits(void **state)
{
    (void)state;
    static const struct way ways[] = {
        {.cards = "sim*2", .chunk = 256, .beside = 3},
        {.cards = "sim*2", .chunk = 64, .expert_slots = 2},
        {.cards = "sim:u55c*2", .chunk = 256, .expert_slots = 3, .guess = "both"},
    };
    compare(MOE, ways, sizeof ways / sizeof *ways);
}

static void test_the_demo_model_has_the_same_bits_on_one_to_four_cards(void **state)
{
    (void)state;
    static const struct way ways[] = {
        {.cards = "sim*2", .chunk = 256},
        {.cards = "sim*3", .chunk = 100, .beside = 3},
        {.cards = "sim*4", .chunk = 256, .beside = 2},
        {.cards = "sim*5", .chunk = 256},
        {.cards = "sim*2", .chunk = 256, .expert_slots = 2, .guess = "none"},
        {.cards = "sim*3", .chunk = 32, .expert_slots = 3, .guess = "router"},
        {.cards = "sim:u55c*4", .chunk = 256, .expert_slots = 5, .guess = "both", .beside = 2},
        {.cards = "sim:u55c*2", .chunk = 256, .expert_slots = 20},
    };
    compare(NULL, ways, sizeof ways / sizeof *ways);
}

/* Every layer is on one card, in order; pages are as many on each, and as large together as on one. */
static void test_each_card_has_its_layers(void **state)
{
    (void)state;
    struct cards_engine one, three;
    struct engine_limits limits, limits_of_one;
    open_all(&one, NULL, &(struct way){.cards = "sim", .chunk = 64});
    open_all(&three, NULL, &(struct way){.cards = "sim*3", .chunk = 64});
    uint32_t expected = 0, first, end;
    uint64_t bytes = 0;
    unsigned place = 0;
    for (const struct loaded_model *part = three.loaded; part; part = loaded_model_next(part), place++) {
        model_part_layers(loaded_model_source(part), &first, &end);
        assert_int_equal(first, expected);
        assert_true(end > first);
        assert_ptr_equal(loaded_model_card(part), three.cards.card[place]);
        bytes += loaded_model_card_bytes(part);
        expected = end;
    }
    assert_int_equal(place, 3);
    assert_int_equal(expected, model_get_config(three.model)->n_layers);
    assert_in_range(bytes, loaded_model_card_bytes(one.loaded), loaded_model_card_bytes(one.loaded) + (64 << 10));
    engine_get_limits(one.engine, &limits_of_one);
    engine_get_limits(three.engine, &limits);
    assert_int_equal(limits.page_bytes, limits_of_one.page_bytes);
    assert_int_equal(limits.context, limits_of_one.context);
    close_all(&one);
    close_all(&three);
}

static void test_a_faster_card_has_more_layers(void **state)
{
    (void)state;
    struct cards_engine all;
    uint32_t first, slow, fast;
    /* Of DDR with 77 GB/s, and of HBM with 460. */
    open_all(&all, NULL, &(struct way){.cards = "sim:u250,sim:u55c", .chunk = 64});
    model_part_layers(loaded_model_source(all.loaded), &first, &slow);
    model_part_layers(loaded_model_source(loaded_model_next(all.loaded)), &first, &fast);
    assert_true(slow < fast - first);
    close_all(&all);
}

/* Virtual time of a prompt, and what each card waited for the others; all end at one time. */
static uint64_t time_prompt(const struct way *way, uint64_t waited[4])
{
    struct cards_engine all;
    struct recorder recorder = {0};
    uint64_t before, now, end = 0;
    open_all(&all, NULL, way);
    assert_int_equal(card_now(all.cards.card[0], &before, NULL), 0);
    submit(&all, &recorder, 1, N_PROMPT, 1);
    finish(all.engine, &recorder);
    const struct loaded_model *part = all.loaded;
    for (unsigned i = 0; i < all.cards.n; i++, part = loaded_model_next(part)) {
        struct card_usage usage;
        assert_int_equal(card_measure(all.cards.card[i], &usage, NULL), 0);
        assert_int_equal(card_now(all.cards.card[i], &now, NULL), 0);
        if (i == 0) end = now;
        assert_int_equal(now, end);
        waited[i] = usage.elsewhere_ps;
        assert_int_equal(loaded_model_waited(part), waited[i]);
    }
    close_all(&all);
    return end - before;
}

static void test_cards_work_at_the_same_time(void **state)
{
    (void)state;
    uint64_t waited[4] = {0}, waited_whole[4] = {0}, again[4] = {0}, none[4] = {0};
    const struct way grouped = {.cards = "sim:u55c*3", .chunk = 256},
                     whole = {.cards = "sim:u55c*3", .chunk = 256, .whole = true};
    const uint64_t time = time_prompt(&grouped, waited), time_whole = time_prompt(&whole, waited_whole);
    assert_true(time < time_whole);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(waited[i] < waited_whole[i]);
        assert_in_range(waited_whole[i], time_whole / 4, time_whole); /* one of three works */
    }
    assert_int_equal(time_prompt(&grouped, again), time);
    assert_memory_equal(again, waited, sizeof waited);
    (void)time_prompt(&(struct way){.cards = "sim:u55c", .chunk = 256}, none);
    assert_int_equal(none[0], 0); /* a card alone waits for nobody */
}

/* What the middle card had is gone: its steps fail by its name, and the sequence with them. */
static void test_a_card_that_fails_is_named(void **state)
{
    (void)state;
    struct cards_engine all;
    struct recorder recorder = {0};
    struct error err = {0};
    open_all(&all, DENSE, &(struct way){.cards = "sim:u55c*3", .chunk = 128});
    submit(&all, &recorder, 1, N_PROMPT, N_NEW);
    assert_true(engine_step(all.engine, &err) > 0);
    assert_int_equal(recorder.n_ends, 0);
    assert_int_equal(card_reset(all.cards.card[1], &err), 0);
    while (!recorder.n_ends) assert_true(engine_step(all.engine, &err) >= 0);
    assert_int_equal(recorder.reason, FINISH_ERROR);
    if (!strstr(recorder.error.text, "card 2 of 3 (sim:u55c)")) fail_msg("%s", recorder.error.text);
    close_all(&all);
}

static void test_refusals_say_what_would_do(void **state)
{
    (void)state;
    struct cards_engine all;
    struct error err = {0};
    assert_int_equal(try_open(&all, MOE, &(struct way){.cards = "sim*3"}, 256 << 20, &err), ERROR_BAD_ARGUMENT);
    assert_non_null(strstr(err.text, "2 layers"));
    assert_non_null(strstr(err.text, "2 cards at most"));
    close_all(&all);
    assert_int_equal(try_open(&all, DENSE, &(struct way){.cards = "sim*2", .expert_slots = 4}, 256 << 20, &err),
                     ERROR_BAD_ARGUMENT);
    close_all(&all);
    /* Too little on two cards: as many as the error says are enough, and one less are not. */
    struct way way = {.cards = "sim*2", .resident = true, .load_only = true};
    char more[16];
    assert_int_equal(try_open(&all, NULL, &way, 2 << 20, &err), ERROR_NO_MEMORY);
    close_all(&all);
    const char *says = strstr(err.text, " cards like the last one");
    if (!says || !strstr(err.text, "does not fit on 2 cards")) fail_msg("%s", err.text);
    while (says > err.text && says[-1] >= '0' && says[-1] <= '9') says--;
    const unsigned enough = (unsigned)strtoul(says, NULL, 10);
    assert_in_range(enough, 3, 5);
    way.cards = more;
    for (unsigned n = enough; n + 1 >= enough; n--) {
        (void)snprintf(more, sizeof more, "sim*%u", n);
        const int status = try_open(&all, NULL, &way, 2 << 20, &err);
        if (status != (n == enough ? 0 : ERROR_NO_MEMORY)) fail_msg("%u cards: %d, %s", n, status, err.text);
        close_all(&all);
    }
    /* Streaming, what did not fit does. */
    way = (struct way){.cards = "sim*2", .load_only = true};
    if (try_open(&all, NULL, &way, 2 << 20, &err) < 0) fail_msg("%s", err.text);
    assert_true(loaded_model_expert_slots(all.loaded) > 0);
    close_all(&all);
}

static void read_file(const char *path, char *bytes, size_t size, size_t *n)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    *n = fread(bytes, 1, size, file);
    assert_true(*n > 0 && *n < size);
    fclose(file);
}

/* The routing of a model is the same trace wherever its layers are. */
static void test_routing_is_recorded_over_all_cards(void **state)
{
    (void)state;
    static char bytes[2][1 << 20];
    const char *const cards[] = {"sim", "sim*3"};
    size_t n[2];
    for (unsigned i = 0; i < 2; i++) {
        char path[] = "/tmp/sluice-cards-XXXXXX";
        struct cards_engine all;
        struct recorder recorder = {0};
        struct error err = {0};
        const int fd = mkstemp(path);
        assert_true(fd >= 0);
        close(fd);
        open_all(&all, NULL, &(struct way){.cards = cards[i], .chunk = 128, .expert_slots = 8, .record = path});
        submit(&all, &recorder, 5, N_PROMPT, N_NEW);
        finish(all.engine, &recorder);
        if (experts_end_recording(all.loaded, &err) < 0) fail_msg("%s", err.text);
        close_all(&all);
        read_file(path, bytes[i], sizeof bytes[i], &n[i]);
        unlink(path);
    }
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(bytes[0], bytes[1], n[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dense_models_have_the_same_bits),
        cmocka_unit_test(test_models_with_experts_have_the_same_bits),
        cmocka_unit_test(test_the_demo_model_has_the_same_bits_on_one_to_four_cards),
        cmocka_unit_test(test_each_card_has_its_layers),
        cmocka_unit_test(test_a_faster_card_has_more_layers),
        cmocka_unit_test(test_cards_work_at_the_same_time),
        cmocka_unit_test(test_a_card_that_fails_is_named),
        cmocka_unit_test(test_refusals_say_what_would_do),
        cmocka_unit_test(test_routing_is_recorded_over_all_cards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
