/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Experts that stream through fewer slots than there are: the same logits bit for bit with any number of slots, on every
 * card, whatever the copies' delays and order; clear errors where copies fail or do not come, and steps go on afterwards.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/experts/experts.h"
#include "host/experts/policy.h"
#include "host/model/expert_pool.h"
#include "host/model/slc_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MODEL FIXTURES "/models/qwen3_moe/model-q4_0.gguf"
#define N_TOKENS 45u /* of each of two sequences */
#define CHUNK 13u
#define ALL_EXPERTS 16u /* 2 layers of 8, of which a token needs 2 */
#define SEEDS 24u

struct all {
    struct model *model;
    struct card *card;
    struct loaded_model *loaded;
    struct step_memory *memory;
};

static int open_all(struct all *all, const char *path, const char *spec, const struct model_load_options *options,
                    struct error *err)
{
    const struct card_options card = {.threads = 2, .memory_bytes = 32u << 20};
    *all = (struct all){0};
    if (model_open(path, &all->model, err) < 0) fail_msg("%s", err->text);
    int status = card_open(spec, &card, &all->card, err);
    if (status < 0) fail_msg("%s: %s", spec, err->text);
    status = experts_load(all->model, all->card, options, &all->loaded, err);
    if (status < 0) return status;
    struct card_info info;
    card_describe(all->card, &info);
    const struct step_limits limits = {.max_tokens = 2 * CHUNK,
                                       .max_logit_rows = 2 * CHUNK,
                                       .n_pages = 4,
                                       .max_pages_in_tables = 4,
                                       .kv_format = info.kv_default};
    return step_memory_open(all->loaded, &limits, &all->memory, err);
}

static void close_all(struct all *all)
{
    step_memory_close(all->memory);
    loaded_model_close(all->loaded);
    card_close(all->card);
    model_close(all->model);
}

/* Tokens [at, at + n) of both sequences; n rows of logits each. */
static int step(struct all *all, uint32_t at, uint32_t n, float *logits, struct error *err)
{
    const uint32_t n_vocab = model_get_config(all->model)->n_vocab, pages[4] = {2, 0, 1, 3};
    uint32_t tokens[2 * CHUNK], rows[2 * CHUNK];
    struct card_batch_token batch[2 * CHUNK];
    for (uint32_t i = 0; i < 2 * n; i++) {
        const uint32_t sequence = i / n, position = at + i % n;
        tokens[i] = (position * 29 + sequence * 11 + 5) % n_vocab;
        rows[i] = i;
        batch[i] = (struct card_batch_token){
            .position = position, .first_page = 2 * sequence, .visible = position + 1, .state = sequence};
    }
    const struct step step = {2 * n, tokens, batch, 4, pages, 2 * n, rows, .sources = NULL};
    return model_step(all->loaded, all->memory, &step, logits, err);
}

/* In chunks, then token by token; the caller's to free. */
static float *logits_of(struct all *all, size_t *n_bytes)
{
    const uint32_t n_vocab = model_get_config(all->model)->n_vocab;
    struct error err = {0};
    *n_bytes = (size_t)2 * N_TOKENS * n_vocab * sizeof(float);
    float *logits = calloc(*n_bytes, 1), *row = logits;
    assert_non_null(logits);
    for (uint32_t at = 0; at < N_TOKENS;) {
        const uint32_t n = at + CHUNK <= 3 * CHUNK ? CHUNK : 1;
        if (step(all, at, n, row, &err) < 0) fail_msg("%s", err.text);
        row += (size_t)2 * n * n_vocab;
        at += n;
    }
    return logits;
}

static float *logits_with(const char *path, const char *spec, const struct model_load_options *options, size_t *n_bytes,
                          struct experts_traffic *traffic)
{
    struct all all;
    struct error err = {0};
    if (open_all(&all, path, spec, options, &err) < 0) fail_msg("%s: %s", spec, err.text);
    float *logits = logits_of(&all, n_bytes);
    assert_int_equal(experts_count_all(all.loaded, traffic), options->expert_slots > 0);
    close_all(&all);
    return logits;
}

