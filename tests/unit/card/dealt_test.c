/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Matrices dealt over banks give the bits of the same matrices in one bank, on the float reference too; EXPERT_MATMUL with
 * EACH, biases and one row a choice gives the bits of one MATMUL an expert.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/card/run_for_test.h"

enum { BANKS = 5 };

static const unsigned formats[] = {CARD_FORMAT_F32,  CARD_FORMAT_INT4,     CARD_FORMAT_INT4_MIN,
                                   CARD_FORMAT_INT8, CARD_FORMAT_INT8_MIN, CARD_FORMAT_Q4_K,
                                   CARD_FORMAT_Q5_K, CARD_FORMAT_Q6_K,     CARD_FORMAT_MXFP4};
#define N_FORMATS (sizeof formats / sizeof *formats)

static struct card *open_banks(const char *backend, unsigned threads)
{
    struct error err = {0};
    struct card *card = NULL;
    const struct card_options options = {.threads = threads, .memory_bytes = BANKS * (8u << 20), .banks = BANKS};
    if (card_open(backend, &options, &card, &err)) fail_msg("card_open: %s", err.text);
    return card;
}

static void write_card(struct card *card, card_addr to, const void *data, size_t bytes)
{
    struct error err = {0};
    if (card_write(card, to, data, bytes, NULL, 0, NULL, &err)) fail_msg("card_write: %s", err.text);
}

/* Room for `tiles` tiles dealt over n banks from any of them on, in each bank with nothing to spare at its end. */
static uint64_t place_tiles(struct card *card, unsigned n, uint64_t tiles, uint64_t tile_bytes)
{
    struct error err = {0};
    uint64_t offset;
    if (card_alloc_dealt(card, n, (tiles + n - 1) / n * tile_bytes, &offset, &err)) fail_msg("%s", err.text);
    return offset;
}

/* Tile t of a matrix that starts in bank b: bank (b + t) % n, row (b + t) / n of that bank. */
static void deal(struct card *card, const struct test_matrix *m, unsigned b, uint64_t offset, unsigned n)
{
    const uint64_t bytes = card_matrix_bytes(m->format, 16, m->cols), tiles = (m->rows + 15) / 16;
    const uint64_t all = card_matrix_bytes(m->format, m->rows, m->cols);
    for (uint64_t t = 0; t < tiles; t++) {
        const uint64_t left = all - t * bytes;
        write_card(card, CARD_ADDR((b + t) % n, offset + (b + t) / n * bytes), m->bytes + t * bytes,
                   left < bytes ? left : bytes);
    }
}

static card_addr quantized(struct card *card, struct test_random *random, uint32_t tokens, uint32_t cols)
{
    float *x = random_floats(random, (size_t)tokens * cols);
    struct card_descriptor d = {.opcode = CARD_OP_QUANTIZE, .tokens = tokens, .cols = cols};
    d.src = put_floats(card, x, (size_t)tokens * cols);
    d.dst = put(card, NULL, card_act_bytes(tokens, cols));
    run_program(card, &d, 1);
    card_free(card, d.src);
    free(x);
    return d.dst;
}

/* What the format multiplies with. */
static card_addr put_activations(struct card *card, struct test_random *random, unsigned format, uint32_t tokens,
                                 uint32_t cols)
{
    float *x;
    if (format != CARD_FORMAT_F32) return quantized(card, random, tokens, cols);
    x = random_floats(random, (size_t)tokens * cols);
    const card_addr address = put_floats(card, x, (size_t)tokens * cols);
    free(x);
    return address;
}

static void run_for(struct card *card, struct card_descriptor *d, float *result, size_t n)
{
    d->dst = put(card, NULL, n * 4);
    run_program(card, d, 1);
    get(card, result, d->dst, n * 4);
    card_free(card, d->dst);
}

static void free_dealt(struct card *card, unsigned n, uint64_t offset)
{
    for (unsigned k = 0; k < n; k++) card_free(card, CARD_ADDR(k, offset));
}

