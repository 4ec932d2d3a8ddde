/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/experts/policy_replay.h"
#include "host/experts/routing_generate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A small generator of its own for shapes that the traces do not have. */
static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static uint32_t first_seed(void)
{
    const char *given = getenv("SEED");
    uint32_t seed = given ? (uint32_t)strtoul(given, NULL, 10) : 1;
    print_message("SEED=%u\n", seed);
    return seed;
}

/* n steps of random distinct choices, with some repetition so that hits happen. */
static struct policy_visits random_visits(uint32_t *seed, uint32_t layers, uint32_t experts, uint32_t used, uint32_t n)
{
    struct policy_visits visits = {.n_layers = layers, .n_experts = experts, .n_used = used};
    uint16_t choice[256];
    uint32_t sequence = 0;
    for (uint32_t s = 0; s < n; s++) {
        for (uint32_t l = 0; l < layers; l++) {
            uint16_t *row = choice + l * used;
            for (uint32_t i = 0; i < used; i++) {
                uint32_t expert;
                bool again;
                do {
                    uint32_t a = next(seed) % experts, b = next(seed) % experts;
                    expert = a < b ? a : b; /* low numbers are likelier */
                    again = false;
                    for (uint32_t j = 0; j < i; j++) again |= row[j] == expert;
                } while (again);
                row[i] = (uint16_t)expert;
            }
        }
        struct routing_step step = {.n_rows = 1, .sequence = &sequence, .choice = choice};
        assert_int_equal(policy_visits_add(&visits, &step, NULL), 0);
    }
    return visits;
}

static struct policy_counts run(const char *name, const struct policy_visits *visits, uint32_t n_slots,
                                const struct expert_profile *profile)
{
    struct policy_shape shape = {visits->n_layers, visits->n_experts, n_slots};
    struct policy_future future;
    struct expert_policy *policy;
    struct policy_counts counts;
    struct error err = {0};
    assert_int_equal(policy_visits_future(visits, &future, &err), 0);
    struct policy_inputs inputs = {profile, &future};
    if (expert_policy_open(name, &shape, &inputs, &policy, &err) < 0) fail_msg("%s", err.text);
    policy_replay(policy, visits, 0, &counts);
    expert_policy_close(policy);
    policy_future_close(&future);
    return counts;
}

/*
 * A naive cache: a list of ids in the order in which they leave, kept by hand. `order` says how a use moves an id: LRU
 * moves it to the end; for LFU and the profile the list is searched for the smallest count, ties to the front.
 */
struct naive {
    uint32_t ids[256], n;
    double count[256];
    bool frequency;
};

static void naive_touch(struct naive *list, uint32_t id)
{
    for (uint32_t i = 0; i < list->n; i++) {
        if (list->ids[i] != id) continue;
        memmove(list->ids + i, list->ids + i + 1, (list->n - i - 1) * sizeof *list->ids);
        list->ids[list->n - 1] = id;
        return;
    }
}

static uint32_t naive_worst(const struct naive *list, const uint16_t *pinned, uint32_t n_pinned, uint32_t base)
{
    uint32_t worst = UINT32_MAX;
    for (uint32_t i = 0; i < list->n; i++) {
        bool is_pinned = false;
        for (uint32_t p = 0; p < n_pinned; p++) is_pinned |= list->ids[i] == base + pinned[p];
        if (is_pinned) continue;
        if (worst == UINT32_MAX || (list->frequency && list->count[list->ids[i]] < list->count[list->ids[worst]]))
            worst = i;
    }
    return worst;
}

