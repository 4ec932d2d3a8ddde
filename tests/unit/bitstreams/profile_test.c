/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bitstreams/profiles/json_line.h"
#include "bitstreams/profiles/profile.h"
#include "host/base/map_file.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROFILES FIXTURES "/../../bitstreams/profiles/"

static void every_profile_of_the_program_is_good(void **state)
{
    (void)state;
    struct error err = {0};
    for (const char *const *name = card_profile_names(); *name; name++) {
        struct card_profile card;
        struct host_profile host;
        if (card_profile_open(*name, &card, &err) < 0) fail_msg("%s", err.text);
        assert_string_equal(card.name, *name);
        assert_in_range(card_profile_channels(&card), 1, PROFILE_CHANNELS);
        assert_int_equal(host_profile_open(card.host, &host, &err), 0);
        assert_true(name[1] == NULL || strcmp(name[0], name[1]) < 0);
    }
    for (const char *const *name = host_profile_names(); *name; name++) {
        struct host_profile host;
        if (host_profile_open(*name, &host, &err) < 0) fail_msg("%s", err.text);
        assert_string_equal(host.name, *name);
        assert_true(name[1] == NULL || strcmp(name[0], name[1]) < 0);
    }
}

static void units_become_whole_numbers(void **state)
{
    (void)state;
    struct card_profile card;
    struct host_profile host;
    assert_int_equal(card_profile_open("u280", &card, NULL), 0);
    assert_int_equal(card.n_memories, 2);
    assert_true(card.memory[0].peak_bytes_per_s == UINT64_C(14375000000));
    assert_true(card.memory[0].bytes_per_channel == UINT64_C(256) << 20);
    assert_int_equal(card.memory[0].refresh_interval_ps, 3900000);
    assert_true(card_profile_memory_bytes(&card) == UINT64_C(40) << 30);
    assert_ptr_equal(card_profile_bank(&card, 31), &card.memory[0]);
    assert_ptr_equal(card_profile_bank(&card, 32), &card.memory[1]);
    assert_null(card_profile_bank(&card, 34));
    assert_int_equal(card.energy.static_mw, 37300);
    assert_int_equal(card.engine.fixed_cycles[CARD_OP_MATMUL], 70);
    assert_int_equal(card.engine.matmul.full_round, 36);
    assert_int_equal(host_profile_open("gen3x16-u200", &host, NULL), 0);
    assert_int_equal(host.transfer_ps, 13200000);
    assert_string_equal(host.currency, "EUR");
}

static void a_path_is_a_file(void **state)
{
    (void)state;
    struct card_profile inside, outside;
    struct error err = {0};
    assert_int_equal(card_profile_open("u55c", &inside, &err), 0);
    assert_int_equal(card_profile_open(PROFILES "cards/u55c.json", &outside, &err), 0);
    assert_memory_equal(&inside, &outside, sizeof inside);
    assert_int_equal(card_profile_open("u56", &inside, &err), ERROR_NOT_FOUND);
    assert_non_null(strstr(err.text, "u55c"));
    assert_int_equal(card_profile_open("./no-such-file.json", &inside, &err), ERROR_NOT_FOUND);
    assert_int_equal(card_profile_open(PROFILES "hosts/gen4x8.json", &inside, &err), ERROR_BAD_FILE);
}

/* One mistake: the first `from` after the first `after` becomes `to`; the message names field and says why. */
struct mistake {
    const char *after, *from, *to, *field, *why;
};

/* The file's text with the mistake, owned by the caller; *line is the one of `from`. */
static char *with_mistake(const struct map_file *file, const struct mistake *mistake, unsigned *line)
{
    char *text = calloc(1, file->size + 1);
    assert_non_null(text);
    memcpy(text, file->bytes, file->size);
    char *anchor = strstr(text, mistake->after);
    char *place = anchor ? strstr(anchor, mistake->from) : NULL;
    if (!place) fail_msg("the file has no %s after %s", mistake->from, mistake->after);
    size_t size = file->size + strlen(mistake->to) + 1;
    char *out = calloc(1, size);
    assert_non_null(out);
    snprintf(out, size, "%.*s%s%s", (int)(place - text), text, mistake->to, place + strlen(mistake->from));
    *line = 1;
    for (const char *at = text; at < place; at++) *line += *at == '\n';
    free(text);
    return out;
}

static void expect_refusal(const struct map_file *file, const struct mistake *mistake, bool is_card)
{
    unsigned line;
    struct error err = {0};
    union {
        struct card_profile card;
        struct host_profile host;
    } out;
    char place[96];
    char *text = with_mistake(file, mistake, &line);
    int status = is_card ? card_profile_parse(text, strlen(text), "mine.json", &out.card, &err)
                         : host_profile_parse(text, strlen(text), "mine.json", &out.host, &err);
    snprintf(place, sizeof place, "mine.json:%u: %s", line, mistake->field);
    if (status != ERROR_BAD_FILE || strncmp(err.text, place, strlen(place)) != 0 || !strstr(err.text, mistake->why))
        fail_msg("%s -> %s: \"%s\"; expected \"%s ... %s\"", mistake->from, mistake->to, err.text, place, mistake->why);
    free(text);
}