static void check_dealt(struct card *card, struct test_random *random, unsigned format, uint32_t rows, uint32_t tokens)
{
    const uint32_t cols = 96;
    const uint64_t tile_bytes = card_matrix_bytes(format, 16, cols), tiles = (rows + 15) / 16;
    struct test_matrix m = test_matrix_make(random, format, rows, cols);
    const size_t n_results = (size_t)tokens * rows;
    float *want = calloc(n_results, 4), *got = calloc(n_results, 4);
    struct card_descriptor d = {.opcode = CARD_OP_MATMUL, .format = (uint8_t)format, .tokens = tokens, .rows = rows};
    d.cols = cols;
    d.src = put_activations(card, random, format, tokens, cols);
    d.weight = put(card, m.bytes, card_matrix_bytes(format, rows, cols));
    run_for(card, &d, want, n_results);
    card_free(card, d.weight);
    const unsigned counts[] = {0, 1, 2, 3, 5};
    for (size_t i = 0; i < 5; i++) {
        const unsigned n = counts[i] ? counts[i] : 1;
        for (unsigned b = 0; b < n; b++) {
            const uint64_t offset = place_tiles(card, n, b + tiles, tile_bytes);
            deal(card, &m, b, offset, n);
            d.weight = CARD_ADDR(b, offset);
            d.param[0] = counts[i];
            memset(got, 0xff, n_results * 4);
            run_for(card, &d, got, n_results);
            assert_memory_equal(got, want, n_results * 4);
            free_dealt(card, n, offset);
        }
    }
    card_free(card, d.src);
    free(want);
    free(got);
    test_matrix_free(&m);
}

static void dealt_matrices_give_the_same_bits(void **state)
{
    (void)state;
    struct test_random random = seeded("dealt");
    const uint32_t rows[] = {1, 16, 33, 100};
    for (unsigned threads = 1; threads <= 2; threads++) {
        struct card *card = open_banks("sim", threads);
        for (size_t f = 0; f < N_FORMATS; f++) {
            for (size_t r = 0; r < 4; r++) check_dealt(card, &random, formats[f], rows[r], r % 2 ? 1 : 33);
        }
        card_close(card);
    }
    struct card *card = open_banks("ref", 1);
    for (size_t r = 0; r < 4; r++) check_dealt(card, &random, CARD_FORMAT_F32, rows[r], r % 2 ? 1 : 33);
    card_close(card);
}

/* ---- experts ---- */

enum { EXPERTS = 4, CHOICES = 2, T = 5, R = 40, C = 64 };

struct experts {
    unsigned format;
    struct test_matrix matrix[EXPERTS];
    float bias[EXPERTS * R];
    card_addr slot[EXPERTS];
    uint64_t offset;
};

/* Experts after each other without a gap, dealt over n banks: 3 tiles each, so each starts in another bank. */
static void place_experts(struct card *card, struct experts *e, unsigned n)
{
    const uint64_t tile_bytes = card_matrix_bytes(e->format, 16, C), tiles = (R + 15) / 16;
    e->offset = place_tiles(card, n, EXPERTS * tiles, tile_bytes);
    for (uint64_t i = 0; i < EXPERTS; i++) {
        const uint64_t before = i * tiles, offset = e->offset + before / n * tile_bytes;
        e->slot[i] = CARD_ADDR(before % n, offset);
        deal(card, &e->matrix[i], (unsigned)(before % n), offset, n);
    }
}

/* Rows of the result that a plain MATMUL of each expert with its bias gives: want[expert][input row][R]. */
static void plain_results(struct card *card, struct experts *e, card_addr src, uint32_t inputs, float *want)
{
    for (int i = 0; i < EXPERTS; i++) {
        struct card_descriptor d = {
            .opcode = CARD_OP_MATMUL, .format = (uint8_t)e->format, .tokens = inputs, .rows = R};
        d.cols = C;
        d.flags = CARD_FLAG_BIAS;
        d.src = src;
        d.weight = put(card, e->matrix[i].bytes, card_matrix_bytes(e->format, R, C));
        d.aux = put_floats(card, e->bias + (size_t)i * R, R);
        run_for(card, &d, want + (size_t)i * inputs * R, (size_t)inputs * R);
        card_free(card, d.weight);
        card_free(card, d.aux);
    }
}

