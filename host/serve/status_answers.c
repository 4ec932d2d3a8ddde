/* SPDX-License-Identifier: Apache-2.0 */
/* What the server says of itself: numbers for Prometheus, and the cards. */
#include "host/serve/server.h"

#include <string.h>

/* One number in Prometheus' text format. type: "counter" or "gauge". */
static void put(struct json_out *out, const char *name, const char *type, const char *help, uint64_t value)
{
    json_out_format(out, "# HELP sluice_%s %s\n# TYPE sluice_%s %s\nsluice_%s %llu\n", name, help, name, type, name,
                    (unsigned long long)value);
}

static void put_connections(const struct server *server, struct json_out *out)
{
    static const char *const classes[] = {"hangup", "1xx", "2xx", "3xx", "4xx", "5xx"};
    struct connection_counts counts;
    connection_set_count(server->connections, &counts);
    put(out, "connections_total", "counter", "Connections accepted.", counts.accepted);
    put(out, "connections", "gauge", "Connections open.", counts.open);
    json_out_text(out, "# HELP sluice_answers_total Answers that have ended, by class of status.\n"
                       "# TYPE sluice_answers_total counter\n");
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        json_out_format(out, "sluice_answers_total{status=\"%s\"} %llu\n", classes[i],
                        (unsigned long long)counts.answers[i]);
}

static void put_engine(const struct engine *engine, struct json_out *out)
{
    struct engine_counters counters;
    engine_count(engine, &counters);
    put(out, "steps_total", "counter", "Steps of the engine.", counters.steps);
    put(out, "prompt_tokens_total", "counter", "Prompt tokens computed.", counters.prompt_tokens);
    put(out, "cached_tokens_total", "counter", "Prompt tokens taken from the prefix cache.", counters.cached_tokens);
    put(out, "completion_tokens_total", "counter", "Tokens made.", counters.completion_tokens);
    put(out, "drafted_tokens_total", "counter", "Tokens guessed by speculation.", counters.drafted_tokens);
    put(out, "accepted_tokens_total", "counter", "Guessed tokens that were right.", counters.accepted_tokens);
    put(out, "sequences_running", "gauge", "Sequences at work.", counters.running);
    put(out, "sequences_waiting", "gauge", "Sequences in the queue.", counters.waiting);
    put(out, "kv_pages", "gauge", "KV pages there are.", counters.n_pages);
    put(out, "kv_pages_used", "gauge", "KV pages in use.", counters.pages_used);
    put(out, "kv_pages_cached", "gauge", "KV pages kept for their content alone.", counters.pages_cached);
    put(out, "expert_hits_total", "counter", "Experts that were on the card when they were asked for.",
        counters.expert_hits);
    put(out, "expert_misses_total", "counter", "Experts that had to be copied to the card.", counters.expert_misses);
    put(out, "expert_bytes_total", "counter", "Bytes of experts copied to the card.", counters.expert_bytes);
    put(out, "expert_stall_picoseconds_total", "counter", "Time in which the card waited for experts.",
        counters.expert_stall_ps);
}

/* One line for each card of a number that they have each for itself. */
static void put_of_cards(const struct serving_model *model, struct json_out *out, const char *name, const char *type,
                         const char *help, uint64_t (*value)(const struct serving_card *card))
{
    json_out_format(out, "# HELP sluice_%s %s\n# TYPE sluice_%s %s\n", name, help, name, type);
    for (unsigned i = 0; i < model->n_cards; i++) {
        json_out_format(out, "sluice_%s{card=\"%u\",spec=", name, i + 1);
        json_out_string(out, model->card[i].spec, strlen(model->card[i].spec));
        json_out_format(out, "} %llu\n", (unsigned long long)value(&model->card[i]));
    }
}

static uint64_t layers_of(const struct serving_card *card) { return card->n_layers; }
static uint64_t waited_of(const struct serving_card *card) { return loaded_model_waited(card->part); }

static uint64_t free_of(const struct serving_card *card)
{
    uint64_t bytes = 0;
    for (unsigned b = 0; b < card->info.n_banks; b++) bytes += card->info.bank[b].bytes_free;
    return bytes;
}

static void put_cards(const struct serving_model *model, struct json_out *out)
{
    put_of_cards(model, out, "card_layers", "gauge", "Layers of the model on the card.", layers_of);
    put_of_cards(model, out, "card_free_bytes", "gauge", "Card memory that nothing has taken.", free_of);
    put_of_cards(model, out, "card_waits_picoseconds_total", "counter",
                 "Time in which the card had nothing to do as others worked; 0 on cards without a clock.", waited_of);
}

void server_answer_metrics(const struct server *server, struct connection *connection)
{
    struct json_out out = {0};
    put(&out, "ready", "gauge", "1 while completions are taken.",
        server->seen == SERVING_READY && !server->draining && !server->cards_gone);
    put(&out, "cards_removed_total", "counter", "Times that the card went from the bus.", server->cards_removed);
    put_connections(server, &out);
    if (server->seen == SERVING_READY) {
        put_engine(serving_model(server->serving)->engine, &out);
        put_cards(serving_model(server->serving), &out);
    }
    connection_reply(connection, &(struct http_answer){.status = out.failed ? 500 : 200,
                                                       .content_type = "text/plain; version=0.0.4; charset=utf-8",
                                                       .body = out.bytes,
                                                       .length = out.failed ? 0 : out.length});
    json_out_free(&out);
}

static void put_card(const struct serving_card *serving, bool gone, struct json_out *out)
{
    const struct card_info *card = &serving->info;
    json_out_text(out, "{\"object\":\"card\",\"id\":");
    json_out_string(out, serving->label, strlen(serving->label));
    json_out_format(out, ",\"first_layer\":%u,\"layers\":%u", serving->first_layer, serving->n_layers);
    json_out_format(out, ",\"backend\":\"%s\",\"name\":", card->backend);
    json_out_string(out, card->name, strlen(card->name));
    json_out_format(out, ",\"state\":\"%s\",\"address\":", gone ? "gone" : "ready");
    if (card->address[0] != '\0')
        json_out_string(out, card->address, strlen(card->address));
    else
        json_out_text(out, "null");
    json_out_text(out, ",\"profile\":");
    if (card->profile[0] != '\0')
        json_out_string(out, card->profile, strlen(card->profile));
    else
        json_out_text(out, "null");
    json_out_format(out, ",\"abi_version\":%u,\"threads\":%u,\"banks\":[", card->abi_version, card->threads);
    for (unsigned i = 0; i < card->n_banks; i++) {
        json_out_text(out, i ? ",{\"name\":" : "{\"name\":");
        json_out_string(out, card->bank[i].name, strlen(card->bank[i].name));
        json_out_format(out, ",\"bytes\":%llu,\"bytes_free\":%llu}", (unsigned long long)card->bank[i].bytes,
                        (unsigned long long)card->bank[i].bytes_free);
    }
    json_out_text(out, "]}");
}

void server_answer_cards(const struct server *server, struct connection *connection)
{
    struct json_out out = {0};
    json_out_text(&out, "{\"object\":\"list\",\"data\":[");
    const struct serving_model *model = serving_model(server->serving);
    for (unsigned i = 0; server->seen == SERVING_READY && i < model->n_cards; i++) {
        if (i > 0) json_out_text(&out, ",");
        put_card(&model->card[i], server->cards_gone >> i & 1, &out);
    }
    json_out_text(&out, "]}");
    server_reply_json(connection, 200, &out);
    json_out_free(&out);
}
