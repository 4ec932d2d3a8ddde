/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Matrices and page pools dealt over banks: whole models have the same logits over any number of banks, memory is what
 * the rules of placement.h and model.h promise, and nothing is dealt where it does not fit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/model/placement.h"
#include "tests/unit/model/source_step.h"
#include "tests/unit/model/tiny_model.h"

#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_TOKENS 41u
#define CHUNK 17u
#define MEMORY (64ull << 20)

struct all {
    struct model *model;
    struct card *card;
    struct loaded_model *loaded;
};

static uint64_t free_bytes(const struct card *card)
{
    struct card_info info;
    uint64_t bytes = 0;
    card_describe(card, &info);
    for (unsigned b = 0; b < info.n_banks; b++) bytes += info.bank[b].bytes_free;
    return bytes;
}

static void open_card(struct all *all, const char *path, const char *spec)
{
    struct error err = {0};
    const struct card_options options = {.threads = 2, .memory_bytes = MEMORY};
    if (model_open(path, &all->model, &err) < 0) fail_msg("%s", err.text);
    if (card_open(spec, &options, &all->card, &err) < 0) fail_msg("%s", err.text);
}

static void load(struct all *all)
{
    struct error err = {0};
    struct card_info info;
    struct model_card_needs needs;
    uint64_t before = free_bytes(all->card);
    card_describe(all->card, &info);
    assert_int_equal(model_card_needs(all->model, &info, &needs, &err), 0);
    if (model_load(all->model, all->card, NULL, &all->loaded, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(before - free_bytes(all->card), needs.expert_bytes + needs.other_bytes);
    assert_int_equal(before - free_bytes(all->card), loaded_model_card_bytes(all->loaded));
}

static void close_all(struct all *all)
{
    loaded_model_close(all->loaded);
    card_close(all->card);
    model_close(all->model);
    *all = (struct all){0};
}

/* The logits of N_TOKENS tokens in chunks; float32[N_TOKENS][n_vocab], the caller's to free. */
static float *logits_of(struct all *all, size_t *n)
{
    uint32_t n_vocab = model_get_config(all->model)->n_vocab;
    const uint32_t pages[3] = {1, 0, 2};
    const struct step_limits limits = {.max_tokens = CHUNK,
                                       .max_logit_rows = CHUNK,
                                       .n_pages = 3,
                                       .max_pages_in_tables = 3,
                                       .kv_format = CARD_FORMAT_F16,
                                       .n_states = 1};
    struct card_batch_token sources[CHUNK];
    struct step_memory *memory;
    struct error err = {0};
    *n = (size_t)N_TOKENS * n_vocab;
    float *logits = calloc(*n, sizeof *logits);
    assert_non_null(logits);
    if (step_memory_open(all->loaded, &limits, &memory, &err) < 0) fail_msg("%s", err.text);
    if (source_step(all->loaded, memory, pages, 3, 2, sources, CHUNK, &err) < 0) fail_msg("%s", err.text);
    for (uint32_t at = 0; at < N_TOKENS; at += CHUNK) {
        uint32_t tokens[CHUNK], rows[CHUNK], count = N_TOKENS - at < CHUNK ? N_TOKENS - at : CHUNK;
        struct card_batch_token batch[CHUNK];
        for (uint32_t i = 0; i < count; i++) {
            tokens[i] = ((at + i) * 29 + 5) % n_vocab;
            rows[i] = i;
            batch[i] = (struct card_batch_token){.position = at + i, .visible = at + i + 1};
        }
        const struct step step = {count, tokens, batch, 3, pages, count, rows, .sources = sources};
        if (model_step(all->loaded, memory, &step, logits + (size_t)at * n_vocab, &err) < 0) fail_msg("%s", err.text);
    }
    step_memory_close(memory);
    return logits;
}

/* The banks over which matrices are dealt: all over the same, routers too. */
static unsigned banks_of(const struct all *all)
{
    unsigned banks = all->loaded->weights[TENSOR_OUTPUT].banks;
    for (size_t i = 0; i < all->model->table.n_entries; i++)
        if (placement_has(all->model, i)) assert_int_equal(all->loaded->weights[i].banks, banks);
    return banks;
}

/* What dealing loses: of each tile size at most a tile a bank, and the rounding of one allocation a bank. */
static uint64_t most_lost(const struct all *all, unsigned banks)
{
    struct card_info info;
    struct placement placement;
    struct error err = {0};
    uint64_t bytes = (uint64_t)banks * CARD_ALIGNMENT;
    card_describe(all->card, &info);
    assert_int_equal(placement_open(all->model, &info, &placement, &err), 0);
    assert_int_equal(placement.banks, banks);
    for (size_t i = 0; i < placement.n_runs; i++) bytes += (banks - 1) * placement.runs[i].tile_bytes;
    placement_close(&placement);
    return bytes;
}

static void check_file(const char *path)
{
    static const char *const specs[] = {"sim",         "sim:banks=1", "sim:banks=2",
                                        "sim:banks=3", "sim:banks=4", "sim:banks=7"};
    static const unsigned banks[] = {1, 1, 2, 3, 4, 7};
    float *want = NULL;
    uint64_t one_bank = 0;
    for (size_t s = 0; s < sizeof specs / sizeof specs[0]; s++) {
        struct all all = {0};
        size_t n;
        open_card(&all, path, specs[s]);
        uint64_t lost = banks[s] > 1 ? most_lost(&all, banks[s]) : 0;
        load(&all);
        assert_int_equal(banks_of(&all), banks[s]);
        float *got = logits_of(&all, &n);
        if (s == 0) {
            want = got;
            one_bank = loaded_model_card_bytes(all.loaded);
            for (size_t i = 0; i < n; i++) assert_true(isfinite(got[i]));
        } else {
            if (memcmp(got, want, n * sizeof *got) != 0) fail_msg("%s: other logits on %s", path, specs[s]);
            assert_true(loaded_model_card_bytes(all.loaded) <= one_bank + lost);
            free(got);
        }
        close_all(&all);
    }
    free(want);
}

static void test_logits_are_the_same_over_any_number_of_banks(void **state)
{
    (void)state;
    glob_t found;
    /* Each kind of pages, states and matrices once. */
    static const char kinds[] =
        FIXTURES "/models/{deepseek_v32,gpt_oss,kimi_linear,llama*,qwen2,qwen3,qwen3_moe,t5}/model-*.gguf";
    assert_int_equal(glob(kinds, GLOB_BRACE, NULL, &found), 0);
    assert_in_range(found.gl_pathc, 18, 200);
    for (size_t i = 0; i < found.gl_pathc; i++) check_file(found.gl_pathv[i]);
    printf("%zu files, the same bits over 1, 2, 3, 4 and 7 banks\n", found.gl_pathc);
    globfree(&found);
}

/* Q4_0 blocks and floats of any value but zero scales and infinities. */
static void fill(struct tiny_model *tiny)
{
    uint32_t state = 7;
    for (unsigned i = 0; i < tiny->n_tensors; i++) {
        uint8_t *data = tiny->file.bytes + tiny->tensors[i].at;
        size_t bytes = tiny_bytes(&tiny->tensors[i]);
        for (size_t j = 0; j < bytes; j++) {
            state = state * 1664525u + 1013904223u;
            data[j] = (uint8_t)(state >> 24);
        }
        for (size_t j = 0; j < bytes && tiny->tensors[i].type == GGUF_Q4_0; j += 18)
            store_u16(data + j, (uint16_t)(0x2800 | data[j]));
        for (size_t j = 0; j < bytes && tiny->tensors[i].type == GGUF_F32; j += 4)
            store_u32(data + j, bits_of_float((float)(data[j] - 128) * 0x1p-8f));
    }
}

/* Experts whose rows do not fill their last tile start a tile each, and are not one matrix of all their rows. */
static void test_experts_of_broken_tiles(void **state)
{
    (void)state;
    static struct tiny_model tiny;
    float *want = NULL;
    tiny_init(&tiny, "qwen3moe");
    tiny_u32(&tiny, "expert_feed_forward_length", 24);
    tiny_tensor(&tiny, "blk.0.ffn_gate_exps.weight")->dimension[1] = 24;
    tiny_tensor(&tiny, "blk.0.ffn_up_exps.weight")->dimension[1] = 24;
    struct tiny_tensor *down = tiny_tensor(&tiny, "blk.0.ffn_down_exps.weight");
    down->dimension[0] = 24;
    down->type = GGUF_F32;
    tiny_write(&tiny);
    fill(&tiny);
    static const char *const specs[] = {"sim", "sim:banks=2", "sim:banks=3", "sim:banks=4", "ref"};
    for (size_t s = 0; s < sizeof specs / sizeof specs[0]; s++) {
        const struct card_options options = {.threads = 1, .memory_bytes = 16u << 20};
        struct all all = {0};
        struct error err = {0};
        size_t n;
        if (model_open_memory(tiny.file.bytes, tiny.file.size, "tiny", &all.model, &err) < 0) fail_msg("%s", err.text);
        if (card_open(specs[s], &options, &all.card, &err) < 0) fail_msg("%s", err.text);
        load(&all);
        float *got = logits_of(&all, &n);
        double errors = 0, squares = 0;
        for (size_t i = 0; i < n; i++) {
            double value = (double)got[i], error = want ? value - (double)want[i] : 0;
            squares += value * value;
            errors += error * error;
        }
        assert_true(squares > 0 && errors < 0.02 * squares);
        if (want && strcmp(specs[s], "ref") != 0) assert_memory_equal(got, want, n * sizeof *got);
        if (want)
            free(got);
        else
            want = got;
        close_all(&all);
    }
    free(want);
}

/* A card that is in use: the banks' gaps differ, and the dealt area lies where all have room. */
static void test_banks_that_are_in_use(void **state)
{
    (void)state;
    const char *path = FIXTURES "/models/qwen3_moe/model-q4_0.gguf";
    struct all alone = {0}, second = {0};
    struct error err = {0};
    card_addr held;
    size_t n;
    open_card(&alone, path, "sim:banks=3");
    load(&alone);
    float *want = logits_of(&alone, &n);
    close_all(&alone);

    open_card(&second, path, "sim:banks=3");
    assert_int_equal(card_alloc(second.card, 1, 123456, &held, &err), 0);
    assert_int_equal(card_alloc(second.card, 2, 99, &held, &err), 0);
    load(&second);
    assert_int_equal(banks_of(&second), 3);
    float *got = logits_of(&second, &n);
    assert_memory_equal(got, want, n * sizeof *got);
    free(got);
    free(want);
    close_all(&second);
}

/* One bank is almost full: matrices go where there is room, whole. */
static void test_without_room_in_one_bank_nothing_is_dealt(void **state)
{
    (void)state;
    const char *path = FIXTURES "/models/qwen3_moe/model-q4_0.gguf";
    struct all alone = {0}, full = {0};
    struct card_info info;
    struct error err = {0};
    card_addr held;
    size_t n;
    open_card(&alone, path, "sim");
    load(&alone);
    float *want = logits_of(&alone, &n);
    close_all(&alone);

    open_card(&full, path, "sim:banks=3");
    card_describe(full.card, &info);
    assert_int_equal(card_alloc(full.card, 1, info.bank[1].bytes_free - 2 * CARD_ALIGNMENT, &held, &err), 0);
    load(&full);
    assert_int_equal(banks_of(&full), 1);
    float *got = logits_of(&full, &n);
    assert_memory_equal(got, want, n * sizeof *got);
    free(got);
    free(want);
    close_all(&full);
}

/* ---- page pools ---- */

#define POOL_PAGES 45u

static struct step_limits pool_limits(void)
{
    return (struct step_limits){.max_tokens = CHUNK,
                                .max_logit_rows = CHUNK,
                                .n_pages = POOL_PAGES,
                                .max_pages_in_tables = 2,
                                .kv_format = CARD_FORMAT_F16};
}

/* What step memory takes of each bank; in all it is what was promised, and it comes back. */
static void measure_step_memory(struct all *all, uint64_t taken[CARD_MAX_BANKS], unsigned *arena_bank)
{
    struct card_info before, open, after;
    struct step_memory *memory;
    struct error err = {0};
    const struct step_limits limits = pool_limits();
    uint64_t sum = 0;
    card_describe(all->card, &before);
    const uint64_t promised = model_page_bytes(all->model, limits.kv_format) * limits.n_pages +
                              model_step_bytes(all->model, &before, &limits);
    *arena_bank = step_arena_bank(&before);
    if (step_memory_open(all->loaded, &limits, &memory, &err) < 0) fail_msg("%s", err.text);
    card_describe(all->card, &open);
    step_memory_close(memory);
    card_describe(all->card, &after);
    for (unsigned b = 0; b < before.n_banks; b++) {
        taken[b] = before.bank[b].bytes_free - open.bank[b].bytes_free;
        sum += taken[b];
        assert_int_equal(after.bank[b].bytes_free, before.bank[b].bytes_free);
    }
    assert_int_equal(sum, promised);
}

/* A bank's share of the pools when they are dealt over `banks`. */
static uint64_t share_of(const struct all *all, unsigned banks)
{
    const uint64_t layers = model_get_config(all->model)->n_layers;
    const uint64_t page = model_page_bytes(all->model, CARD_FORMAT_F16) / layers;
    return card_round_up((layers * POOL_PAGES + banks - 1) / banks * page, CARD_ALIGNMENT);
}

static void test_pools_take_the_same_of_every_bank(void **state)
{
    (void)state;
    static const char *const specs[] = {"sim:banks=2", "sim:banks=3", "sim:banks=7", "sim:banks=32", "ref"};
    static const unsigned banks[] = {2, 3, 7, 32, 1};
    for (size_t s = 0; s < sizeof specs / sizeof specs[0]; s++) {
        struct all all = {0};
        uint64_t taken[CARD_MAX_BANKS];
        unsigned arena;
        open_card(&all, FIXTURES "/models/qwen3/model-f32.gguf", specs[s]);
        load(&all);
        measure_step_memory(&all, taken, &arena);
        for (unsigned b = 0; b < banks[s] && banks[s] > 1; b++) {
            if (b == arena)
                assert_true(taken[b] > share_of(&all, banks[s]));
            else
                assert_int_equal(taken[b], share_of(&all, banks[s]));
        }
        close_all(&all);
    }
}

/* Fills a bank up to a few pages. */
static void fill_bank(struct all *all, unsigned bank)
{
    struct card_info info;
    struct error err = {0};
    card_addr held;
    card_describe(all->card, &info);
    assert_int_equal(card_alloc(all->card, bank, info.bank[bank].bytes_free - 2 * CARD_ALIGNMENT, &held, &err), 0);
}

/* A full last bank is left out, behind the others; with a full second one there are no two, and pools are not dealt. */
static void test_pools_leave_out_banks_without_room(void **state)
{
    (void)state;
    const char *path = FIXTURES "/models/qwen3/model-f32.gguf";
    for (unsigned full = 1; full < 4; full++) {
        struct all all = {0};
        uint64_t taken[CARD_MAX_BANKS];
        unsigned arena;
        open_card(&all, path, "sim:banks=4");
        load(&all);
        fill_bank(&all, full);
        measure_step_memory(&all, taken, &arena);
        for (unsigned b = 0; b < full && full > 1; b++) {
            if (b != arena) assert_int_equal(taken[b], share_of(&all, full));
        }
        assert_int_equal(taken[full], 0);
        if (full == 1) { /* whole pools, one or two to a bank */
            const uint64_t pool = card_round_up(model_page_bytes(all.model, CARD_FORMAT_F16) /
                                                    model_get_config(all.model)->n_layers * POOL_PAGES,
                                                CARD_ALIGNMENT);
            for (unsigned b = 0; b < 4; b++) assert_true(b == arena || taken[b] % pool == 0);
        }
        close_all(&all);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits_are_the_same_over_any_number_of_banks),
        cmocka_unit_test(test_experts_of_broken_tiles),
        cmocka_unit_test(test_banks_that_are_in_use),
        cmocka_unit_test(test_without_room_in_one_bank_nothing_is_dealt),
        cmocka_unit_test(test_pools_take_the_same_of_every_bank),
        cmocka_unit_test(test_pools_leave_out_banks_without_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
