/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/usage_report.h"

const char *card_profile(const struct card_info *info) { return info->profile[0] ? info->profile : NULL; }

void usage_begin(const struct card *card, struct usage_window *window)
{
    card_count(card, &window->counters);
    window->has_clock = card_measure(card, &window->usage, NULL) == 0;
}

static void subtract(uint64_t *since, const uint64_t *now, unsigned n)
{
    for (unsigned i = 0; i < n; i++) since[i] = now[i] - since[i];
}

void usage_end(const struct card *card, struct usage_window *window)
{
    struct card_counters now, *since = &window->counters;
    card_count(card, &now);
    since->programs = now.programs - since->programs;
    since->descriptors = now.descriptors - since->descriptors;
    since->bytes_to_card = now.bytes_to_card - since->bytes_to_card;
    since->bytes_from_card = now.bytes_from_card - since->bytes_from_card;
    since->weight_bytes = now.weight_bytes - since->weight_bytes;
    since->kv_bytes = now.kv_bytes - since->kv_bytes;
    since->multiply_adds = now.multiply_adds - since->multiply_adds;
    since->cycles = now.cycles - since->cycles;

    struct card_usage measured = {0}, *usage = &window->usage;
    if (!window->has_clock || card_measure(card, &measured, NULL) < 0) return;
    usage->now_ps = measured.now_ps - usage->now_ps;
    usage->waits_ps = measured.waits_ps - usage->waits_ps;
    usage->elsewhere_ps = measured.elsewhere_ps - usage->elsewhere_ps;
    subtract(usage->busy_ps, measured.busy_ps, TIMELINE_RESOURCES);
    subtract(usage->channel_busy_ps, measured.channel_busy_ps, CARD_MAX_BANKS);
    subtract(usage->channel_bytes, measured.channel_bytes, CARD_MAX_BANKS);
    subtract(usage->energy_nj, measured.energy_nj, TIMELINE_ENERGIES);
}

static double ratio(double a, double b) { return b > 0 ? a / b : 0; }

double usage_seconds(const struct usage_window *window)
{
    return window->has_clock ? (double)window->usage.now_ps / (double)TIMELINE_PS_PER_S : 0;
}

double usage_joules(const struct usage_window *window)
{
    uint64_t nj = 0;
    for (unsigned i = 0; i < TIMELINE_ENERGIES && window->has_clock; i++)
        if (i != TIMELINE_ENERGY_HOST) nj += window->usage.energy_nj[i];
    return (double)nj * 1e-9;
}

static unsigned n_channels(const struct card_usage *usage)
{
    unsigned n = 0;
    for (unsigned i = 0; i < CARD_MAX_BANKS; i++) n += usage->channel_bytes_per_s[i] > 0;
    return n > 0 ? n : 1;
}

double usage_utilisation(const struct usage_window *window, unsigned resource)
{
    const struct card_usage *usage = &window->usage;
    if (!window->has_clock) return 0;
    const unsigned n = resource == TIMELINE_MEMORY ? n_channels(usage) : 1;
    return ratio((double)usage->busy_ps[resource], (double)usage->now_ps * n);
}

/* Busy time of a resource; memory is as slow as its busiest channel. */
static uint64_t busiest(const struct card_usage *usage, unsigned resource)
{
    uint64_t most = resource == TIMELINE_MEMORY ? 0 : usage->busy_ps[resource];
    for (unsigned i = 0; i < CARD_MAX_BANKS && resource == TIMELINE_MEMORY; i++)
        if (usage->channel_busy_ps[i] > most) most = usage->channel_busy_ps[i];
    return most;
}

unsigned usage_limiting(const struct usage_window *window)
{
    unsigned limiting = TIMELINE_MEMORY;
    for (unsigned i = 0; i < TIMELINE_RESOURCES; i++)
        if (busiest(&window->usage, i) > busiest(&window->usage, limiting)) limiting = i;
    return limiting;
}

