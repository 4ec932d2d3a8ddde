/* SPDX-License-Identifier: Apache-2.0 */
#include "host/card/card_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whether the piece between two commas is a setting of the card before it and not a card. */
static bool is_setting(const char *piece, size_t length)
{
    static const char *const words[] = {"timing", "unsigned"};
    const char *equals = memchr(piece, '=', length), *colon = memchr(piece, ':', length);
    if (equals && (!colon || equals < colon)) return true;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const size_t n = strlen(words[i]);
        if (strncmp(piece, words[i], n) == 0 && (length == n || (length > n && piece[n] == '*'))) return true;
    }
    return false;
}

/* Bytes of the first spec of the list, with its settings and its "*N". */
static size_t spec_length(const char *specs)
{
    size_t length = strcspn(specs, ",");
    while (specs[length] == ',') {
        const char *next = specs + length + 1;
        const size_t more = strcspn(next, ",");
        if (!is_setting(next, more)) break;
        length += 1 + more;
    }
    return length;
}

/* Cuts "*N" from the spec and gives N; 1 without it. */
static int take_number(const char *spec, size_t *length, unsigned *n, struct error *err)
{
    const char *star = memrchr(spec, '*', *length);
    *n = 1;
    if (!star) return 0;
    const char *at = star + 1, *end = spec + *length;
    unsigned long number = 0;
    for (; at < end && *at >= '0' && *at <= '9' && number <= CARD_LIST_MOST; at++)
        number = number * 10 + (unsigned long)(*at - '0');
    if (star + 1 == end || at != end)
        return error_set(err, ERROR_BAD_ARGUMENT,
                         "cards \"%.*s\": a number of cards, 1 to %u, is expected behind the *", (int)*length, spec,
                         CARD_LIST_MOST);
    if (number == 0)
        return error_set(err, ERROR_BAD_ARGUMENT, "cards \"%.*s\": 0 cards cannot run a model (1 to %u)", (int)*length,
                         spec, CARD_LIST_MOST);
    *n = (unsigned)number;
    *length = (size_t)(star - spec);
    return 0;
}

static int too_many(struct error *err)
{
    return error_set(err, ERROR_BAD_ARGUMENT, "cards: a model runs on %u of them at most", CARD_LIST_MOST);
}

/* The specs one by one into list->spec. */
static int read_specs(const char *specs, struct card_list *list, struct error *err)
{
    for (const char *at = specs;;) {
        const size_t whole = spec_length(at);
        size_t length = whole;
        unsigned n;
        int status = take_number(at, &length, &n, err);
        if (status < 0) return status;
        if (length == 0)
            return error_set(err, ERROR_BAD_ARGUMENT,
                             "cards \"%s\": names no card (CARD,CARD,... or CARD*N expected, such as sim:u55c*4)",
                             specs);
        if (list->n + n > CARD_LIST_MOST) return too_many(err);
        for (; n > 0; n--) {
            char *spec = strndup(at, length);
            if (!spec) return error_set(err, ERROR_NO_MEMORY, "cards: no memory");
            list->spec[list->n++] = spec;
        }
        if (at[whole] == '\0') return 0;
        at += whole + 1;
    }
}

/* How many cards have memory of this place that nobody asked a size of: all of this host, or of one device. */
static unsigned count_sharers(const struct card_list *list, unsigned place)
{
    const size_t kind = strcspn(list->spec[place], ":");
    const bool is_host =
        (kind == 3 && strncmp(list->spec[place], "sim", 3) == 0) || strncmp(list->spec[place], "ref", 3) == 0;
    unsigned n = 0;
    for (unsigned i = 0; i < list->n; i++) {
        const char *other = list->spec[i];
        const bool other_host = strncmp(other, "sim", 3) == 0 || strncmp(other, "ref", 3) == 0;
        n += is_host ? other_host : strcmp(other, list->spec[place]) == 0;
    }
    return n;
}

/* One card's time is not the other's: a model's steps have one. */
static int check_clocks(const struct card_list *list, struct error *err)
{
    unsigned with = list->n, without = list->n;
    for (unsigned i = 0; i < list->n; i++) {
        uint64_t now;
        if (card_now(list->card[i], &now, NULL) == 0)
            with = i;
        else
            without = i;
    }
    if (with == list->n || without == list->n) return 0;
    return error_set(err, ERROR_BAD_ARGUMENT,
                     "cards: %s keeps virtual time and %s does not, so that nothing could be said of the time of both "
                     "(profiles for all, or for none)",
                     list->spec[with], list->spec[without]);
}

static int open_all(const struct card_options *options, struct card_list *list, struct error *err)
{
    for (unsigned i = 0; i < list->n; i++) {
        struct card_options own = options ? *options : (struct card_options){0};
        own.sharers = count_sharers(list, i);
        int status = card_open(list->spec[i], &own, &list->card[i], err);
        if (status < 0) {
            char label[CARD_LABEL_BYTES];
            card_list_label(list, i, label);
            return list->n > 1 ? error_prefix(err, "%s", label) : status;
        }
    }
    return check_clocks(list, err);
}

static int close_on_error(struct card_list *list, int status)
{
    if (status < 0) card_list_close(list);
    return status;
}

int card_list_open(const char *specs, const struct card_options *options, struct card_list *list, struct error *err)
{
    *list = (struct card_list){0};
    int status = read_specs(specs, list, err);
    if (status == 0) status = open_all(options, list, err);
    return close_on_error(list, status);
}

int card_list_open_one(const char *spec, const struct card_options *options, struct card_list *list, struct error *err)
{
    *list = (struct card_list){.n = 1, .spec = {strdup(spec)}};
    int status = list->spec[0] ? open_all(options, list, err) : error_set(err, ERROR_NO_MEMORY, "cards: no memory");
    return close_on_error(list, status);
}

void card_list_close(struct card_list *list)
{
    for (unsigned i = 0; i < list->n; i++) {
        card_close(list->card[i]);
        free(list->spec[i]);
    }
    *list = (struct card_list){0};
}

void card_list_label(const struct card_list *list, unsigned place, char label[CARD_LABEL_BYTES])
{
    if (list->n == 1)
        (void)snprintf(label, CARD_LABEL_BYTES, "%s", list->spec[0]);
    else
        (void)snprintf(label, CARD_LABEL_BYTES, "card %u of %u (%s)", place + 1, list->n, list->spec[place]);
}

void card_label(const struct card *card, unsigned place, unsigned n, char label[CARD_LABEL_BYTES])
{
    struct card_info info;
    card_describe(card, &info);
    (void)snprintf(label, CARD_LABEL_BYTES, "card %u of %u (%s%s%s)", place + 1, n, info.backend,
                   info.profile[0] ? ":" : "", info.profile);
}