static void check_same(const char *path, const char *spec, const float *want, const struct model_load_options *options,
                       struct experts_traffic *traffic)
{
    size_t n;
    float *got = logits_with(path, spec, options, &n, traffic);
    if (memcmp(want, got, n) != 0)
        fail_msg("%s: other logits with %u slots, policy %s, guesses %s, seed %llu", spec, options->expert_slots,
                 options->expert_policy ? options->expert_policy : "-",
                 options->expert_guess ? options->expert_guess : "-", (unsigned long long)options->expert_shuffle);
    free(got);
}

static const char *const specs[] = {
    "sim",    "sim:banks=4", "sim:u55c", "ref",
#ifdef SLUICE_OPENCL
    "opencl",
#endif
};
#define N_SPECS (sizeof specs / sizeof specs[0])

/* Bytes of a piece at least, for slots over so many banks and no more. */
static uint64_t least_piece(const char *spec, unsigned banks)
{
    const struct model_load_options one = {.expert_slots = ALL_EXPERTS, .expert_piece_bytes = UINT64_MAX};
    struct expert_pool_shape shape;
    struct error err = {0};
    struct all all;
    if (open_all(&all, MODEL, spec, &one, &err) < 0) fail_msg("%s: %s", spec, err.text);
    expert_pool_get_shape(loaded_model_pool(all.loaded), &shape);
    assert_int_equal(shape.n_pieces, 1);
    close_all(&all);
    return shape.slot_bytes / banks;
}

/* Four banks make two parts of two. */
static void slots_lie_in_parts_of_the_banks(void **state)
{
    (void)state;
    const uint64_t piece = least_piece("sim:banks=4", 2);
    const struct model_load_options options = {.expert_slots = 5, .expert_piece_bytes = piece};
    struct expert_pool_shape shape;
    struct error err = {0};
    struct all all;
    unsigned in[4] = {0};
    if (open_all(&all, MODEL, "sim:banks=4", &options, &err) < 0) fail_msg("%s", err.text);
    const struct expert_pool *pool = loaded_model_pool(all.loaded);
    expert_pool_get_shape(pool, &shape);
    assert_int_equal(shape.n_pieces, 2);
    for (uint32_t slot = 0; slot < 5; slot++)
        for (unsigned p = 0; p < 2; p++) in[CARD_ADDR_BANK(expert_pool_piece(pool, slot, p))]++;
    assert_int_equal(in[0], 3);
    assert_int_equal(in[1], 3);
    assert_int_equal(in[2], 2);
    assert_int_equal(in[3], 2);
    close_all(&all);
}

static void the_bits_do_not_depend_on_the_slots(void **state)
{
    (void)state;
    static const uint32_t slots[] = {2, 3, 4, 8, 9, ALL_EXPERTS};
    for (size_t s = 0; s < N_SPECS; s++) {
        size_t n;
        const uint64_t piece_of_two = least_piece(specs[s], 2);
        struct experts_traffic none, traffic;
        float *want = logits_with(MODEL, specs[s], &(struct model_load_options){0}, &n, &none);
        for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++) {
            check_same(MODEL, specs[s], want, &(struct model_load_options){.expert_slots = slots[i]}, &traffic);
            const uint64_t bytes = traffic.bytes, misses = traffic.misses;
            const struct model_load_options dealt = {.expert_slots = slots[i], .expert_piece_bytes = 1};
            check_same(MODEL, specs[s], want, &dealt, &traffic);
            /* On a clock, time says which guesses come: pieces have other times. */
            if (strchr(specs[s], ':') == NULL || strchr(specs[s], '=')) assert_int_equal(traffic.misses, misses);
            assert_true(traffic.bytes >= bytes); /* the last round of tiles may not be full */
            const struct model_load_options parts = {.expert_slots = slots[i], .expert_piece_bytes = piece_of_two};
            if (i % 3 == 1) check_same(MODEL, specs[s], want, &parts, &traffic);
            assert_true(traffic.misses >= 4);
            if (slots[i] == ALL_EXPERTS) assert_in_range(traffic.misses, 4, ALL_EXPERTS); /* each comes once */
        }
        free(want);
    }
}

