/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A card that is pulled out, or falls off the bus: said at once, and no completion starts on it any more. What runs on it fails by
 * itself, as its copies and runs do; the server lives, and a restart takes the card once it is back.
 */
#include "host/serve/server.h"

#include <stdio.h>
#include <string.h>

/* Functions of one card differ in what stands behind the dot. */
static bool is_of_card(const char *address, const char *card)
{
    const size_t slot = strcspn(card, ".");
    return strncmp(address, card, slot) == 0 && address[slot] == '.';
}

/* Which of the cards that serve it is, or n_cards. */
static unsigned find_card(const struct server *server, const char *address)
{
    const struct serving_model *model = serving_model(server->serving);
    unsigned i = 0;
    while (i < model->n_cards && !is_of_card(address, model->card[i].info.address)) i++;
    return i;
}

/* words: what stands behind the address. */
static void say(const struct server *server, const char *address, const char *words)
{
    char line[300];
    snprintf(line, sizeof line, "the card at %s %s", address, words);
    if (server->options->notice) server->options->notice(server->options->hook_context, line);
}

static void say_gone(struct server *server, unsigned card, const char *address)
{
    if (server->cards_gone >> card & 1) return; /* its other function */
    server->cards_gone |= 1u << card;
    server->cards_removed++;
    say(server, address,
        "has gone from the bus: pulled out, without power, or its link is down (`sluice cards`; restart sluice when it "
        "is "
        "back)");
}

/* Events were lost: which of the cards are there? */
static void look_at_all(struct server *server)
{
    const struct serve_card_events *events = &server->options->card_events;
    const struct serving_model *model = serving_model(server->serving);
    for (unsigned i = 0; i < model->n_cards; i++) {
        const char *address = model->card[i].info.address;
        if (address[0] != '\0' && !events->is_there(events->context, address)) say_gone(server, i, address);
    }
}

static void on_card_event(evutil_socket_t fd, short what, void *context)
{
    struct server *server = context;
    const struct serve_card_events *events = &server->options->card_events;
    char address[20];
    bool gone;
    (void)fd;
    (void)what;
    for (int got; (got = events->next(events->context, address, &gone)) != 0;) {
        if (got < 0) {
            look_at_all(server);
            return;
        }
        const unsigned card = find_card(server, address);
        if (card == serving_model(server->serving)->n_cards) continue;
        if (gone)
            say_gone(server, card, address);
        else if (server->cards_gone >> card & 1)
            say(server, address, "is back on the bus: restart sluice to serve with it");
    }
}

void server_watch_cards(struct server *server)
{
    const struct serve_card_events *events = &server->options->card_events;
    const struct serving_model *model = serving_model(server->serving);
    const char *first = NULL; /* of those on the bus */
    for (unsigned i = 0; i < model->n_cards && !first; i++)
        if (model->card[i].info.address[0] != '\0') first = model->card[i].info.address;
    if (events->fd < 0 || !first) return;
    server->on_card = event_new(server->base, events->fd, EV_READ | EV_PERSIST, on_card_event, server);
    if (!server->on_card || event_add(server->on_card, NULL) < 0)
        say(server, first, "is not watched: no memory for the event");
}

int server_check_cards(const struct server *server, struct api_error *error)
{
    unsigned card = 0;
    if (!server->cards_gone) return 0;
    while (!(server->cards_gone >> card & 1)) card++;
    return api_error_set(error, 503, "card_gone", NULL,
                         "The card at %s has gone from the bus. The server must be restarted when it is back.",
                         serving_model(server->serving)->card[card].info.address);
}