/* `gain(step)` is what a use adds to a count. */
static uint64_t naive_misses(const struct policy_visits *visits, uint32_t n_slots, struct naive *list, double growth)
{
    uint64_t misses = 0;
    for (uint32_t v = 0; v < visits->n; v++) {
        const uint16_t *experts = visits->experts + visits->first[v];
        uint32_t n = (uint32_t)(visits->first[v + 1] - visits->first[v]),
                 base = v % visits->n_layers * visits->n_experts;
        /* the worst of a choice counts as oldest: touched first */
        for (uint32_t i = n; i-- > 0;) {
            naive_touch(list, base + experts[i]);
            if (growth > 0) list->count[base + experts[i]] += pow(growth, v / visits->n_layers);
        }
        uint32_t missing[64], n_missing = 0;
        for (uint32_t i = 0; i < n; i++) {
            bool there = false;
            for (uint32_t j = 0; j < list->n; j++) there |= list->ids[j] == base + experts[i];
            if (!there) missing[n_missing++] = base + experts[i];
        }
        misses += n_missing;
        for (uint32_t i = 0; i < n_missing; i++) {
            if (list->n >= n_slots) {
                uint32_t worst = naive_worst(list, experts, n, base);
                if (worst == UINT32_MAX) continue;
                memmove(list->ids + worst, list->ids + worst + 1, (list->n - worst - 1) * sizeof *list->ids);
                list->n--;
            }
            list->ids[list->n++] = missing[i];
        }
        /* new ones among the visit's keep its order too: worst first at the end of the list */
        for (uint32_t i = n; i-- > 0;) naive_touch(list, base + experts[i]);
    }
    return misses;
}

static void test_lru_lfu_and_profile_against_a_list(void **state)
{
    (void)state;
    uint32_t seed = first_seed();
    for (int round = 0; round < 60; round++) {
        uint32_t layers = 1 + next(&seed) % 4, used = 1 + next(&seed) % 4, experts = used + next(&seed) % 12;
        uint32_t n_slots = used + next(&seed) % (layers * experts - used + 1);
        struct policy_visits visits = random_visits(&seed, layers, experts, used, 100);
        struct naive lru = {0}, lfu = {.frequency = true}, fixed = {.frequency = true};
        assert_int_equal(run("lru", &visits, n_slots, NULL).misses, naive_misses(&visits, n_slots, &lru, 0));
        /* the half-life of policy_lfu.c, which is part of what the policy promises */
        assert_int_equal(run("lfu", &visits, n_slots, NULL).misses,
                         naive_misses(&visits, n_slots, &lfu, exp2(1 / 128.0)));
        struct routing_shape shape = {"p", .n_layers = layers, .n_experts = experts, .n_used = used};
        struct expert_profile profile;
        assert_int_equal(expert_profile_open(&shape, &profile, NULL), 0);
        for (uint32_t id = 0; id < layers * experts; id++)
            fixed.count[id] = (double)(profile.uses[id] = next(&seed) % 5);
        profile.n_tokens = 10;
        assert_int_equal(run("profile", &visits, n_slots, &profile).misses, naive_misses(&visits, n_slots, &fixed, 0));
        expert_profile_close(&profile);
        policy_visits_close(&visits);
    }
}

/* The fewest misses from a visit on, over all evictions: residents as a bit set, tried one by one. */
static uint64_t fewest(const struct policy_visits *visits, uint32_t n_slots, uint32_t v, uint32_t resident)
{
    if (v == visits->n) return 0;
    uint32_t wanted = 0, base = v % visits->n_layers * visits->n_experts;
    for (uint64_t i = visits->first[v]; i < visits->first[v + 1]; i++) wanted |= 1u << (base + visits->experts[i]);
    uint32_t n_missing = (uint32_t)__builtin_popcount(wanted & ~resident), others = resident & ~wanted;
    uint32_t total = (uint32_t)__builtin_popcount(resident | wanted);
    uint32_t n_out = total > n_slots ? total - n_slots : 0;
    uint64_t best = UINT64_MAX;
    for (uint32_t out = others;; out = (out - 1) & others) { /* all subsets of the others */
        if ((uint32_t)__builtin_popcount(out) == n_out) {
            uint64_t more = fewest(visits, n_slots, v + 1, (resident | wanted) & ~out);
            if (more < best) best = more;
        }
        if (out == 0) break;
    }
    return best + n_missing;
}