/* A card of the ABI before has no AWAIT for some of the experts: whatever it would not understand is refused by card_check. */
static void nor_on_an_older_abi(void **state)
{
    (void)state;
    static const char *const older[] = {"sim:abi=2", "sim:banks=4,abi=2", "sim:u55c,abi=2"};
    static const uint32_t slots[] = {0, 2, 5, ALL_EXPERTS};
    size_t n;
    struct experts_traffic traffic;
    float *want = logits_with(MODEL, "sim", &(struct model_load_options){0}, &n, &traffic);
    for (size_t s = 0; s < sizeof older / sizeof older[0]; s++)
        for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++)
            check_same(MODEL, older[s], want,
                       &(struct model_load_options){.expert_slots = slots[i], .expert_guess = slots[i] ? "both" : NULL},
                       &traffic);
    free(want);
}

static void nor_on_the_policy(void **state)
{
    (void)state;
    size_t n;
    struct experts_traffic traffic;
    float *want = logits_with(MODEL, "sim", &(struct model_load_options){0}, &n, &traffic);
    const char *name;
    for (unsigned i = 0; (name = expert_policy_name_at(i)) != NULL; i++) {
        if (strcmp(name, "belady") == 0 || strcmp(name, "profile") == 0) continue; /* need the future, or the past */
        check_same(MODEL, "sim", want, &(struct model_load_options){.expert_slots = 5, .expert_policy = name},
                   &traffic);
    }
    free(want);
}

static const char *const guesses[] = {"none", "router", "table", "both"};

/* Nor on guesses, which bring other experts and more. */
static void nor_on_guesses(void **state)
{
    (void)state;
    static const uint32_t slots[] = {2, 3, 5, 9};
    const char *const paths[] = {MODEL, NULL}; /* the demo model has five layers to guess in */
    for (size_t p = 0; p < 2; p++) {
        for (size_t s = 0; s < (p == 0 ? N_SPECS : 1); s++) {
            const size_t first = s == 0 ? 0 : 4 + s % 3 * 4, end = s == 0 ? 16 : first + 4;
            size_t n;
            struct experts_traffic traffic;
            float *want = logits_with(paths[p], specs[s], &(struct model_load_options){0}, &n, &traffic);
            for (size_t i = first; i < end; i++) {
                const struct model_load_options options = {
                    .expert_slots = slots[i / 4] + (uint32_t)p, .expert_guess = guesses[i % 4], .expert_shuffle = i};
                check_same(paths[p], specs[s], want, &options, &traffic);
                if (i % 4 == 0 && i / 4 < 3)
                    assert_int_equal(traffic.ahead, 0); /* no prompt reads ahead, and nobody guesses */
                assert_true(traffic.ahead_used <= traffic.ahead);
            }
            free(want);
        }
    }
}

static void check_seeds(const char *path, const char *spec, uint32_t seeds)
{
    size_t n;
    struct experts_traffic traffic;
    float *want = logits_with(path, spec, &(struct model_load_options){0}, &n, &traffic);
    for (uint32_t seed = 1; seed <= seeds; seed++) {
        const struct model_load_options options = {
            .expert_slots = 3 + seed % 2 * 6 + seed % 3, .expert_guess = guesses[seed % 4], .expert_shuffle = seed};
        check_same(path, spec, want, &options, &traffic);
        assert_true(traffic.misses > 0);
    }
    free(want);
}

static void nor_on_when_copies_land(void **state)
{
    (void)state;
    for (size_t s = 0; s < N_SPECS; s++) check_seeds(MODEL, specs[s], s == 0 ? SEEDS : SEEDS / 8);
    check_seeds(NULL, "sim", getenv("SLUICE_LONG") ? 1000 : SEEDS / 3); /* the demo model */
}