static const struct mistake card_mistakes[] = {
    {"\"kind\"", "\"kind\": \"card\"", "\"kind\": \"car\"", "kind: ", "\"card\""},
    {"\"name\"", "\"u55c\"", "\"U 55c\"", "name: ", "only a-z"},
    {"\"title\"", "\"AMD Alveo U55C\"", "17", "title: ", "a string"},
    {"\"host\"", "\"gen3x16-u55c\"", "\"\"", "host: ", "1 to 31 bytes"},
    {"\"kernels\"", "\"sluice-300\"", "\"other\"", "kernels: ", "sluice-300"},
    {"\"memory\"", "\"kind\": \"hbm\"", "\"kind\": \"hmb\"", "memory[0].kind: ", "\"ddr\""},
    {"\"memory\"", "\"value\": 32,", "\"value\": -32,", "memory[0].channels: ", "allowed: 1 to 64"},
    {"\"memory\"", "\"value\": 32,", "\"value\": 32.5,", "memory[0].channels: ", "whole number"},
    {"\"memory\"", "\"value\": 32,", "\"value\": \"32\",", "memory[0].channels: ", "\"value\", a number"},
    {"\"memory\"", "\"value\": 32,", "\"val\": 32,", "memory[0].channels.val: ", "no such field"},
    {"\"memory\"", "\"channels\": {", "\"chanels\": {", "memory[0].chanels: ", "no such field"},
    {"\"peak\"", "14.375", "0", "memory[0].peak: ", "allowed: 0.001 to 1000 GB/s"},
    {"\"peak\"", "14.375", "-14.375", "memory[0].peak: ", "allowed"},
    {"\"peak\"", "14.375", "1e300", "memory[0].peak: ", "allowed"},
    {"\"peak\"", "\"GB/s\"", "\"GB\"", "memory[0].peak: ", "allowed: B/s, MB/s, GB/s"},
    {"\"refresh_time\"", "\"value\": 260", "\"value\": 2600", "memory[0].refresh_time: ", "half of refresh_interval"},
    {"\"port\"", "\"value\": 512", "\"value\": 500", "port.width: ", "512"},
    {"\"burst\"", "\"value\": 16", "\"value\": 128", "port.burst: ", "4096 bytes"},
    {"\"matmul_pipelines\"", "\"value\": 32", "\"value\": 64", "engine.matmul_pipelines: ", "32 channels"},
    {"\"tokens_per_word\"", "\"value\": 1", "\"value\": 4", "engine.used.lut: ", "pipelines and buffers take"},
    {"\"tokens_per_pass\"", "\"value\": 64", "\"value\": 0", "engine.tokens_per_pass: ", "allowed: 1"},
    {"\"weight_prefetch\"", "\"value\": 18432", "\"value\": 32768", "engine.used.uram: ", "pipelines and buffers take"},
    {"\"used\"", "\"lut\": {\"value\": ", "\"lut\": {\"value\": 9", "engine.used.lut: ", "60 %"},
    {"\"static\"", "\"W\"", "\"V\"", "energy.static: ", "allowed: mW, W"},
    {"\"static\"", "\"source\": \"", "\"source\": \"\", \"note\": \"", "energy.static: ", "empty \"source\""},
    {"\"static\"", "\"source\"", "\"sauce\"", "energy.static.sauce: ", "no such field"},
};

static const struct mistake host_mistakes[] = {
    {"\"pcie_lanes\"", "\"value\": 16", "\"value\": 12", "pcie_lanes: ", "allowed: 0, 1, 2, 4, 8, 16"},
    {"\"pcie_lanes\"", "\"value\": 16", "\"value\": 0", "pcie_lanes: ", "neither"},
    {"\"pcie_generation\"", "\"value\": 3", "\"value\": 7", "pcie_generation: ", "allowed: 0 to 6"},
    {"\"host_to_card\"", "\"value\": 7.4", "\"value\": 74", "host_to_card: ", "are possible"},
    {"\"both_ways\"", "\"value\": 15.4", "\"value\": 5.4", "both_ways: ", "are possible"},
    {"\"launch_again\"", "\"value\": 2.78", "\"value\": 278", "launch_again: ", "longer than launch"},
    {"\"transfer_both\"", "\"value\": 15.2", "\"value\": 1.52", "transfer_both: ", "shorter than transfer"},
    {"\"transfer_serial\"", "\"value\": 60", "\"value\": 101", "transfer_serial: ", "allowed: 0 to 100"},
    {"\"price\"", "\"EUR/kWh\"", "\"EUR\"", "price: ", "/kWh"},
    {"\"price\"", "\"value\": 0.3", "\"value\": -0.3", "price: ", "allowed: 0"},
};

