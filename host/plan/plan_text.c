/* SPDX-License-Identifier: Apache-2.0 */
#include "host/plan/plan_number.h"
#include "host/plan/plan_write.h"

const char *plan_disclaimer(void)
{
    return "Predicted by Sluice's clock model of the card. No card of ours stands behind these figures yet. The "
           "command "
           "sluice probe holds the model against measurements of a card that you have.";
}

struct plan_title plan_title(const struct plan *plan)
{
    struct plan_title title;
    snprintf(title.text, sizeof title.text, "%s on %u x %s", plan->model, plan->cards, plan->card_title);
    return title;
}

bool plan_has_limit(const struct plan_decode *decode) { return decode->used[decode->limit].share >= 0.5; }

static void print_head(const struct plan *plan, FILE *out)
{
    fprintf(out, "%s (%s), host %s\n", plan_title(plan).text, plan->card, plan->host);
    fprintf(out, "weights %s, %s; KV %s; %u sequence%s of %s tokens; experts %s\n", plan->weight_format,
            number_bytes((double)plan->weight_bytes).text, plan->kv_format, plan->batch, plan->batch == 1 ? "" : "s",
            number_whole(plan->context).text, plan->has_experts ? plan_experts_name(plan->memory.experts) : "none");
    if (plan->memory.max_sequences > 0)
        fprintf(out, "room for %s%u such sequences at most\n",
                plan->memory.max_sequences == PLAN_MAX_BATCH ? "more than " : "", plan->memory.max_sequences);
    fprintf(out, "%s parameters, %s of them for each token\n", number_count((double)plan->parameters).text,
            number_count((double)plan->active_parameters).text);
}

static void print_cell(uint64_t bytes, FILE *out)
{
    fprintf(out, "  %12s", bytes > 0 ? number_bytes((double)bytes).text : "-");
}

static void print_memory(const struct plan_memory *memory, FILE *out)
{
    fprintf(out, "\n%-24s", "memory");
    for (unsigned c = 0; c < memory->n_classes; c++) fprintf(out, "  %12s", memory->class_name[c]);
    fprintf(out, "  %12s  %12s\n", "host", "NVMe");
    for (unsigned i = 0; i < memory->n_rows; i++) {
        const struct plan_memory_row *row = &memory->row[i];
        fprintf(out, "  %-22s", row->what);
        for (unsigned c = 0; c < memory->n_classes; c++) print_cell(row->card[c], out);
        print_cell(row->host, out);
        print_cell(row->nvme, out);
        fputc('\n', out);
    }
    fprintf(out, "  %-22s", "has");
    for (unsigned c = 0; c < memory->n_classes; c++) print_cell(memory->class_bytes[c], out);
    print_cell(memory->host_bytes, out);
    print_cell(memory->nvme_bytes, out);
    fputc('\n', out);
}

static void print_decode_row(const struct plan *plan, const struct plan_decode *d, FILE *out)
{
    char batch[24];
    snprintf(batch, sizeof batch, "  batch %u", d->batch);
    fprintf(out, "%-10s", batch);
    if (!d->fits) {
        fprintf(out, " %10s  no room for %u sequences of %s tokens\n", "-", d->batch, number_whole(plan->context).text);
        return;
    }
    bool in_us = d->step_ps < 1000000000u; /* whose letter takes two bytes */
    fprintf(out, " %10s %*s %10s %8s %8s %14s", number_plain(d->tokens_per_s).text, in_us ? 13 : 12,
            number_seconds((double)d->step_ps * 1e-12).text, number_plain(d->j_per_token).text,
            number_plain(d->watts).text, number_plain(d->host_watts).text, number_plain(d->eur_per_million).text);
    fprintf(out, "  %s%s, busy %s", plan_has_limit(d) ? "" : "waits; busiest ", d->used[d->limit].name,
            number_percent(d->used[d->limit].share).text);
    if (d->experts != plan->memory.experts) fprintf(out, "; experts: %s", plan_experts_name(d->experts));
    fputc('\n', out);
}

static void print_decode(const struct plan *plan, FILE *out)
{
    fprintf(out, "\n%-10s %10s %12s %10s %8s %8s %14s  %s\n", "decode", "tokens/s", "step", "J/token", "W", "host W",
            "EUR/M tokens", "limited by");
    for (unsigned i = 0; i < plan->n_decode; i++) print_decode_row(plan, &plan->decode[i], out);
    fprintf(out,
            "  with %s tokens in each sequence; J and W of the cards alone, cost with the idle host, at %s EUR/kWh\n",
            number_whole(plan->depth).text, number_plain(plan->eur_per_kwh).text);
}

static void print_prefill(const struct plan *plan, FILE *out)
{
    fprintf(out, "\n%-16s %12s %12s %10s\n", "prompt", "first token", "tokens/s", "J/token");
    for (unsigned i = 0; i < PLAN_PROMPTS; i++) {
        const struct plan_prefill *p = &plan->prefill[i];
        char tokens[48];
        if (p->prompt == 0) continue;
        snprintf(tokens, sizeof tokens, "  %s tokens", number_whole(p->prompt).text);
        if (p->fits)
            fprintf(out, "%-16s %12s %12s %10s%s\n", tokens, number_seconds((double)p->first_token_ps * 1e-12).text,
                    number_plain(p->tokens_per_s).text, number_plain(p->j_per_token).text,
                    p->sampled ? "  (chunks between samples interpolated)" : "");
        else
            fprintf(out, "%-16s %12s  %s\n", tokens, "-", p->why_not);
    }
}

static void print_used(const struct plan_decode *decode, FILE *out)
{
    fprintf(out, "\nbusy at batch %u: ", decode->batch);
    for (unsigned i = 0; i < decode->n_used; i++)
        fprintf(out, "%s%s %s", i > 0 ? ", " : "", decode->used[i].name, number_percent(decode->used[i].share).text);
    fputc('\n', out);
}

static void print_changes(const struct plan *plan, FILE *out)
{
    if (plan->n_changes == 0) return;
    double now = plan->decode[plan->asked].tokens_per_s;
    fprintf(out, "\nto go faster than %s tokens/s at batch %u\n", number_plain(now).text, plan->batch);
    for (unsigned i = 0; i < plan->n_changes; i++)
        fprintf(out, "  %-52s %10s tokens/s  %+.0f %%\n", plan->change[i].text,
                number_plain(plan->change[i].tokens_per_s).text, 100 * (plan->change[i].tokens_per_s / now - 1));
}

void plan_print(const struct plan *plan, FILE *out)
{
    const struct plan_memory *memory = &plan->memory;
    if (!memory->fits) fprintf(out, "DOES NOT FIT: %s\n%s\n\n", memory->reason, plan->smallest);
    if (memory->fits && memory->reason[0]) fprintf(out, "NOT ALL RESIDENT: %s\n\n", memory->reason);
    print_head(plan, out);
    print_memory(memory, out);
    if (memory->fits) {
        print_decode(plan, out);
        print_prefill(plan, out);
        if (plan->decode[0].fits) print_used(&plan->decode[0], out);
        print_changes(plan, out);
        if (memory->note[0]) fprintf(out, "\n%s\n", memory->note);
        if (memory->assumption[0]) fprintf(out, "\n%s\n", memory->assumption);
    }
    fprintf(out, "\n%s\n", plan_disclaimer());
}