static void test_belady_against_all_schedules(void **state)
{
    (void)state;
    uint32_t seed = first_seed();
    for (int round = 0; round < 60; round++) {
        uint32_t layers = 1 + next(&seed) % 2, used = 1 + next(&seed) % 2, experts = used + 1 + next(&seed) % 3;
        uint32_t n_slots = used + next(&seed) % 3;
        struct policy_visits visits = random_visits(&seed, layers, experts, used, 10 / layers);
        uint64_t best = fewest(&visits, n_slots, 0, 0);
        assert_int_equal(run("belady", &visits, n_slots, NULL).misses, best);
        for (unsigned i = 0; i < 4; i++) {
            if (strcmp(expert_policy_name_at(i), "profile") == 0) continue;
            assert_true(run(expert_policy_name_at(i), &visits, n_slots, NULL).misses >= best);
        }
        policy_visits_close(&visits);
    }
}

/* Random inserts, removals, pins and uses against plain arrays: nobody is evicted who may not be. */
static void test_pins_are_respected(void **state)
{
    (void)state;
    uint32_t seed = first_seed();
    uint64_t when_nothing[1] = {0};
    uint64_t first[3 * 16 + 2] = {0};
    struct policy_future future = {first, (const uint32_t *)when_nothing};
    struct routing_shape model = {"p", .n_layers = 3, .n_experts = 16, .n_used = 2};
    struct expert_profile profile;
    assert_int_equal(expert_profile_open(&model, &profile, NULL), 0);
    for (unsigned p = 0; expert_policy_name_at(p); p++) {
        struct policy_shape shape = {3, 16, 20};
        struct policy_inputs inputs = {&profile, &future};
        struct expert_policy *policy;
        assert_int_equal(expert_policy_open(expert_policy_name_at(p), &shape, &inputs, &policy, NULL), 0);
        assert_string_equal(expert_policy_name(policy), expert_policy_name_at(p));
        unsigned pins[48] = {0}, n_resident = 0;
        bool resident[48] = {false};
        for (int i = 0; i < 20000; i++) {
            uint32_t id = next(&seed) % 48, action = next(&seed) % 6;
            uint16_t pair[2] = {(uint16_t)(id % 16), (uint16_t)((id + 1) % 16)};
            if (action == 0) expert_policy_insert(policy, id), resident[id] = true;
            if (action == 1) expert_policy_remove(policy, id), resident[id] = false;
            if (action == 2 && pins[id] < 3) expert_policy_pin(policy, id), pins[id]++;
            if (action == 3) expert_policy_unpin(policy, id), pins[id] -= pins[id] > 0;
            if (action == 4) expert_policy_use(policy, id / 16, pair, 2);
            uint32_t victim = expert_policy_victim(policy), n_may = 0;
            n_resident = 0;
            for (uint32_t j = 0; j < 48; j++) n_resident += resident[j], n_may += resident[j] && pins[j] == 0;
            assert_int_equal(expert_policy_n_resident(policy), n_resident);
            assert_int_equal(expert_policy_is_resident(policy, id), resident[id]);
            if (n_may == 0)
                assert_int_equal(victim, POLICY_NONE);
            else
                assert_true(victim < 48 && resident[victim] && pins[victim] == 0);
        }
        expert_policy_close(policy);
    }
    expert_profile_close(&profile);
}

/* Fewer slots than a layer needs at once: misses are refused, nothing breaks. */
static void test_fewer_slots_than_a_visit_needs(void **state)
{
    (void)state;
    uint32_t seed = first_seed();
    struct policy_visits visits = random_visits(&seed, 2, 8, 4, 50);
    const char *const names[] = {"lru", "lfu", "adaptive", "belady"};
    for (unsigned i = 0; i < 4; i++) {
        struct policy_counts counts = run(names[i], &visits, 3, NULL);
        assert_int_equal(counts.uses, 2 * 4 * 50);
        assert_true(counts.refused > 0 && counts.refused <= counts.misses);
        assert_int_equal(run(names[i], &visits, 16, NULL).refused, 0);
    }
    policy_visits_close(&visits);
}

