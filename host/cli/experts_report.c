/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/experts_report.h"

#define PS_PER_S 1e12
#define NS_PER_S 1e9

void experts_window_begin(struct loaded_model *loaded, struct experts_window *window)
{
    experts_settle(loaded);
    window->streams = experts_count_all(loaded, &window->traffic);
    experts_measure_times(loaded, &window->times);
    window->guesses = false;
    for (unsigned s = 0; s < EXPERTS_GUESSES; s++)
        window->guesses |= experts_count_guesses(loaded, (enum experts_guess)s, &window->guessed[s]);
}

static void subtract_guesses(struct experts_guessed *from, const struct experts_guessed *until)
{
    from->right = until->right - from->right;
    from->wrong = until->wrong - from->wrong;
    from->sent = until->sent - from->sent;
    from->wasted = until->wasted - from->wasted;
    from->wasted_bytes = until->wasted_bytes - from->wasted_bytes;
    from->switched = until->switched - from->switched;
}

void experts_window_end(struct loaded_model *loaded, struct experts_window *window)
{
    struct experts_window now;
    experts_window_begin(loaded, &now);
    window->traffic.hits = now.traffic.hits - window->traffic.hits;
    window->traffic.misses = now.traffic.misses - window->traffic.misses;
    window->traffic.ahead = now.traffic.ahead - window->traffic.ahead;
    window->traffic.ahead_used = now.traffic.ahead_used - window->traffic.ahead_used;
    window->traffic.bytes = now.traffic.bytes - window->traffic.bytes;
    window->traffic.wasted_bytes = now.traffic.wasted_bytes - window->traffic.wasted_bytes;
    window->traffic.stall_ps = now.traffic.stall_ps - window->traffic.stall_ps;
    window->times.waited_ns = now.times.waited_ns - window->times.waited_ns;
    window->times.copied_ns = now.times.copied_ns - window->times.copied_ns;
    for (unsigned s = 0; s < EXPERTS_GUESSES; s++) subtract_guesses(&window->guessed[s], &now.guessed[s]);
}

static double accuracy(const struct experts_guessed *guessed)
{
    const uint64_t all = guessed->right + guessed->wrong;
    return all > 0 ? (double)guessed->right / (double)all : 0;
}

static json_t *guesses_json(const struct experts_window *window)
{
    json_t *guesses = window->guesses ? json_object() : json_null();
    for (unsigned s = 0; s < EXPERTS_GUESSES && window->guesses; s++) {
        const struct experts_guessed *guessed = &window->guessed[s];
        json_object_set_new(guesses, experts_guess_name(s),
                            json_pack("{s:I, s:I, s:f, s:I, s:I, s:I, s:I}", "right", (json_int_t)guessed->right,
                                      "wrong", (json_int_t)guessed->wrong, "accuracy", accuracy(guessed), "sent",
                                      (json_int_t)guessed->sent, "wasted", (json_int_t)guessed->wasted, "wasted_bytes",
                                      (json_int_t)guessed->wasted_bytes, "switched", (json_int_t)guessed->switched));
    }
    return guesses;
}

static void print_guesses(const struct experts_window *window, FILE *stream)
{
    for (unsigned s = 0; s < EXPERTS_GUESSES && window->guesses; s++) {
        const struct experts_guessed *guessed = &window->guessed[s];
        if (guessed->right + guessed->wrong == 0) continue;
        fprintf(stream,
                "guesses, %s: %llu of %llu right (%.1f %%); %llu brought, %llu of them in vain, %.1f MiB wasted; a "
                "layer was "
                "switched off or on %llu times\n",
                experts_guess_name(s), (unsigned long long)guessed->right,
                (unsigned long long)(guessed->right + guessed->wrong), 100 * accuracy(guessed),
                (unsigned long long)guessed->sent, (unsigned long long)guessed->wasted,
                (double)guessed->wasted_bytes / (1 << 20), (unsigned long long)guessed->switched);
    }
}

