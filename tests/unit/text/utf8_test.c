/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UTF-8 against Unicode's table of well-formed sequences, for every sequence of up to three bytes and the edges of
 * four.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/text/utf8.h"

#include <stdbool.h>
#include <string.h>

static unsigned encode(uint32_t c, uint8_t out[4])
{
    if (c < 0x80) return out[0] = (uint8_t)c, 1;
    if (c < 0x800) return out[0] = (uint8_t)(0xc0 | c >> 6), out[1] = (uint8_t)(0x80 | (c & 63)), 2;
    if (c < 0x10000)
        return out[0] = (uint8_t)(0xe0 | c >> 12), out[1] = (uint8_t)(0x80 | (c >> 6 & 63)),
               out[2] = (uint8_t)(0x80 | (c & 63)), 3;
    out[0] = (uint8_t)(0xf0 | c >> 18), out[1] = (uint8_t)(0x80 | (c >> 12 & 63));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 63)), out[3] = (uint8_t)(0x80 | (c & 63));
    return 4;
}

static void every_character_is_one(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x110000; c++) {
        uint8_t bytes[4];
        unsigned n = encode(c, bytes), length;
        bool surrogate = c >= 0xd800 && c < 0xe000;
        enum utf8_kind kind = utf8_scan(bytes, n, &length);
        assert_int_equal(kind, surrogate ? UTF8_BROKEN : UTF8_CHARACTER);
        if (surrogate) continue;
        assert_int_equal(length, n);
        assert_int_equal(utf8_decode(bytes, n), c);
        for (unsigned part = 1; part < n; part++) assert_int_equal(utf8_scan(bytes, part, &length), UTF8_UNFINISHED);
    }
}

/*
 * Two and three bytes: what is accepted is exactly what some character is encoded as, so there are no overlong forms.
 */
static void nothing_else_is(void **state)
{
    (void)state;
    for (uint32_t value = 0; value < 1 << 24; value++) {
        uint8_t bytes[3] = {(uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value}, again[4];
        unsigned length;
        if (utf8_scan(bytes, 3, &length) != UTF8_CHARACTER) continue;
        if (encode(utf8_decode(bytes, length), again) != length || memcmp(bytes, again, length) != 0)
            fail_msg("%06x is taken for a character of %u bytes", value, length);
    }
    static const char *const broken[] = {"\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf0\x8f\xbf\xbf", "\xff", "\x80"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        unsigned length;
        assert_int_equal(utf8_scan((const uint8_t *)broken[i], strlen(broken[i]), &length), UTF8_BROKEN);
        assert_int_equal(length, 1);
    }
}

/* The example of the Unicode standard, chapter 3.9, "U+FFFD Substitution of Maximal Subparts". */
static void broken_parts_are_maximal(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0xe1, 0x80, 0xe2, 0xf0, 0x91, 0x92, 0xf1, 0xbf, 0x41};
    static const unsigned expected[] = {2, 1, 3, 2};
    size_t at = 0;
    for (size_t i = 0; i < 4; i++) {
        unsigned length;
        assert_int_equal(utf8_scan(bytes + at, sizeof bytes - at, &length), UTF8_BROKEN);
        assert_int_equal(length, expected[i]);
        at += length;
    }
    assert_int_equal(bytes[at], 'A');
}

static void valid_prefix_ends_at_the_first_wrong_byte(void **state)
{
    (void)state;
    char text[64];
    for (size_t n = 0; n < sizeof text; n++) {
        memset(text, 'a', sizeof text);
        text[n] = (char)0x80;
        assert_int_equal(utf8_valid_prefix((const uint8_t *)text, sizeof text), n);
    }
    static const char half[] = "123456\xe2\x82\xac"
                               "7890\xe2\x82";
    assert_int_equal(utf8_valid_prefix((const uint8_t *)half, sizeof half - 1), sizeof half - 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_character_is_one),
        cmocka_unit_test(nothing_else_is),
        cmocka_unit_test(broken_parts_are_maximal),
        cmocka_unit_test(valid_prefix_ends_at_the_first_wrong_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
