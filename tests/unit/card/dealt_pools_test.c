/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page pools dealt over banks: KV_WRITE writes the bytes, ATTENTION and INDEX give the bits, and the account counts what
 * they do of a pool in one piece, in every page format, on the simulator and on the float reference.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/card/attention_for_test.h"

enum { BANKS = 32, BANK_BYTES = 8 << 20 };

static const char *const backends[] = {"sim", "ref"};
static const uint32_t bank_counts[] = {1, 2, 3, 4, 32};
#define N_COUNTS (sizeof bank_counts / sizeof *bank_counts)

static struct card *open_banks(const char *backend)
{
    struct error err = {0};
    struct card *card = NULL;
    const struct card_options options = {.threads = 2, .memory_bytes = (uint64_t)BANKS * BANK_BYTES, .banks = BANKS};
    if (card_open(backend, &options, &card, &err)) fail_msg("card_open: %s", err.text);
    return card;
}

/* Where page `page` of a pool at (bank, offset) dealt over `banks` lies: the text of card_layout.h. */
static card_addr page_address(card_addr pool, uint32_t page, uint32_t banks, uint64_t page_bytes)
{
    const uint32_t bank = CARD_ADDR_BANK(pool);
    return CARD_ADDR((bank + page) % banks, CARD_ADDR_OFFSET(pool) + (bank + page) / banks * page_bytes);
}

/* Room for a dealt pool from `bank` on, with nothing to spare at its ends, and other bytes in it. */
static card_addr dealt_room(struct card *card, const struct paged *p, uint32_t bank, uint32_t banks)
{
    struct error err = {0};
    uint64_t offset;
    const uint64_t bytes = (bank + p->pool_pages + banks - 1) / banks * p->page_bytes;
    uint8_t *garbage = malloc(bytes);
    assert_non_null(garbage);
    memset(garbage, 0xa5, bytes);
    if (card_alloc_dealt(card, banks, bytes, &offset, &err)) fail_msg("%s", err.text);
    for (uint32_t b = 0; b < banks; b++) {
        if (card_write(card, CARD_ADDR(b, offset), garbage, bytes, NULL, 0, NULL, &err)) fail_msg("%s", err.text);
    }
    free(garbage);
    return CARD_ADDR(bank, offset);
}

static void free_dealt(struct card *card, card_addr pool, uint32_t banks)
{
    for (uint32_t b = 0; b < banks; b++) card_free(card, CARD_ADDR(b, CARD_ADDR_OFFSET(pool)));
}

/* One KV_WRITE of the whole sequence to a pool of bytes 0xa5; as paged_write, which does it in one piece. */
static void write_dealt(struct card *card, const struct paged *p, card_addr pool, uint32_t banks)
{
    size_t bytes;
    struct card_batch_token *batch = paged_batch(p, 0, p->length, &bytes);
    struct card_descriptor d = {.opcode = CARD_OP_KV_WRITE, .format = (uint8_t)p->format, .tokens = p->length};
    d.rows = p->kv_heads;
    d.cols = p->key_dims;
    d.dst = pool;
    d.param[0] = p->pool_pages;
    d.param[1] = p->value_dims;
    d.param[2] = banks;
    d.src = put_floats(card, p->key, (size_t)p->length * p->kv_heads * p->key_dims);
    if (p->value_dims) d.weight = put_floats(card, p->value, (size_t)p->length * p->kv_heads * p->value_dims);
    d.aux = put(card, batch, bytes);
    run_program(card, &d, 1);
    card_free(card, d.src);
    card_free(card, d.weight);
    card_free(card, d.aux);
    free(batch);
}

static void assert_same_pages(struct card *card, const struct paged *p, card_addr pool, uint32_t banks)
{
    uint8_t *page = malloc(p->page_bytes);
    for (uint32_t i = 0; i < p->pool_pages; i++) {
        get(card, page, page_address(pool, i, banks, p->page_bytes), p->page_bytes);
        if (memcmp(page, p->pool + i * p->page_bytes, p->page_bytes)) {
            fail_msg("format %u over %u banks from %u: page %u holds other bytes", p->format, banks,
                     CARD_ADDR_BANK(pool), i);
        }
    }
    free(page);
}