static struct policy_visits generated(const char *name, uint64_t seed, uint32_t n_before, uint32_t n,
                                      struct expert_profile *profile)
{
    struct routing_recipe recipe = *routing_recipe_find(name);
    recipe.shape.depth = recipe.shape.flags = 0;
    struct policy_visits visits = {
        .n_layers = recipe.shape.n_layers, .n_experts = recipe.shape.n_experts, .n_used = recipe.shape.n_used};
    struct routing_generator *generator;
    struct routing_step step;
    assert_int_equal(routing_generator_open(&recipe, seed, 1, &generator, NULL), 0);
    assert_int_equal(expert_profile_open(&recipe.shape, profile, NULL), 0);
    for (uint32_t i = 0; i < n_before + n; i++) {
        routing_generator_next(generator, &step);
        for (uint32_t l = 0; l < visits.n_layers && i < n_before; l++)
            expert_profile_count(profile, l, step.choice + l * visits.n_used, 1);
        if (i >= n_before) assert_int_equal(policy_visits_add(&visits, &step, NULL), 0);
    }
    routing_generator_close(generator);
    return visits;
}

/*
 * The default against the others on the controls, which have one property each. The bounds leave what two good policies
 * differ by chance; the README has the exact figures.
 */
static void test_adaptive_finds_what_pays(void **state)
{
    (void)state;
    const struct {
        const char *trace;
        double of_lru; /* at most */
    } rows[] = {{"control-uniform", 1.0}, {"control-skew", 0.8}, {"control-repeat", 1.0}, {"control-topics", 0.95}};
    for (unsigned r = 0; r < 4; r++) {
        struct expert_profile profile;
        struct policy_visits visits = generated(rows[r].trace, 5, 1000, 1000, &profile);
        for (uint32_t percent = 25; percent <= 75; percent += 25) {
            uint32_t n_slots = visits.n_layers * visits.n_experts * percent / 100;
            double adaptive = (double)run("adaptive", &visits, n_slots, &profile).misses;
            double lru = (double)run("lru", &visits, n_slots, NULL).misses, best = lru;
            best = fmin(best, (double)run("lfu", &visits, n_slots, NULL).misses);
            best = fmin(best, (double)run("profile", &visits, n_slots, &profile).misses);
            double optimum = (double)run("belady", &visits, n_slots, NULL).misses;
            if (!(adaptive >= optimum && adaptive <= rows[r].of_lru * lru && adaptive <= 1.005 * best))
                fail_msg("%s at %u %%: %g misses, LRU %g, best %g, optimum %g", rows[r].trace, percent, adaptive, lru,
                         best, optimum);
        }
        expert_profile_close(&profile);
        policy_visits_close(&visits);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    struct expert_policy *policy;
    struct policy_shape shape = {2, 4, 3};
    struct error err = {0};
    assert_int_equal(expert_policy_open("fifo", &shape, NULL, &policy, &err), ERROR_NOT_FOUND);
    assert_non_null(strstr(err.text, "lru, lfu, profile, adaptive"));
    assert_null(policy);
    assert_int_equal(expert_policy_open("profile", &shape, NULL, &policy, &err), ERROR_BAD_ARGUMENT);
    assert_int_equal(expert_policy_open("belady", &shape, NULL, &policy, &err), ERROR_BAD_ARGUMENT);
    const struct policy_shape bad[] = {{0, 4, 3}, {2, 0, 3}, {2, 4, 0}, {UINT32_MAX, 60000, 3}, {2, 70000, 3}};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(expert_policy_open("lru", &bad[i], NULL, &policy, &err), ERROR_BAD_ARGUMENT);
    struct routing_shape other = {"other", .n_layers = 2, .n_experts = 5, .n_used = 1};
    struct expert_profile profile;
    assert_int_equal(expert_profile_open(&other, &profile, NULL), 0);
    struct policy_inputs inputs = {.profile = &profile};
    assert_int_equal(expert_policy_open(POLICY_DEFAULT, &shape, &inputs, &policy, &err), ERROR_BAD_ARGUMENT);
    assert_non_null(strstr(err.text, "other"));
    expert_profile_close(&profile);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lru_lfu_and_profile_against_a_list),
        cmocka_unit_test(test_belady_against_all_schedules),
        cmocka_unit_test(test_pins_are_respected),
        cmocka_unit_test(test_fewer_slots_than_a_visit_needs),
        cmocka_unit_test(test_adaptive_finds_what_pays),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