/* Virtual time is the same whenever copies land. */
static void virtual_time_does_not_depend_on_when_copies_land(void **state)
{
    (void)state;
    uint64_t want_ps[2] = {0}, want_stall[2] = {0};
    for (uint64_t seed = 0; seed < 10; seed++) {
        const struct model_load_options options = {
            .expert_slots = 5, .expert_guess = seed % 2 ? "both" : "none", .expert_shuffle = seed};
        uint64_t *ps_of = &want_ps[seed % 2], *stall_of = &want_stall[seed % 2];
        struct all all;
        struct error err = {0};
        struct experts_traffic traffic;
        uint64_t ps;
        size_t n;
        if (open_all(&all, MODEL, "sim:u55c", &options, &err) < 0) fail_msg("%s", err.text);
        free(logits_of(&all, &n));
        assert_int_equal(card_now(all.card, &ps, &err), 0);
        assert_true(experts_count_all(all.loaded, &traffic));
        close_all(&all);
        if (seed < 2) *ps_of = ps;
        if (seed < 2) *stall_of = traffic.stall_ps;
        assert_int_equal(ps, *ps_of);
        assert_int_equal(traffic.stall_ps, *stall_of);
        assert_true(traffic.stall_ps > 0 && traffic.stall_ps < ps);
    }
}

static void too_few_slots_are_refused(void **state)
{
    (void)state;
    struct all all;
    struct error err = {0};
    assert_int_equal(open_all(&all, MODEL, "sim", &(struct model_load_options){.expert_slots = 1}, &err),
                     ERROR_BAD_ARGUMENT);
    assert_non_null(strstr(err.text, "--expert-slots 2 works"));
    close_all(&all);
}

/* A limit that no copy keeps: the step fails and names who was late; the expert comes all the same, and steps go on. */
static void who_comes_too_late_is_named(void **state)
{
    (void)state;
    unsigned late = 0; /* on any card: a busy machine may give the copies all the time they need on one */
    for (size_t s = 0; s < N_SPECS; s++) {
        const struct model_load_options options = {
            .expert_slots = ALL_EXPERTS, .expert_limit_us = 1, .expert_shuffle = 7};
        struct all all;
        struct error err = {0};
        unsigned failed = 0;
        if (open_all(&all, MODEL, specs[s], &options, &err) < 0) fail_msg("%s", err.text);
        float *logits = calloc((size_t)2 * CHUNK * model_get_config(all.model)->n_vocab, sizeof *logits);
        assert_non_null(logits);
        while (step(&all, 0, 1, logits, &err) < 0) {
            assert_int_equal(err.code, ERROR_CARD);
            if (!strstr(err.text, "(AWAIT): layer ") || !strstr(err.text, "not in its slot")) fail_msg("%s", err.text);
            assert_in_range(++failed, 1, 10000);
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); /* it comes meanwhile */
        }
        late += failed;
        free(logits);
        close_all(&all);
    }
    assert_true(late > 0);
}

static void pack(char packed[64])
{
    struct error err = {0};
    struct model *model;
    struct model_conversion conversion;
    const struct slc_write_options options = {.load.threads = 1, .source_name = "model-q4_0.gguf"};
    snprintf(packed, 64, "/tmp/sluice-streaming-XXXXXX");
    FILE *stream = fdopen(mkstemp(packed), "w+b");
    assert_non_null(stream);
    if (model_open(MODEL, &model, &err) < 0) fail_msg("%s", err.text);
    if (slc_write(model, &options, stream, &conversion, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(fclose(stream), 0);
    model_close(model);
}

/* Where the file's tensors that the host reads while it runs end: what is cut off holds experts. */
static uint64_t first_expert(const char *path, uint64_t *file_bytes)
{
    struct slc *slc;
    struct error err = {0};
    if (slc_open(path, &slc, &err) < 0) fail_msg("%s", err.text);
    uint64_t first = *file_bytes = slc_bytes(slc), last = 0;
    for (size_t i = 0; i < slc_n_tensors(slc); i++) {
        const struct slc_tensor *tensor = slc_tensor_at(slc, i);
        if (tensor->experts > 1 && tensor->offset < first) first = tensor->offset;
        if (strcmp(tensor->name, "token_embd.weight") == 0) last = tensor->offset + tensor->n_bytes;
    }
    slc_close(slc);
    return first > last ? first : last;
}

static void read_bytes(const char *path, uint8_t *bytes, size_t n)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(bytes, 1, n, file), n);
    fclose(file);
}