/* What a program adds to the account. */
static struct card_counters counted(struct card *card, struct card_counters before)
{
    struct card_counters now;
    card_count(card, &now);
    now.kv_bytes -= before.kv_bytes;
    now.multiply_adds -= before.multiply_adds;
    return now;
}

static void assert_same_account(struct card_counters a, struct card_counters b)
{
    assert_int_equal(a.kv_bytes, b.kv_bytes);
    assert_int_equal(a.multiply_adds, b.multiply_adds);
}

typedef void read_fn(struct card *card, const void *operation, card_addr pool, uint32_t banks, void *to);

/* The pool in one piece, then over every number of banks from several of them: the same pages, result and account. */
static void compare(struct card *card, struct paged *p, read_fn *read, const void *operation, size_t bytes)
{
    struct card_counters start, wrote, ran;
    uint8_t *want = malloc(bytes), *got = malloc(bytes);
    card_count(card, &start);
    const card_addr whole = paged_write(card, p);
    wrote = counted(card, start);
    card_count(card, &start);
    read(card, operation, whole, 0, want);
    ran = counted(card, start);
    card_free(card, whole);
    for (size_t i = 0; i < N_COUNTS; i++) {
        const uint32_t banks = bank_counts[i];
        for (uint32_t bank = 0; bank<banks; bank += banks> 4 ? 15 : 1) {
            const card_addr pool = dealt_room(card, p, bank, banks);
            card_count(card, &start);
            write_dealt(card, p, pool, banks);
            assert_same_account(counted(card, start), wrote);
            assert_same_pages(card, p, pool, banks);
            card_count(card, &start);
            memset(got, 0xff, bytes);
            read(card, operation, pool, banks, got);
            assert_same_account(counted(card, start), ran);
            if (memcmp(got, want, bytes)) {
                fail_msg("format %u over %u banks from %u: other bits than in one piece", p->format, banks, bank);
            }
            free_dealt(card, pool, banks);
        }
    }
    free(want);
    free(got);
}

/* ---- ATTENTION ---- */

static void read_attention(struct card *card, const void *operation, card_addr pool, uint32_t banks, void *to)
{
    struct attention_case c = *(const struct attention_case *)operation;
    c.banks = banks;
    case_run(card, &c, pool, 0, c.queries, to);
}

static void compare_attention(struct card *card, struct test_random *random, unsigned format, unsigned features)
{
    struct attention_case c = {.format = format, .features = features, .heads = 4, .kv_heads = 2, .key_dims = 40};
    c.value_dims = features & LATENT ? 24 : 33;
    c.length = 300 + random_below(random, 200); /* 10 to 16 pages */
    c.queries = 1 + random_below(random, 20);
    case_make(random, &c);
    compare(card, &c.pages, read_attention, &c, (size_t)c.queries * c.heads * c.value_dims * 4);
    case_free(&c);
}

static void attention_over_banks(void **state)
{
    (void)state;
    static const unsigned features[] = {0,      WINDOW | SINKS,  CHUNK | BIAS,          SPARSE,
                                        LATENT, LATENT | SPARSE, SOFT_CAP | ALL_VISIBLE};
    struct test_random random = {seed_of_test(61)};
    for (size_t b = 0; b < sizeof backends / sizeof *backends; b++) {
        struct card *card = open_banks(backends[b]);
        for (size_t f = 0; f < N_PAGE_FORMATS; f++) {
            for (size_t i = 0; i < sizeof features / sizeof *features; i++) {
                compare_attention(card, &random, page_formats[f], features[i]);
            }
        }
        card_close(card);
    }
}

