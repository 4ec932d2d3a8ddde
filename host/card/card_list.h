/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several cards of one host, opened and closed together: what "sim:u55c*4" or "sim:u55c,sim:u50" name. The cards keep
 * their order, and each is known by its place and by what it was asked for: "card 2 of 4 (sim:u55c)".
 */
#ifndef SLUICE_CARD_CARD_LIST_H
#define SLUICE_CARD_CARD_LIST_H

#include "host/card/card.h"

#define CARD_LIST_MOST 16u
#define CARD_LABEL_BYTES 160u

struct card_list {
    unsigned n;
    struct card *card[CARD_LIST_MOST]; /* owned */
    char *spec[CARD_LIST_MOST];        /* owned: as card_open has it */
};

/*
 * Opens the cards that specs names, in their order: specs of card_open with commas between, each with "*N" behind it for N
 * such cards. What has a '=' before any ':', and the words "timing" and "unsigned", belong to the spec before them. Cards
 * that keep virtual time and others are not mixed. Memory of this host or of one device that nobody asked a size of is
 * divided evenly. *list is the caller's: card_list_close. Errors name the card; ERROR_BAD_ARGUMENT for a list of none, of
 * more than CARD_LIST_MOST, or with a number that is none; else those of card_open.
 */
int card_list_open(const char *specs, const struct card_options *options, struct card_list *list, struct error *err);

/* The same with the one card that spec names, as card_open has it. */
int card_list_open_one(const char *spec, const struct card_options *options, struct card_list *list, struct error *err);

void card_list_close(struct card_list *list); /* of a zeroed one too */

/* "card 2 of 4 (sim:u55c)", from 1 on; of a list of one, what it was asked for alone. */
void card_list_label(const struct card_list *list, unsigned place, char label[CARD_LABEL_BYTES]);

/* The same from what the card says of itself, for who has no list. place: from 0 on. */
void card_label(const struct card *card, unsigned place, unsigned n, char label[CARD_LABEL_BYTES]);

#endif