static double hit_rate(const struct experts_traffic *traffic)
{
    const uint64_t all = traffic->hits + traffic->misses;
    return all > 0 ? (double)traffic->hits / (double)all : 0;
}

static json_t *layers_json(const struct loaded_model *loaded)
{
    const uint32_t n_layers = model_get_config(loaded_model_source(loaded))->n_layers;
    json_t *layers = json_array();
    for (uint32_t layer = 0; layer < n_layers; layer++) {
        struct experts_traffic traffic;
        (void)experts_count(loaded, layer, &traffic);
        json_array_append_new(layers, json_pack("{s:I, s:I, s:I, s:f}", "hits", (json_int_t)traffic.hits, "misses",
                                                (json_int_t)traffic.misses, "bytes", (json_int_t)traffic.bytes,
                                                "stall_s_virtual", (double)traffic.stall_ps / PS_PER_S));
    }
    return layers;
}

/* Of all cards that share the model. */
static json_int_t slots_of(const struct loaded_model *loaded)
{
    json_int_t n = 0;
    for (; loaded; loaded = loaded_model_next(loaded)) n += (json_int_t)loaded_model_expert_slots(loaded);
    return n;
}

bool experts_set_json(const struct loaded_model *loaded, const struct experts_window *window, json_t *line)
{
    if (!window->streams) return json_object_set_new(line, "experts", json_null()) == 0;
    json_t *experts =
        json_pack("{s:I, s:I, s:I, s:f, s:I, s:I, s:I, s:f, s:f, s:f, s:o, s:o}", "slots", slots_of(loaded), "hits",
                  (json_int_t)window->traffic.hits, "misses", (json_int_t)window->traffic.misses, "hit_rate",
                  hit_rate(&window->traffic), "ahead", (json_int_t)window->traffic.ahead, "ahead_used",
                  (json_int_t)window->traffic.ahead_used, "bytes", (json_int_t)window->traffic.bytes, "stall_s_virtual",
                  (double)window->traffic.stall_ps / PS_PER_S, "stall_s_wall",
                  (double)window->times.waited_ns / NS_PER_S, "copy_s_wall", (double)window->times.copied_ns / NS_PER_S,
                  "guesses", guesses_json(window), "layers_since_load", layers_json(loaded));
    return experts && json_object_set_new(line, "experts", experts) == 0;
}

void experts_print(const struct loaded_model *loaded, const struct experts_window *window, FILE *stream)
{
    if (!window->streams) return;
    const double mib = 1 << 20;
    fprintf(stream,
            "experts: %llu hits, %llu misses (%.1f %% hits), %llu of %llu read ahead were used, %.1f MiB "
            "came; stalls: %.6f s of the card's time, %.6f s "
            "wall; copies: %.6f s wall\n",
            (unsigned long long)window->traffic.hits, (unsigned long long)window->traffic.misses,
            100 * hit_rate(&window->traffic), (unsigned long long)window->traffic.ahead_used,
            (unsigned long long)window->traffic.ahead, (double)window->traffic.bytes / mib,
            (double)window->traffic.stall_ps / PS_PER_S, (double)window->times.waited_ns / NS_PER_S,
            (double)window->times.copied_ns / NS_PER_S);
    print_guesses(window, stream);
    const uint32_t n_layers = model_get_config(loaded_model_source(loaded))->n_layers;
    for (uint32_t layer = 0; layer < n_layers; layer++) {
        struct experts_traffic traffic;
        (void)experts_count(loaded, layer, &traffic);
        fprintf(stream, "  layer %u since loading: %llu hits, %llu misses, %.1f MiB, stalls %.6f s\n", layer,
                (unsigned long long)traffic.hits, (unsigned long long)traffic.misses, (double)traffic.bytes / mib,
                (double)traffic.stall_ps / PS_PER_S);
    }
}
