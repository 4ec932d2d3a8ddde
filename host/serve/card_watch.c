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

/* words: what stands behind the address. */
static void say(const struct server *server, const char *address, const char *words)
{
    char line[300];
    snprintf(line, sizeof line, "the card at %s %s", address, words);
    if (server->options->notice) server->options->notice(server->options->hook_context, line);
}

static void say_gone(struct server *server, const char *address)
{
    if (server->card_gone) return; /* its other function */
    server->card_gone = true;
    server->cards_removed++;
    say(server, address,
        "has gone from the bus: pulled out, without power, or its link is down (`sluice cards`; restart sluice when it "
        "is "
        "back)");
}

static void on_card_event(evutil_socket_t fd, short what, void *context)
{
    struct server *server = context;
    const struct serve_card_events *events = &server->options->card_events;
    const char *card = serving_model(server->serving)->card.address;
    char address[20];
    bool gone;
    (void)fd;
    (void)what;
    for (int got; (got = events->next(events->context, address, &gone)) != 0;) {
        if (got < 0) { /* whatever was lost: is it there? */
            if (!events->is_there(events->context, card)) say_gone(server, card);
            return;
        }
        if (!is_of_card(address, card)) continue;
        if (gone)
            say_gone(server, card);
        else if (server->card_gone)
            say(server, card, "is back on the bus: restart sluice to serve with it");
    }
}

void server_watch_card(struct server *server)
{
    const struct serve_card_events *events = &server->options->card_events;
    if (events->fd < 0 || serving_model(server->serving)->card.address[0] == '\0') return;
    server->on_card = event_new(server->base, events->fd, EV_READ | EV_PERSIST, on_card_event, server);
    if (!server->on_card || event_add(server->on_card, NULL) < 0)
        say(server, serving_model(server->serving)->card.address, "is not watched: no memory for the event");
}

int server_check_card(const struct server *server, struct api_error *error)
{
    if (!server->card_gone) return 0;
    return api_error_set(error, 503, "card_gone", NULL,
                         "The card at %s has gone from the bus. The server must be restarted when it is back.",
                         serving_model(server->serving)->card.address);
}
