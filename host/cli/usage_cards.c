/* SPDX-License-Identifier: Apache-2.0 */
/* What several cards that share a model did, each and all together. */
#include "host/cli/usage_report.h"

#define MIB (1 << 20)

void usage_cards_begin(const struct card_list *cards, struct usage_cards *usage)
{
    usage->n = cards->n;
    for (unsigned i = 0; i < cards->n; i++) usage_begin(cards->card[i], &usage->card[i]);
}

static void add(uint64_t *sum, const uint64_t *more, unsigned n)
{
    for (unsigned i = 0; i < n; i++) sum[i] += more[i];
}

static void add_counters(struct card_counters *sum, const struct card_counters *more)
{
    sum->programs += more->programs;
    sum->descriptors += more->descriptors;
    sum->bytes_to_card += more->bytes_to_card;
    sum->bytes_from_card += more->bytes_from_card;
    sum->weight_bytes += more->weight_bytes;
    sum->kv_bytes += more->kv_bytes;
    sum->multiply_adds += more->multiply_adds;
    sum->cycles += more->cycles;
}

static void add_usage(struct card_usage *sum, const struct card_usage *more)
{
    add(sum->busy_ps, more->busy_ps, TIMELINE_RESOURCES);
    add(sum->channel_bytes, more->channel_bytes, CARD_MAX_BANKS);
    add(sum->energy_nj, more->energy_nj, TIMELINE_ENERGIES);
    add(sum->channel_bytes_per_s, more->channel_bytes_per_s, CARD_MAX_BANKS);
    for (unsigned i = 0; i < CARD_MAX_BANKS; i++)
        if (more->channel_busy_ps[i] > sum->channel_busy_ps[i]) sum->channel_busy_ps[i] = more->channel_busy_ps[i];
    sum->waits_ps += more->waits_ps;
    sum->elsewhere_ps += more->elsewhere_ps;
    sum->host_to_card_bytes_per_s += more->host_to_card_bytes_per_s;
    sum->card_to_host_bytes_per_s += more->card_to_host_bytes_per_s;
}

void usage_cards_end(const struct card_list *cards, struct usage_cards *usage)
{
    for (unsigned i = 0; i < cards->n; i++) usage_end(cards->card[i], &usage->card[i]);
    usage->all = usage->card[0];
    for (unsigned i = 1; i < cards->n; i++) {
        add_counters(&usage->all.counters, &usage->card[i].counters);
        add_usage(&usage->all.usage, &usage->card[i].usage);
    }
    for (unsigned r = 0; r < TIMELINE_RESOURCES; r++) usage->all.usage.busy_ps[r] /= cards->n > 0 ? cards->n : 1;
}

static double waited(const struct usage_window *window)
{
    return (double)window->usage.elsewhere_ps / (double)TIMELINE_PS_PER_S;
}

void usage_cards_print(const struct card_list *cards, const struct loaded_model *loaded,
                       const struct usage_cards *usage, FILE *stream)
{
    for (unsigned i = 0; i < cards->n && cards->n > 1 && loaded; i++, loaded = loaded_model_next(loaded)) {
        const struct usage_window *window = &usage->card[i];
        const double seconds = usage_seconds(window);
        char label[CARD_LABEL_BYTES];
        uint32_t first, end;
        card_list_label(cards, i, label);
        model_part_layers(loaded_model_source(loaded), &first, &end);
        fprintf(stream, "%s, layers %u to %u: %llu programs, %.1f MiB to it, %.1f MiB from it", label, first, end - 1,
                (unsigned long long)window->counters.programs, (double)window->counters.bytes_to_card / MIB,
                (double)window->counters.bytes_from_card / MIB);
        if (seconds > 0)
            fprintf(stream,
                    "; waited for other cards: %.6f s (%.1f %%); busy: memory %.1f %%, matmul array %.1f %%; %.4g J",
                    waited(window), 100 * waited(window) / seconds, 100 * usage_utilisation(window, TIMELINE_MEMORY),
                    100 * usage_utilisation(window, TIMELINE_MATMUL), usage_joules(window));
        fputc('\n', stream);
    }
}

static json_t *card_json(const struct card_list *cards, unsigned place, const struct loaded_model *part,
                         const struct usage_window *window)
{
    uint32_t first, end;
    model_part_layers(loaded_model_source(part), &first, &end);
    json_t *card = json_pack(
        "{s:s, s:i, s:i, s:I, s:I, s:I, s:I}", "card", cards->spec[place], "first_layer", (int)first, "layers",
        (int)(end - first), "programs", (json_int_t)window->counters.programs, "bytes_to_card",
        (json_int_t)window->counters.bytes_to_card, "bytes_from_card", (json_int_t)window->counters.bytes_from_card,
        "weight_bytes", (json_int_t)window->counters.weight_bytes);
    if (!card || !window->has_clock) return card;
    json_object_set_new(card, "waited_for_cards_s_virtual", json_real(waited(window)));
    json_object_set_new(card, "memory_busy", json_real(usage_utilisation(window, TIMELINE_MEMORY)));
    json_object_set_new(card, "matmul_busy", json_real(usage_utilisation(window, TIMELINE_MATMUL)));
    json_object_set_new(card, "joules", json_real(usage_joules(window)));
    return card;
}

bool usage_cards_set_json(const struct card_list *cards, const struct loaded_model *loaded,
                          const struct usage_cards *usage, json_t *line)
{
    if (cards->n < 2) return true;
    json_t *list = json_array();
    bool done = list != NULL;
    for (unsigned i = 0; i < cards->n && loaded && done; i++, loaded = loaded_model_next(loaded))
        done = json_array_append_new(list, card_json(cards, i, loaded, &usage->card[i])) == 0;
    if (done) done = json_object_set(line, "cards", list) == 0;
    json_decref(list);
    return done;
}