static void check_experts(struct card *card, struct test_random *random, unsigned format, unsigned banks, int each,
                          int per_choice)
{
    struct experts e = {.format = format};
    const uint32_t choices = each ? EXPERTS : CHOICES, outputs = T * choices, inputs = per_choice ? outputs : T;
    struct card_choice choice[T * EXPERTS];
    float *want = calloc((size_t)EXPERTS * inputs * R, 4), *got = calloc((size_t)outputs * R, 4);
    for (int i = 0; i < EXPERTS; i++) e.matrix[i] = test_matrix_make(random, format, R, C);
    fill_random(random, e.bias, EXPERTS * R);
    for (uint32_t i = 0; i < outputs; i++)
        choice[i] = (struct card_choice){each ? i % EXPERTS : random_below(random, EXPERTS), 1};
    place_experts(card, &e, banks);
    struct card_descriptor program[2] = {{.opcode = CARD_OP_EXPERT_MATMUL, .format = (uint8_t)format, .tokens = T},
                                         {.opcode = CARD_OP_EXTENSION, .flags = CARD_FLAG_BIAS}};
    struct card_descriptor *d = &program[0];
    d->rows = R;
    d->cols = C;
    d->flags = (uint16_t)(CARD_FLAG_EXTENDED | (each ? CARD_FLAG_EACH : 0) | (per_choice ? CARD_FLAG_PER_CHOICE : 0));
    d->param[0] = choices;
    d->param[1] = EXPERTS;
    d->param[2] = banks;
    d->src = put_activations(card, random, format, inputs, C);
    d->weight = put(card, e.slot, sizeof e.slot);
    d->aux = each ? 0 : put(card, choice, outputs * sizeof *choice);
    d->dst = put(card, NULL, (size_t)outputs * R * 4);
    program[1].src = put_floats(card, e.bias, EXPERTS * R);
    struct card_counters before, after;
    card_count(card, &before);
    run_program(card, program, 2);
    card_count(card, &after);
    uint32_t used = 0;
    for (uint32_t i = 0; i < EXPERTS; i++) {
        int is_used = 0;
        for (uint32_t k = 0; k < outputs; k++) is_used |= choice[k].expert == i;
        used += is_used ? 1 : 0;
    }
    assert_int_equal(after.weight_bytes - before.weight_bytes, used * card_matrix_bytes(format, R, C));
    assert_int_equal(after.multiply_adds - before.multiply_adds, (uint64_t)outputs * R * C);
    assert_int_equal(after.descriptors - before.descriptors, 1);
    get(card, got, d->dst, (size_t)outputs * R * 4);
    plain_results(card, &e, d->src, inputs, want);
    for (uint32_t i = 0; i < outputs; i++) {
        const uint32_t input = per_choice ? i : i / choices;
        assert_memory_equal(got + (size_t)i * R, want + ((size_t)choice[i].expert * inputs + input) * R, R * 4);
    }
    const card_addr all[] = {d->src, d->weight, d->aux, d->dst, program[1].src};
    for (int i = 0; i < 5; i++) card_free(card, all[i]);
    free_dealt(card, banks, e.offset);
    for (int i = 0; i < EXPERTS; i++) test_matrix_free(&e.matrix[i]);
    free(want);
    free(got);
}