static void mistakes_are_explained_with_file_line_and_field(void **state)
{
    (void)state;
    struct map_file card, host;
    assert_int_equal(map_file_open(PROFILES "cards/u55c.json", &card, NULL), 0);
    assert_int_equal(map_file_open(PROFILES "hosts/gen3x16-u200.json", &host, NULL), 0);
    for (size_t i = 0; i < sizeof card_mistakes / sizeof card_mistakes[0]; i++) {
        if (strncmp(card_mistakes[i].field, "engine.used", 11) == 0) continue; /* told at another line; below */
        expect_refusal(&card, &card_mistakes[i], true);
    }
    for (size_t i = 0; i < sizeof host_mistakes / sizeof host_mistakes[0]; i++)
        expect_refusal(&host, &host_mistakes[i], false);
    map_file_close(&card);
    map_file_close(&host);
}

/* Contradictions are told at the field that has to change. */
static void an_engine_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct map_file file;
    assert_int_equal(map_file_open(PROFILES "cards/u55c.json", &file, NULL), 0);
    for (size_t i = 0; i < sizeof card_mistakes / sizeof card_mistakes[0]; i++) {
        const struct mistake *mistake = &card_mistakes[i];
        if (strncmp(mistake->field, "engine.used", 11) != 0) continue;
        struct card_profile card;
        struct error err = {0};
        unsigned line;
        char *text = with_mistake(&file, mistake, &line);
        assert_int_equal(card_profile_parse(text, strlen(text), "mine.json", &card, &err), ERROR_BAD_FILE);
        assert_non_null(strstr(err.text, mistake->field));
        assert_non_null(strstr(err.text, mistake->why));
        free(text);
    }
    map_file_close(&file);
}

static void what_is_no_profile_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "{", "[]", "17", "{\"kind\": \"card\", \"kind\": \"card\"}", "{}", "\xff\xfe", "{\"kind\": \"card\"}\n{"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct card_profile card;
        struct host_profile host;
        struct error err = {0};
        assert_int_equal(card_profile_parse(texts[i], strlen(texts[i]), "mine.json", &card, &err), ERROR_BAD_FILE);
        assert_non_null(strstr(err.text, "mine.json:"));
        assert_int_equal(host_profile_parse(texts[i], strlen(texts[i]), "mine.json", &host, &err), ERROR_BAD_FILE);
    }
}

static void lines_of_members_are_found(void **state)
{
    (void)state;
    static const char text[] =
        "{\n \"a\": [\n  {\"b\": \"}\\\"\",\n   \"c\": 1},\n  2\n ],\n \"d\": {\"c\": {\n  \"e\": null}}\n}\n";
    const size_t n = sizeof text - 1;
    assert_int_equal(json_line(text, n, ""), 1);
    assert_int_equal(json_line(text, n, "a"), 2);
    assert_int_equal(json_line(text, n, "a[0]"), 3);
    assert_int_equal(json_line(text, n, "a[0].c"), 4);
    assert_int_equal(json_line(text, n, "a[1]"), 5);
    assert_int_equal(json_line(text, n, "a[9]"), 2);
    assert_int_equal(json_line(text, n, "d.c.e"), 8);
    assert_int_equal(json_line(text, n, "d.c.none"), 7);
    assert_int_equal(json_line(text, n, "none.c"), 1);
}

struct figures {
    unsigned n, unsourced;
};

static void count_figure(void *context, const struct profile_figure *figure)
{
    struct figures *figures = context;
    figures->n++;
    figures->unsourced += strlen(figure->source) < 3 || strlen(figure->value) < 2 || strlen(figure->field) == 0;
}

static void every_figure_has_a_source(void **state)
{
    (void)state;
    for (const char *const *name = card_profile_names(); *name; name++) {
        struct figures figures = {0};
        assert_int_equal(card_profile_figures(*name, count_figure, &figures, NULL), 0);
        assert_true(figures.n > 80);
        assert_int_equal(figures.unsourced, 0);
    }
    struct figures figures = {0};
    assert_int_equal(host_profile_figures("gen4x8", count_figure, &figures, NULL), 0);
    assert_true(figures.n > 20 && figures.unsourced == 0);
    assert_int_equal(card_profile_figures("none", count_figure, &figures, NULL), ERROR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_profile_of_the_program_is_good),
        cmocka_unit_test(units_become_whole_numbers),
        cmocka_unit_test(a_path_is_a_file),
        cmocka_unit_test(mistakes_are_explained_with_file_line_and_field),
        cmocka_unit_test(an_engine_that_does_not_fit_is_refused),
        cmocka_unit_test(what_is_no_profile_is_refused),
        cmocka_unit_test(lines_of_members_are_found),
        cmocka_unit_test(every_figure_has_a_source),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