/* Steps fail while the file is short, and go on when it is whole again, with the same bits. */
static void check_shrinking_file(const char *spec)
{
    char packed[64];
    uint64_t bytes;
    struct all all;
    struct error err = {0};
    size_t n;
    struct experts_traffic traffic;
    pack(packed);
    const uint64_t cut = first_expert(packed, &bytes);
    uint8_t *kept = malloc(bytes);
    assert_non_null(kept);
    read_bytes(packed, kept, bytes);
    float *want = logits_with(MODEL, "sim", &(struct model_load_options){0}, &n, &traffic);
    const struct model_load_options options = {.expert_slots = 3, .expert_piece_bytes = 1};
    if (open_all(&all, packed, spec, &options, &err) < 0) fail_msg("%s", err.text);
    float *got = logits_of(&all, &n); /* waits until the file is verified, too */
    assert_memory_equal(got, want, n);
    free(got);
    assert_int_equal(truncate(packed, (off_t)cut), 0);
    float *logits = calloc(n, 1);
    assert_non_null(logits);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(step(&all, 0, CHUNK, logits, &err), ERROR_CARD);
        if (!strstr(err.text, packed) || !strstr(err.text, "layer ") || !strstr(err.text, ", expert ") ||
            !strstr(err.text, "has become shorter"))
            fail_msg("%s", err.text);
        assert_int_equal(err.code, ERROR_IO); /* not the card's fault, and so no reason to give it up */
    }
    free(logits);
    FILE *file = fopen(packed, "r+b");
    assert_non_null(file);
    assert_int_equal(fwrite(kept, 1, bytes, file), bytes);
    fclose(file);
    got = logits_of(&all, &n);
    assert_memory_equal(got, want, n);
    free(got);
    free(want);
    free(kept);
    close_all(&all);
    unlink(packed);
}

static void a_file_that_shrinks_fails_the_step(void **state)
{
    (void)state;
    check_shrinking_file("sim");
    check_shrinking_file("sim:banks=4"); /* slots are dealt */
}

/* Whatever memory a card has, loading streams, loads whole, or refuses; and what it says fits does. */
static void less_memory_makes_fewer_slots(void **state)
{
    (void)state;
    struct error err = {0};
    uint32_t before = 0;
    unsigned streamed = 0;
    for (uint64_t bytes = 16u << 10; bytes <= 1u << 20; bytes += 12u << 10) {
        struct model *model;
        struct card *card;
        struct loaded_model *loaded;
        struct card_info info;
        card_addr rest;
        if (model_open(MODEL, &model, &err) < 0) fail_msg("%s", err.text);
        if (card_open("sim", &(struct card_options){.threads = 1, .memory_bytes = 4u << 20}, &card, &err) < 0)
            fail_msg("%s", err.text);
        card_describe(card, &info);
        assert_int_equal(card_alloc(card, 0, info.bank[0].bytes_free - bytes, &rest, &err), 0);
        int status = experts_load(model, card, NULL, &loaded, &err);
        const uint32_t slots = status == 0 ? loaded_model_expert_slots(loaded) : 0;
        if (status != 0) assert_int_equal(status, ERROR_NO_MEMORY);
        if (status != 0) assert_int_equal(before, 0);
        if (slots > 0) {
            streamed++;
            assert_in_range(slots, before > 2 ? before : 2, ALL_EXPERTS);
            before = slots;
        }
        if (status == 0) loaded_model_close(loaded);
        card_close(card);
        model_close(model);
    }
    assert_true(streamed > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_lie_in_parts_of_the_banks),
        cmocka_unit_test(the_bits_do_not_depend_on_the_slots),
        cmocka_unit_test(nor_on_an_older_abi),
        cmocka_unit_test(nor_on_the_policy),
        cmocka_unit_test(nor_on_guesses),
        cmocka_unit_test(nor_on_when_copies_land),
        cmocka_unit_test(virtual_time_does_not_depend_on_when_copies_land),
        cmocka_unit_test(too_few_slots_are_refused),
        cmocka_unit_test(who_comes_too_late_is_named),
        cmocka_unit_test(a_file_that_shrinks_fails_the_step),
        cmocka_unit_test(less_memory_makes_fewer_slots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