double usage_bandwidth_fraction(const struct usage_window *window)
{
    const struct card_usage *usage = &window->usage;
    const unsigned limiting = usage_limiting(window);
    double bytes = 0, per_s = 0;
    if (limiting == TIMELINE_HOST_TO_CARD) {
        bytes = (double)window->counters.bytes_to_card;
        per_s = (double)usage->host_to_card_bytes_per_s;
    } else if (limiting == TIMELINE_CARD_TO_HOST) {
        bytes = (double)window->counters.bytes_from_card;
        per_s = (double)usage->card_to_host_bytes_per_s;
    } else {
        for (unsigned i = 0; i < CARD_MAX_BANKS; i++) {
            bytes += (double)usage->channel_bytes[i];
            per_s += (double)usage->channel_bytes_per_s[i];
        }
    }
    return ratio(bytes, per_s * usage_seconds(window));
}

static json_t *utilisation_json(const struct usage_window *window)
{
    json_t *object = json_object();
    for (unsigned i = 0; i < TIMELINE_RESOURCES; i++)
        json_object_set_new(object, timeline_resource_name(i), json_real(usage_utilisation(window, i)));
    json_object_set_new(
        object, "busiest channel",
        json_real(ratio((double)busiest(&window->usage, TIMELINE_MEMORY), (double)window->usage.now_ps)));
    return object;
}

static json_t *energy_json(const struct card_usage *usage)
{
    json_t *object = json_object();
    for (unsigned i = 0; i < TIMELINE_ENERGIES; i++)
        json_object_set_new(object, timeline_energy_name(i), json_real((double)usage->energy_nj[i] * 1e-9));
    return object;
}

bool usage_set_json(const struct usage_window *window, uint64_t tokens, json_t *line)
{
    const double seconds = usage_seconds(window), joules = usage_joules(window), n = (double)tokens;
    json_t *values =
        window->has_clock && seconds > 0
            ? json_pack("{s:I, s:f, s:f, s:f, s:f, s:s, s:o, s:o}", "picoseconds_virtual",
                        (json_int_t)window->usage.now_ps, "tokens_per_s_virtual", ratio(n, seconds), "j_per_token",
                        ratio(joules, n), "watts", ratio(joules, seconds), "bandwidth_fraction",
                        usage_bandwidth_fraction(window), "limiting_resource",
                        timeline_resource_name(usage_limiting(window)), "utilisation", utilisation_json(window),
                        "energy_j", energy_json(&window->usage))
            : json_pack("{s:n, s:n, s:n, s:n, s:n, s:n, s:n, s:n}", "picoseconds_virtual", "tokens_per_s_virtual",
                        "j_per_token", "watts", "bandwidth_fraction", "limiting_resource", "utilisation", "energy_j");
    const bool done = values && json_object_update(line, values) == 0;
    json_decref(values);
    return done;
}

void usage_print(const struct usage_window *window, uint64_t tokens, FILE *stream)
{
    const double seconds = usage_seconds(window), joules = usage_joules(window), n = (double)tokens;
    if (!window->has_clock || seconds <= 0) return;
    fprintf(stream, "virtual: %.6f s, prompt included %.1f tokens/s, %.4g J a token, %.1f W on average\nbusy:", seconds,
            ratio(n, seconds), ratio(joules, n), ratio(joules, seconds));
    for (unsigned i = 0; i < TIMELINE_RESOURCES; i++)
        fprintf(stream, "%s %s %.1f %%", i > 0 ? "," : "", timeline_resource_name(i),
                100 * usage_utilisation(window, i));
    const unsigned limiting = usage_limiting(window);
    fprintf(stream, "; limiting: %s; %s at %.1f %% of its bandwidth\n", timeline_resource_name(limiting),
            timeline_resource_name(limiting <= TIMELINE_CARD_TO_HOST ? limiting : TIMELINE_MEMORY),
            100 * usage_bandwidth_fraction(window));
}