/* An extension that is there for the banks alone: values are as wide as keys, with LATENT the keys themselves. */
static void read_plain(struct card *card, const void *operation, card_addr pool, uint32_t banks, void *to)
{
    const struct attention_case *c = operation;
    const size_t bytes = (size_t)c->queries * c->heads * c->key_dims * 4;
    struct card_descriptor d[2] = {{.opcode = CARD_OP_ATTENTION, .format = (uint8_t)c->format, .tokens = c->queries},
                                   {.opcode = CARD_OP_EXTENSION, .rows = banks}};
    d[0].flags = (uint16_t)((banks ? CARD_FLAG_EXTENDED : 0) | (c->features & LATENT ? CARD_FLAG_LATENT : 0));
    d[0].rows = c->heads;
    d[0].cols = c->key_dims;
    d[0].param[0] = c->pages.pool_pages;
    d[0].param[1] = bits_of(c->scale);
    d[0].param[2] = c->kv_heads;
    d[0].weight = pool;
    d[0].dst = put(card, NULL, bytes);
    d[0].src = put_floats(card, c->query, (size_t)c->queries * c->heads * c->key_dims);
    d[0].aux = put(card, c->batch, c->batch_bytes);
    run_program(card, d, banks ? 2 : 1);
    get(card, to, d[0].dst, bytes);
    card_free(card, d[0].dst);
    card_free(card, d[0].src);
    card_free(card, d[0].aux);
}

static void an_extension_for_the_banks_alone(void **state)
{
    (void)state;
    struct test_random random = {seed_of_test(62)};
    for (size_t b = 0; b < sizeof backends / sizeof *backends; b++) {
        struct card *card = open_banks(backends[b]);
        for (size_t f = 0; f < 2 * N_PAGE_FORMATS; f++) {
            struct attention_case c = {.format = page_formats[f % N_PAGE_FORMATS], .heads = 4, .kv_heads = 2};
            c.features = f < N_PAGE_FORMATS ? 0 : LATENT;
            c.key_dims = c.value_dims = 48;
            c.length = 333;
            c.queries = 5;
            case_make(&random, &c);
            compare(card, &c.pages, read_plain, &c, (size_t)c.queries * c.heads * c.key_dims * 4);
            case_free(&c);
        }
        card_close(card);
    }
}

/* ---- INDEX ---- */

struct index_case {
    struct paged pages; /* one KV head, keys only */
    uint32_t heads, queries, most;
    float *query, *weight; /* [queries][heads][key_dims], [queries][heads] */
};

static void read_index(struct card *card, const void *operation, card_addr pool, uint32_t banks, void *to)
{
    const struct index_case *c = operation;
    size_t batch_bytes;
    struct card_batch_token *batch = paged_batch(&c->pages, c->pages.length - c->queries, c->queries, &batch_bytes);
    struct card_descriptor d[2] = {{.opcode = CARD_OP_INDEX, .format = (uint8_t)c->pages.format, .tokens = c->queries},
                                   {.opcode = CARD_OP_EXTENSION, .rows = banks}};
    d[0].flags = CARD_FLAG_EXTENDED;
    d[0].rows = c->heads;
    d[0].cols = c->pages.key_dims;
    d[0].param[0] = c->pages.pool_pages;
    d[0].param[1] = bits_of(0.5f);
    d[0].param[3] = c->most;
    d[0].weight = pool;
    d[0].dst = put(card, NULL, (size_t)c->queries * c->most * 4);
    d[0].src = put_floats(card, c->query, (size_t)c->queries * c->heads * c->pages.key_dims);
    d[0].aux = put(card, batch, batch_bytes);
    d[1].src = put_floats(card, c->weight, (size_t)c->queries * c->heads);
    run_program(card, d, 2);
    get(card, to, d[0].dst, (size_t)c->queries * c->most * 4);
    const card_addr all[] = {d[0].dst, d[0].src, d[0].aux, d[1].src};
    for (size_t i = 0; i < 4; i++) card_free(card, all[i]);
    free(batch);
}