static void experts_are_matmuls_of_their_own(void **state)
{
    (void)state;
    struct test_random random = seeded("experts");
    struct card *card = open_banks("sim", 2), *ref = open_banks("ref", 1);
    const unsigned counts[] = {1, 2, 3, 5};
    for (int i = 0; i < 4; i++) {
        for (int set = 0; set < 4; set++) {
            check_experts(card, &random, CARD_FORMAT_INT4, counts[i], set & 1, set >> 1);
            check_experts(card, &random, CARD_FORMAT_F32, counts[i], set & 1, set >> 1);
            check_experts(ref, &random, CARD_FORMAT_F32, counts[i], set & 1, set >> 1);
        }
    }
    card_close(card);
    card_close(ref);
}

static void a_dealt_slot_that_lies_is_named(void **state)
{
    (void)state;
    struct card *card = open_banks("sim", 1);
    struct error err = {0};
    const uint64_t tile = card_matrix_bytes(CARD_FORMAT_INT4, 16, C);
    const uint64_t room = card_round_up(2 * tile, CARD_ALIGNMENT);
    uint64_t offset;
    assert_int_equal(card_alloc_dealt(card, 2, room, &offset, &err), 0);
    const struct card_choice choice = {0, 1};
    struct card_descriptor d = {.opcode = CARD_OP_EXPERT_MATMUL, .format = CARD_FORMAT_INT4, .tokens = 1, .rows = 48};
    d.cols = C;
    d.param[0] = d.param[1] = 1;
    d.param[2] = 2;
    d.aux = put(card, &choice, sizeof choice);
    d.weight = put(card, NULL, sizeof(card_addr));
    d.src = put(card, NULL, card_act_bytes(1, C));
    d.dst = put(card, NULL, 48 * 4);
    const struct {
        card_addr slot;
        int rc;
    } cases[] = {
        {CARD_ADDR(0, offset), 0},
        {CARD_ADDR(1, offset), 0},                         /* its second tile lies in bank 0, one row down */
        {CARD_ADDR(0, offset + room - 2 * tile), 0},       /* ends where the allocations end */
        {CARD_ADDR(0, offset + room - tile), ERROR_CARD},  /* the third tile does not fit bank 0 */
        {CARD_ADDR(1, offset + room - tile), ERROR_CARD},  /* the second and third do not fit */
        {CARD_ADDR(2, offset), ERROR_CARD},                /* starts in none of the two banks */
        {CARD_ADDR(0, offset + 32), ERROR_CARD},           /* not aligned */
        {CARD_ADDR(1, 0x00ffffffffffffc0ull), ERROR_CARD}, /* the next row is past what an address can say */
        {CARD_NO_SLOT, ERROR_CARD},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_card(card, d.weight, &cases[i].slot, sizeof cases[i].slot);
        const int rc = card_submit(card, &d, 1, NULL, 0, NULL, &err);
        if (rc != cases[i].rc) fail_msg("case %zu: %d, not %d (%s)", i, rc, cases[i].rc, err.text);
        if (rc) assert_non_null(strstr(err.text, "descriptor 0 (EXPERT_MATMUL): slot of expert 0"));
    }
    card_close(card);
}

static void banks_divide_the_memory_evenly(void **state)
{
    (void)state;
    struct card_info info;
    struct error err = {0};
    struct card *card = open_banks("sim", 1);
    card_describe(card, &info);
    assert_int_equal(info.n_banks, BANKS);
    for (int b = 0; b < BANKS; b++) assert_int_equal(info.bank[b].bytes, 8u << 20);
    assert_string_equal(info.bank[4].name, "memory 4");
    card_close(card);
    const struct card_options too_many = {.memory_bytes = 1u << 30, .banks = CARD_MAX_BANKS + 1};
    assert_int_equal(card_open("sim", &too_many, &card, &err), ERROR_BAD_ARGUMENT);
    assert_non_null(strstr(err.text, "65 banks"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dealt_matrices_give_the_same_bits),
        cmocka_unit_test(experts_are_matmuls_of_their_own),
        cmocka_unit_test(a_dealt_slot_that_lies_is_named),
        cmocka_unit_test(banks_divide_the_memory_evenly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
