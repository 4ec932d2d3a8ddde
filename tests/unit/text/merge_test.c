/* SPDX-License-Identifier: Apache-2.0 */
/* The heap-driven merge against the obvious one that looks at all pairs each time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/text/merge.h"

#include <stdlib.h>

enum { N_IDS = 40, MAX_WORD = 60, LONG_WORD = 2000 }; /* from some hundred on candidates are sorted, too */

/* rank[left][right], or MERGE_END; the result is another id below N_IDS. */
struct rules {
    uint32_t rank[N_IDS][N_IDS], result[N_IDS][N_IDS];
};

static bool lookup(const void *context, const struct merge_symbol *left, const struct merge_symbol *right,
                   uint32_t *rank, uint32_t *result)
{
    const struct rules *rules = context;
    *rank = rules->rank[left->id][right->id];
    *result = rules->result[left->id][right->id];
    return *rank != MERGE_END;
}

static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*seed >> 33);
}

static size_t merge_slowly(const struct rules *rules, uint32_t *ids, size_t n)
{
    for (;;) {
        size_t best = 0;
        uint32_t rank = MERGE_END;
        for (size_t i = 0; i + 1 < n; i++) {
            if (rules->rank[ids[i]][ids[i + 1]] < rank) {
                rank = rules->rank[ids[i]][ids[i + 1]];
                best = i;
            }
        }
        if (rank == MERGE_END) return n;
        ids[best] = rules->result[ids[best]][ids[best + 1]];
        for (size_t i = best + 1; i + 1 < n; i++) ids[i] = ids[i + 1];
        n--;
    }
}

static void new_rules(struct rules *rules, uint64_t *seed)
{
    for (size_t i = 0; i < N_IDS * N_IDS; i++) { /* few distinct ranks, so that ties are common */
        bool joins = next_random(seed) % 3 != 0;
        (&rules->rank[0][0])[i] = joins ? next_random(seed) % 50 : MERGE_END;
        (&rules->result[0][0])[i] = next_random(seed) % N_IDS;
    }
}

static void compare(struct merge_space *space, const struct rules *rules, uint32_t n, uint64_t *seed)
{
    uint32_t ids[LONG_WORD];
    struct error err;
    assert_int_equal(merge_reserve(space, n, &err), 0);
    const uint32_t n_different = 1 + next_random(seed) % N_IDS;
    for (uint32_t i = 0; i < n; i++) {
        ids[i] = next_random(seed) % n_different;
        space->symbols[i] = (struct merge_symbol){.start = i, .length = 1, .id = ids[i]};
    }
    merge_run(space, n, lookup, rules);
    size_t expected = merge_slowly(rules, ids, n), got = 0, length = 0;
    for (uint32_t i = 0; i != MERGE_END; i = space->symbols[i].next) {
        assert_true(got < expected);
        assert_int_equal(space->symbols[i].id, ids[got++]);
        assert_int_equal(space->symbols[i].start, length);
        length += space->symbols[i].length;
    }
    assert_int_equal(got, expected);
    assert_int_equal(length, n);
}

static void agrees_with_the_slow_way(void **state)
{
    (void)state;
    struct rules *rules = malloc(sizeof *rules);
    assert_non_null(rules);
    struct merge_space space = {0};
    uint64_t seed = 1;
    for (int round = 0; round < 20000; round++) {
        if (round % 100 == 0) new_rules(rules, &seed);
        compare(&space, rules, 1 + next_random(&seed) % MAX_WORD, &seed);
    }
    for (int round = 0; round < 60; round++) {
        new_rules(rules, &seed);
        compare(&space, rules, 400 + next_random(&seed) % (LONG_WORD - 400), &seed);
    }
    merge_free(&space);
    free(rules);
}

static void too_many_symbols_are_refused(void **state)
{
    (void)state;
    struct merge_space space = {0};
    struct error err;
    assert_int_equal(merge_reserve(&space, (size_t)1 << 40, &err), ERROR_TOO_LARGE);
    merge_free(&space);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_slow_way),
        cmocka_unit_test(too_many_symbols_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
