/* SPDX-License-Identifier: Apache-2.0 */
/* Values made by json_pack in pieces; a piece that could not be made is NULL, which json_pack and "o" refuse in turn. */
#include "host/plan/plan_write.h"

#include <jansson.h>

static json_t *integer(uint64_t value) { return json_integer((json_int_t)value); }

/* Appends and takes over; false if either is missing. */
static bool append(json_t *array, json_t *value) { return json_array_append_new(array, value) == 0; }

static json_t *json_memory(const struct plan_memory *memory)
{
    bool good = true;
    json_t *classes = json_array(), *rows = json_array();
    for (unsigned c = 0; c < memory->n_classes; c++)
        good = good && append(classes, json_pack("{s:s, s:o}", "class", memory->class_name[c], "bytes",
                                                 integer(memory->class_bytes[c])));
    for (unsigned i = 0; i < memory->n_rows; i++) {
        const struct plan_memory_row *row = &memory->row[i];
        json_t *card = json_object();
        for (unsigned c = 0; c < memory->n_classes; c++)
            good = good && json_object_set_new(card, memory->class_name[c], integer(row->card[c])) == 0;
        good = good && append(rows, json_pack("{s:s, s:O, s:o, s:o}", "what", row->what, "card", card, "host",
                                              integer(row->host), "nvme", integer(row->nvme)));
        json_decref(card);
    }
    json_t *out = json_pack("{s:b, s:s?, s:O, s:O, s:o, s:o, s:s, s:f, s:f, s:s?, s:i}", "fits", memory->fits, "reason",
                            memory->reason[0] ? memory->reason : NULL, "classes", classes, "rows", rows, "host_bytes",
                            integer(memory->host_bytes), "nvme_bytes", integer(memory->nvme_bytes), "experts",
                            plan_experts_name(memory->experts), "resident_share", memory->resident_share, "hit_rate",
                            memory->hit_rate, "assumption", memory->assumption[0] ? memory->assumption : NULL,
                            "max_sequences", (int)memory->max_sequences);
    json_decref(classes);
    json_decref(rows);
    if (!good) json_decref(out);
    return good ? out : NULL;
}

static json_t *json_shares(const struct plan_share *shares, unsigned n)
{
    json_t *out = json_object();
    for (unsigned i = 0; i < n; i++) {
        if (json_object_set_new(out, shares[i].name, json_real(shares[i].share)) == 0) continue;
        json_decref(out);
        return NULL;
    }
    return out;
}

static json_t *json_decode(const struct plan_decode *d)
{
    if (!d->fits) return json_pack("{s:i, s:b}", "batch", (int)d->batch, "fits", false);
    return json_pack("{s:i, s:b, s:s, s:o, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:s, s:o}", "batch",
                     (int)d->batch, "fits", true, "experts", plan_experts_name(d->experts), "step_ps",
                     integer(d->step_ps), "tokens_per_s", d->tokens_per_s, "watts", d->watts, "j_per_token",
                     d->j_per_token, "host_watts", d->host_watts, "host_j_per_token", d->host_j_per_token,
                     "eur_per_million_tokens", d->eur_per_million, "weight_bytes", d->weight_bytes, "kv_bytes",
                     d->kv_bytes, "streamed_bytes", d->streamed_bytes, "busy", json_shares(d->used, d->n_used), "limit",
                     plan_has_limit(d) ? d->used[d->limit].name : "waits", "energy",
                     json_shares(d->energy, d->n_energy));
}

static json_t *json_prefill(const struct plan_prefill *p)
{
    if (!p->fits) return json_pack("{s:i, s:b, s:s}", "prompt", (int)p->prompt, "fits", false, "reason", p->why_not);
    return json_pack("{s:i, s:b, s:o, s:f, s:f, s:b}", "prompt", (int)p->prompt, "fits", true, "first_token_ps",
                     integer(p->first_token_ps), "tokens_per_s", p->tokens_per_s, "j_per_token", p->j_per_token,
                     "sampled", p->sampled);
}

/* The lists of a plan. NULL: out of memory. */
static json_t *json_lists(const struct plan *plan)
{
    bool good = true;
    json_t *decode = json_array(), *prefill = json_array(), *changes = json_array(), *sources = json_array();
    for (unsigned i = 0; i < plan->n_decode; i++) good = good && append(decode, json_decode(&plan->decode[i]));
    for (unsigned i = 0; i < PLAN_PROMPTS; i++)
        good = good && (plan->prefill[i].prompt == 0 || append(prefill, json_prefill(&plan->prefill[i])));
    for (unsigned i = 0; i < plan->n_changes; i++)
        good = good && append(changes, json_pack("{s:s, s:f}", "change", plan->change[i].text, "tokens_per_s",
                                                 plan->change[i].tokens_per_s));
    for (unsigned i = 0; i < plan->n_sources; i++)
        good = good && append(sources, json_pack("{s:s, s:s, s:s}", "what", plan->source[i].what, "value",
                                                 plan->source[i].value, "source", plan->source[i].source));
    json_t *out = json_pack("{s:o, s:o, s:o, s:o}", "decode", decode, "prefill", prefill, "faster_with", changes,
                            "sources", sources);
    if (!good) json_decref(out);
    return good ? out : NULL;
}

int plan_write_json(const struct plan *plan, FILE *out, struct error *err)
{
    json_t *line = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:o, s:o, s:o, s:f, s:f, s:s?, s:o}", "model",
        plan->model, "model_source", plan->model_source, "card", plan->card, "host", plan->host, "weights",
        plan->weight_format, "kv", plan->kv_format, "cards", (int)plan->cards, "context", (int)plan->context, "batch",
        (int)plan->batch, "depth", (int)plan->depth, "chunk", (int)plan->chunk, "parameters", integer(plan->parameters),
        "active_parameters", integer(plan->active_parameters), "weight_bytes", integer(plan->weight_bytes),
        "eur_per_kwh", plan->eur_per_kwh, "peak_bytes_per_s", plan->peak_bytes_per_s, "smallest_cards",
        plan->memory.fits ? NULL : plan->smallest, "memory", json_memory(&plan->memory));
    json_t *lists = json_lists(plan);
    bool made = line && lists && json_object_update(line, lists) == 0 &&
                json_object_set_new(line, "note", json_string(plan_disclaimer())) == 0;
    int status = 0;
    if (!made)
        status = error_set(err, ERROR_NO_MEMORY, "no host memory for the plan as JSON");
    else if (json_dumpf(line, out, JSON_COMPACT | JSON_REAL_PRECISION(9)) < 0 || fputc('\n', out) == EOF)
        status = error_set(err, ERROR_IO, "cannot write the plan");
    json_decref(line);
    json_decref(lists);
    return status;
}
