/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/engine/pages.h"
#include "host/engine/sampler.h"

#include <string.h>

static void assert_valid(const struct page_pool *pool, const struct page_table *const *tables, size_t n)
{
    struct error err = {0};
    if (pages_validate(pool, tables, n, &err) < 0) fail_msg("%s", err.text);
}

static void test_reserve_take_release(void **state)
{
    (void)state;
    struct page_pool pool;
    struct error err = {0};
    uint32_t first_pages[8], second_pages[8];
    struct page_table first = {.pages = first_pages}, second = {.pages = second_pages};
    const struct page_table *const both[] = {&first, &second};
    assert_int_equal(page_pool_open(&pool, 8, &err), 0);
    assert_true(pages_reserve(&pool, &first, 5, NULL, 0));
    assert_false(pages_reserve(&pool, &second, 4, NULL, 0)); /* 3 are left */
    assert_int_equal(second.n_reserved, 0);
    assert_true(pages_reserve(&pool, &second, 3, NULL, 0));
    pages_take(&pool, &first, 2);
    pages_take(&pool, &second, 3);
    pages_take(&pool, &first, 1); /* has more already */
    assert_int_equal(first.n_pages, 2);
    assert_int_equal(first_pages[0], 0); /* the lowest first */
    assert_int_equal(first_pages[1], 1);
    assert_int_equal(pool.n_free, 3);
    assert_valid(&pool, both, 2);
    pages_release(&pool, &first);
    assert_valid(&pool, both, 2);
    assert_true(pages_reserve(&pool, &first, 5, NULL, 0));
    pages_take(&pool, &first, 5);
    assert_int_equal(pool.n_free, 0);
    assert_valid(&pool, both, 2);
    pages_release(&pool, &first);
    pages_release(&pool, &second);
    pages_release(&pool, &second); /* empty: nothing happens */
    assert_int_equal(pool.n_free, 8);
    assert_int_equal(pool.n_reserved, 0);
    assert_valid(&pool, both, 2);
    page_pool_close(&pool);
}

/* The checker finds each kind of damage. */
static void test_validate_notices(void **state)
{
    (void)state;
    struct page_pool pool;
    struct error err = {0};
    uint32_t a_pages[4], b_pages[4];
    struct page_table a = {.pages = a_pages}, b = {.pages = b_pages};
    const struct page_table *const both[] = {&a, &b};
    assert_int_equal(page_pool_open(&pool, 6, &err), 0);
    assert_true(pages_reserve(&pool, &a, 3, NULL, 0) && pages_reserve(&pool, &b, 3, NULL, 0));
    pages_take(&pool, &a, 2);
    pages_take(&pool, &b, 2);
    assert_valid(&pool, both, 2);

    uint32_t kept = b_pages[0];
    b_pages[0] = a_pages[0];
    assert_int_equal(pages_validate(&pool, both, 2, &err), ERROR_INTERNAL);
    assert_non_null(strstr(err.text, "is held by 2 sequences, the pool counts 1"));
    b_pages[0] = pool.free_pages[0];
    assert_int_equal(pages_validate(&pool, both, 2, &err), ERROR_INTERNAL);
    b_pages[0] = 6;
    assert_int_equal(pages_validate(&pool, both, 2, &err), ERROR_INTERNAL);
    b_pages[0] = kept;

    kept = pool.free_pages[0];
    pool.free_pages[0] = pool.free_pages[1];
    assert_int_equal(pages_validate(&pool, both, 2, &err), ERROR_INTERNAL);
    assert_non_null(strstr(err.text, "free twice"));
    pool.free_pages[0] = kept;

    a.n_reserved = 1;
    assert_int_equal(pages_validate(&pool, both, 2, &err), ERROR_INTERNAL);
    assert_non_null(strstr(err.text, "but reserved 1"));
    a.n_reserved = 2;
    assert_int_equal(pages_validate(&pool, both, 2, &err), ERROR_INTERNAL);
    assert_non_null(strstr(err.text, "4 KV pages held and 1 promised, the pool counts 4 and 6 of 6"));
    a.n_reserved = 3;

    assert_int_equal(pages_validate(&pool, both, 1, &err), ERROR_INTERNAL); /* b's pages are nobody's */
    assert_non_null(strstr(err.text, "is held by 0 sequences, the pool counts 1"));
    assert_valid(&pool, both, 2);
    page_pool_close(&pool);
}

static void test_random(void **state)
{
    (void)state;
    enum { N = 12, PAGES = 40 };
    struct page_pool pool;
    struct error err = {0};
    uint32_t pages[N][PAGES];
    struct page_table tables[N];
    const struct page_table *pointers[N];
    assert_int_equal(page_pool_open(&pool, PAGES, &err), 0);
    for (int i = 0; i < N; i++) {
        tables[i] = (struct page_table){.pages = pages[i]};
        pointers[i] = &tables[i];
    }
    uint32_t n_refused = 0;
    for (uint32_t turn = 0; turn < 3000; turn++) {
        uint32_t dice = random_bits(99, 0, turn, 0);
        struct page_table *table = &tables[dice % N];
        uint32_t n = (dice >> 8) % 12;
        if (table->n_reserved == 0)
            n_refused += !pages_reserve(&pool, table, n, NULL, 0);
        else if (dice >> 20 & 1)
            pages_take(&pool, table, n < table->n_reserved ? n : table->n_reserved);
        else
            pages_release(&pool, table);
        assert_valid(&pool, pointers, N);
    }
    assert_true(n_refused > 20);
    page_pool_close(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reserve_take_release),
        cmocka_unit_test(test_validate_notices),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
