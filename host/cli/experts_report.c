/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/experts_report.h"

#define PS_PER_S 1e12
#define NS_PER_S 1e9

void experts_window_begin(struct loaded_model *loaded, struct experts_window *window)
{
    experts_settle(loaded);
    window->streams = experts_count_all(loaded, &window->traffic);
    experts_measure_times(loaded, &window->times);
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
    window->traffic.stall_ps = now.traffic.stall_ps - window->traffic.stall_ps;
    window->times.waited_ns = now.times.waited_ns - window->times.waited_ns;
    window->times.copied_ns = now.times.copied_ns - window->times.copied_ns;
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

bool experts_set_json(const struct loaded_model *loaded, const struct experts_window *window, json_t *line)
{
    if (!window->streams) return json_object_set_new(line, "experts", json_null()) == 0;
    json_t *experts =
        json_pack("{s:I, s:I, s:I, s:f, s:I, s:I, s:I, s:f, s:f, s:f, s:o}", "slots",
                  (json_int_t)loaded_model_expert_slots(loaded), "hits", (json_int_t)window->traffic.hits, "misses",
                  (json_int_t)window->traffic.misses, "hit_rate", hit_rate(&window->traffic), "ahead",
                  (json_int_t)window->traffic.ahead, "ahead_used", (json_int_t)window->traffic.ahead_used, "bytes",
                  (json_int_t)window->traffic.bytes, "stall_s_virtual", (double)window->traffic.stall_ps / PS_PER_S,
                  "stall_s_wall", (double)window->times.waited_ns / NS_PER_S, "copy_s_wall",
                  (double)window->times.copied_ns / NS_PER_S, "layers_since_load", layers_json(loaded));
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
    const uint32_t n_layers = model_get_config(loaded_model_source(loaded))->n_layers;
    for (uint32_t layer = 0; layer < n_layers; layer++) {
        struct experts_traffic traffic;
        (void)experts_count(loaded, layer, &traffic);
        fprintf(stream, "  layer %u since loading: %llu hits, %llu misses, %.1f MiB, stalls %.6f s\n", layer,
                (unsigned long long)traffic.hits, (unsigned long long)traffic.misses, (double)traffic.bytes / mib,
                (double)traffic.stall_ps / PS_PER_S);
    }
}
