/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of cards: which cards a list names, and what is wrong with those that name none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/card/card_list.h"

#include <string.h>

static const struct card_options small = {.threads = 1, .memory_bytes = 8 << 20};

static void test_lists_name_their_cards_in_order(void **state)
{
    (void)state;
    static const struct {
        const char *specs;
        unsigned n;
        const char *spec[5];
    } lists[] = {
        {"sim", 1, {"sim"}},
        {"sim*3", 3, {"sim", "sim", "sim"}},
        {"sim,ref", 2, {"sim", "ref"}},
        {"sim:u55c*2,sim:u50", 3, {"sim:u55c", "sim:u55c", "sim:u50"}},
        {"sim:banks=4,sim:banks=2*2", 3, {"sim:banks=4", "sim:banks=2", "sim:banks=2"}},
        {"sim:u55c,host=gen4x8,sim:u50,timing*2", 3, {"sim:u55c,host=gen4x8", "sim:u50,timing", "sim:u50,timing"}},
        {"sim:u55c,timing,host=gen4x8", 1, {"sim:u55c,timing,host=gen4x8"}},
    };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct card_list list;
        struct error err = {0};
        if (card_list_open(lists[i].specs, &small, &list, &err) < 0) fail_msg("%s: %s", lists[i].specs, err.text);
        assert_int_equal(list.n, lists[i].n);
        for (unsigned c = 0; c < list.n; c++) {
            assert_string_equal(list.spec[c], lists[i].spec[c]);
            assert_non_null(list.card[c]);
        }
        card_list_close(&list);
        assert_int_equal(list.n, 0);
    }
}

static void test_lists_of_nothing_are_refused_by_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *specs;
        int code;
        const char *says[2];
    } lists[] = {
        {"", ERROR_BAD_ARGUMENT, {"names no card", "sim:u55c*4"}},
        {",", ERROR_BAD_ARGUMENT, {"names no card", ""}},
        {"sim,", ERROR_BAD_ARGUMENT, {"names no card", ""}},
        {"*2", ERROR_BAD_ARGUMENT, {"names no card", ""}},
        {"sim*0", ERROR_BAD_ARGUMENT, {"0 cards", "sim*0"}},
        {"sim*", ERROR_BAD_ARGUMENT, {"a number of cards", "sim*"}},
        {"sim*two", ERROR_BAD_ARGUMENT, {"a number of cards", "sim*two"}},
        {"sim*-1", ERROR_BAD_ARGUMENT, {"a number of cards", "sim*-1"}},
        {"sim*17", ERROR_BAD_ARGUMENT, {"16", ""}},
        {"sim*99999999999999999999999", ERROR_BAD_ARGUMENT, {"a number of cards", ""}},
        {"sim*9,sim*9", ERROR_BAD_ARGUMENT, {"16", ""}},
        {"sim,nosuch", ERROR_NOT_FOUND, {"card 2 of 2 (nosuch)", "sim, ref"}},
        {"sim:u55c,sim:u55x", ERROR_NOT_FOUND, {"card 2 of 2 (sim:u55x)", "u55c"}},
        {"sim:u55c*2,sim", ERROR_BAD_ARGUMENT, {"sim:u55c keeps virtual time and sim does not", ""}},
    };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct card_list list;
        struct error err = {0};
        assert_int_equal(card_list_open(lists[i].specs, &small, &list, &err), lists[i].code);
        for (unsigned s = 0; s < 2; s++)
            if (!strstr(err.text, lists[i].says[s])) fail_msg("%s: %s", lists[i].specs, err.text);
        assert_int_equal(list.n, 0);
    }
}

static void test_one_card_may_have_commas_and_no_number(void **state)
{
    (void)state;
    struct card_list list;
    struct error err = {0};
    char label[CARD_LABEL_BYTES];
    assert_int_equal(card_list_open_one("sim:u55c,timing", &small, &list, &err), 0);
    card_list_label(&list, 0, label);
    assert_string_equal(label, "sim:u55c,timing");
    card_list_close(&list);
    assert_int_equal(card_list_open_one("sim*2", &small, &list, &err), ERROR_NOT_FOUND);
    assert_null(strstr(err.text, "card 1 of 1"));
}

static void test_labels_say_place_and_card(void **state)
{
    (void)state;
    struct card_list list;
    struct error err = {0};
    char label[CARD_LABEL_BYTES];
    assert_int_equal(card_list_open("sim:u55c,sim:u50", &small, &list, &err), 0);
    card_list_label(&list, 1, label);
    assert_string_equal(label, "card 2 of 2 (sim:u50)");
    card_label(list.card[0], 0, 2, label);
    assert_string_equal(label, "card 1 of 2 (sim:u55c)");
    card_list_close(&list);
}

/* Without a size asked for, cards in this host's memory divide what one would have. */
static void test_cards_of_this_host_share_its_memory(void **state)
{
    (void)state;
    struct card_list one, three;
    struct error err = {0};
    struct card_info alone, shared;
    uint64_t sum = 0;
    assert_int_equal(card_list_open("sim", NULL, &one, &err), 0);
    assert_int_equal(card_list_open("sim*2,ref", NULL, &three, &err), 0);
    card_describe(one.card[0], &alone);
    for (unsigned i = 0; i < 3; i++) {
        card_describe(three.card[i], &shared);
        sum += shared.bank[0].bytes;
    }
    /* What is available changes while this runs, but not by half. */
    assert_true(sum < alone.bank[0].bytes * 3 / 2);
    card_list_close(&one);
    card_list_close(&three);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists_name_their_cards_in_order),
        cmocka_unit_test(test_lists_of_nothing_are_refused_by_what_is_wrong),
        cmocka_unit_test(test_one_card_may_have_commas_and_no_number),
        cmocka_unit_test(test_labels_say_place_and_card),
        cmocka_unit_test(test_cards_of_this_host_share_its_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