static void index_over_banks(void **state)
{
    (void)state;
    struct test_random random = {seed_of_test(63)};
    for (size_t b = 0; b < sizeof backends / sizeof *backends; b++) {
        struct card *card = open_banks(backends[b]);
        for (size_t f = 0; f < N_PAGE_FORMATS; f++) {
            struct index_case c = {.heads = 3, .queries = 4, .most = 37};
            c.pages = paged_make(&random, page_formats[f], 1, 56, 0, 600);
            c.query = random_floats(&random, (size_t)c.queries * c.heads * 56);
            c.weight = random_floats(&random, (size_t)c.queries * c.heads);
            compare(card, &c.pages, read_index, &c, (size_t)c.queries * c.most * 4);
            paged_free(&c.pages);
            free(c.query);
            free(c.weight);
        }
        card_close(card);
    }
}

/* ---- tables ---- */

/* A table in bank 1 with the dealt pool's first page of that bank right behind it, in the same allocation. */
static void a_table_ends_where_the_result_begins_in_its_bank(void **state)
{
    (void)state;
    enum { HEADS = 2, DIMS = 8, PAGES = 5, OVER = 3, ROOM = 8192 };
    const uint64_t page_bytes = card_page_bytes(CARD_FORMAT_F16, HEADS, DIMS, DIMS);
    struct {
        struct card_batch_token token[2];
        uint32_t page[12]; /* 80 bytes in all */
    } table = {{{0, 0, 1, 0}, {1, 11, 2, 0}}, {0}};
    for (size_t b = 0; b < sizeof backends / sizeof *backends; b++) {
        struct card *card = open_banks(backends[b]);
        struct error err = {0};
        uint64_t offset;
        struct card_descriptor d = {.opcode = CARD_OP_KV_WRITE, .format = CARD_FORMAT_F16, .tokens = 2, .rows = HEADS};
        if (card_alloc_dealt(card, OVER, ROOM, &offset, &err)) fail_msg("%s", err.text);
        d.cols = DIMS;
        d.param[0] = PAGES;
        d.param[1] = DIMS;
        d.param[2] = OVER;
        d.src = d.weight = put(card, NULL, 4096);
        d.dst = CARD_ADDR(0, offset + sizeof table);
        for (uint32_t bank = 0; bank < OVER; bank++) {
            d.aux = CARD_ADDR(bank, offset);
            table.token[1].first_page = 11;
            if (card_write(card, d.aux, &table, sizeof table, NULL, 0, NULL, &err)) fail_msg("%s", err.text);
            run_program(card, &d, 1);
            table.token[1].first_page = 12;
            if (card_write(card, d.aux, &table, sizeof table, NULL, 0, NULL, &err)) fail_msg("%s", err.text);
            assert_int_equal(card_submit(card, &d, 1, NULL, 0, NULL, &err), ERROR_CARD);
            assert_non_null(strstr(err.text, "token 1: page entry 12 lies past the end"));
        }
        /* A pool of one page lies in bank 0 alone: there the table ends, in bank 1 nothing is behind it. */
        d.param[0] = 1;
        run_program(card,
                    &(struct card_descriptor){.opcode = CARD_OP_COPY,
                                              .tokens = 1,
                                              .rows = 1,
                                              .cols = 4,
                                              .dst = CARD_ADDR(1, offset + sizeof table),
                                              .src = CARD_ADDR(1, offset + sizeof table - 16)},
                    1);
        d.aux = CARD_ADDR(1, offset);
        if (card_write(card, d.aux, &table, sizeof table, NULL, 0, NULL, &err)) fail_msg("%s", err.text);
        run_program(card, &d, 1);
        d.aux = CARD_ADDR(0, offset);
        assert_int_equal(card_submit(card, &d, 1, NULL, 0, NULL, &err), ERROR_CARD);
        assert_true(page_bytes * 2 + sizeof table <= ROOM);
        card_close(card);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_over_banks),
        cmocka_unit_test(an_extension_for_the_banks_alone),
        cmocka_unit_test(index_over_banks),
        cmocka_unit_test(a_table_ends_where_the_result_begins_in_its_bank),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
