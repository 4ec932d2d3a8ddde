/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/jinja_character.h"

#include "host/text/jinja_unicode.h"
#include "host/text/utf8.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

uint32_t jinja_character(const char *bytes, size_t n, unsigned *length)
{
    if ((unsigned char)*bytes < 0x80) {
        *length = 1;
        return (unsigned char)*bytes;
    }
    if (utf8_scan((const uint8_t *)bytes, n, length) == UTF8_CHARACTER)
        return utf8_decode((const uint8_t *)bytes, *length);
    *length = 1;
    return 0xfffd;
}

static bool within(uint32_t c, const struct jinja_code_range *ranges, size_t count)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > ranges[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && c >= ranges[low].first;
}

#define WITHIN(c, ranges) within(c, ranges, COUNT(ranges))

static bool is_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool jinja_character_is(uint32_t c, enum jinja_class class)
{
    switch (class) {
    case JINJA_SPACE: return is_space(c);
    case JINJA_PRINTABLE: return WITHIN(c, jinja_printable_ranges);
    case JINJA_ALPHA: return WITHIN(c, jinja_alpha_ranges);
    case JINJA_DECIMAL: return WITHIN(c, jinja_decimal_ranges);
    case JINJA_DIGIT: return WITHIN(c, jinja_digit_ranges);
    case JINJA_NUMERIC: return WITHIN(c, jinja_numeric_ranges);
    case JINJA_WORD: return c == '_' || WITHIN(c, jinja_alpha_ranges) || WITHIN(c, jinja_numeric_ranges);
    case JINJA_UPPER: return WITHIN(c, jinja_upper_ranges);
    case JINJA_LOWER: return WITHIN(c, jinja_lower_ranges);
    case JINJA_TITLE: return WITHIN(c, jinja_title_ranges);
    case JINJA_IGNORABLE: return WITHIN(c, jinja_ignorable_ranges);
    }
    return false;
}

static uint32_t by_runs(uint32_t c, const struct jinja_case_range *runs, size_t count)
{
    size_t low = 0, high = count;
    while (low <
           high) { /* a run's last may lie behind the next one's first: runs of every other character interleave */
        size_t middle = (low + high) / 2;
        if (c >= runs[middle].first)
            low = middle + 1;
        else
            high = middle;
    }
    for (size_t back = 0; back < 3 && low > back; back++) {
        const struct jinja_case_range *run = &runs[low - 1 - back];
        if (c <= run->last && (c - run->first) % run->step == 0) return (uint32_t)((int32_t)c + run->difference);
    }
    return c;
}

static const struct jinja_case_exception *exception_of(uint32_t c, const struct jinja_case_exception *table,
                                                       size_t count)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > table[middle].from)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && table[low].from == c ? &table[low] : NULL;
}

unsigned jinja_character_case(uint32_t c, enum jinja_case to, uint32_t out[3])
{
    static const struct {
        const struct jinja_case_exception *table;
        size_t count;
    } exceptions[] = {
        [JINJA_TO_UPPER] = {jinja_upper_exceptions, COUNT(jinja_upper_exceptions)},
        [JINJA_TO_LOWER] = {jinja_lower_exceptions, COUNT(jinja_lower_exceptions)},
        [JINJA_TO_TITLE] = {jinja_title_exceptions, COUNT(jinja_title_exceptions)},
        [JINJA_TO_FOLDED] = {jinja_folded_exceptions, COUNT(jinja_folded_exceptions)},
    };
    const struct jinja_case_exception *exception = exception_of(c, exceptions[to].table, exceptions[to].count);
    if (exception) {
        unsigned n = 0;
        while (n < 3 && exception->to[n]) {
            out[n] = exception->to[n];
            n++;
        }
        return n;
    }
    bool upwards = to == JINJA_TO_UPPER || to == JINJA_TO_TITLE;
    out[0] = upwards ? by_runs(c, jinja_upper_runs, COUNT(jinja_upper_runs))
                     : by_runs(c, jinja_lower_runs, COUNT(jinja_lower_runs));
    return 1;
}

void jinja_trim(const char **text, size_t *length, bool left, bool right)
{
    const char *bytes = *text;
    size_t start = 0, end = *length;
    while (left && start < end) {
        unsigned n;
        if (!is_space(jinja_character(bytes + start, end - start, &n))) break;
        start += n;
    }
    while (right && end > start) {
        size_t at = end - 1;
        unsigned n;
        while (at > start && ((unsigned char)bytes[at] & 0xc0) == 0x80) at--;
        if (!is_space(jinja_character(bytes + at, end - at, &n))) break;
        end = at;
    }
    *text = bytes + start;
    *length = end - start;
}
