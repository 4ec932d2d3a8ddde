/* SPDX-License-Identifier: Apache-2.0 */
/* The page, section by section. */
#include "host/plan/plan_html_parts.h"
#include "host/plan/plan_number.h"
#include "host/plan/plan_sweep.h"
#include "host/plan/plan_write.h"

static void write_tile(FILE *out, const char *value, const char *what)
{
    fputs("<div class=\"tile\"><b>", out);
    html_text(out, value);
    fputs("</b><span>", out);
    html_text(out, what);
    fputs("</span></div>\n", out);
}

static void write_tiles(const struct plan *plan, FILE *out)
{
    const struct plan_decode *first = &plan->decode[0];
    const struct plan_prefill *prompt = &plan->prefill[0];
    char what[96];
    fputs("<div class=\"tiles\">\n", out);
    write_tile(out, number_plain(first->tokens_per_s).text, "tokens/s, one user");
    for (unsigned i = plan->n_decode; i-- > 1;) {
        if (!plan->decode[i].fits) continue;
        snprintf(what, sizeof what, "tokens/s, %u users together", plan->decode[i].batch);
        write_tile(out, number_plain(plan->decode[i].tokens_per_s).text, what);
        break;
    }
    if (prompt->fits) {
        snprintf(what, sizeof what, "to the first token after %s tokens", number_whole(prompt->prompt).text);
        write_tile(out, number_seconds((double)prompt->first_token_ps * 1e-12).text, what);
    }
    snprintf(what, sizeof what, "%.24s J", number_plain(first->j_per_token).text);
    write_tile(out, what, "energy of a token, one user, without the host");
    snprintf(what, sizeof what, "%.24s W", number_plain(first->watts + first->host_watts).text);
    write_tile(out, what, plan->cards == 1 ? "while it writes, card and host" : "while it writes, cards and host");
    snprintf(what, sizeof what, "€ %.24s", number_plain(first->eur_per_million).text);
    write_tile(out, what, "electricity for a million tokens");
    fputs("</div>\n", out);
}

static void write_verdict(const struct plan *plan, FILE *out)
{
    const struct plan_memory *memory = &plan->memory;
    char text[800];
    fprintf(out, "<section class=\"verdict%s\">", memory->fits ? "" : " bad");
    if (memory->fits) {
        const struct plan_decode *first = &plan->decode[0];
        const struct plan_share *busiest = &first->used[first->limit];
        snprintf(text, sizeof text, "It fits%s. %s: %s is busy %s of the time with one user.",
                 memory->resident_share < 1 ? ", with experts streamed to the card as tokens ask for them" : "",
                 plan_has_limit(first) ? "What limits it"
                                       : "No part limits it alone, they wait for each other; the busiest",
                 busiest->name, number_percent(busiest->share).text);
        html_paragraph(out, "", text);
        if (memory->reason[0]) {
            snprintf(text, sizeof text, "Not all experts are resident: %s", memory->reason);
            html_paragraph(out, "", text);
        }
        if (memory->assumption[0]) html_paragraph(out, "soft", memory->assumption);
    } else {
        snprintf(text, sizeof text, "It does not fit: %s", memory->reason);
        html_paragraph(out, "", text);
        html_paragraph(out, "", plan->smallest);
    }
    html_paragraph(out, "soft", plan_disclaimer());
    fputs("</section>\n", out);
}

static void write_head(const struct plan *plan, FILE *out)
{
    char text[512];
    fputs("<h1>", out);
    snprintf(text, sizeof text, "%s on %u × %s", plan->model, plan->cards, plan->card_title);
    html_text(out, text);
    fputs("</h1>\n", out);
    snprintf(text, sizeof text,
             "%s parameters, %s of them for each token · weights %s, %s · KV cache %s · room for %u sequence%s of %s "
             "tokens · "
             "host %s (%s)",
             number_count((double)plan->parameters).text, number_count((double)plan->active_parameters).text,
             plan->weight_format, number_bytes((double)plan->weight_bytes).text, plan->kv_format, plan->batch,
             plan->batch == 1 ? "" : "s", number_whole(plan->context).text, plan->host_title, plan->host);
    html_paragraph(out, "soft", text);
}

/* One bar for a place of memory: its rows as parts. */
static void write_memory_bar(const struct plan_memory *memory, const char *name, uint64_t has,
                             uint64_t (*bytes_of)(const struct plan_memory_row *, unsigned), unsigned class_index,
                             FILE *out)
{
    struct bar_part parts[PLAN_MEMORY_ROWS];
    char value[96], titles[PLAN_MEMORY_ROWS][96];
    unsigned n = 0;
    uint64_t used = 0;
    for (unsigned i = 0; i < memory->n_rows; i++) used += bytes_of(&memory->row[i], class_index);
    if (used == 0) return;
    double whole = (double)(has > used ? has : used);
    for (unsigned i = 0; i < memory->n_rows; i++) {
        uint64_t bytes = bytes_of(&memory->row[i], class_index);
        snprintf(titles[n], sizeof titles[n], "%.60s: %s", memory->row[i].what, number_bytes((double)bytes).text);
        parts[n] = (struct bar_part){(double)bytes / whole, i % HTML_COLOURS, titles[n]};
        n++;
    }
    if (has > 0)
        snprintf(value, sizeof value, "%s of %s", number_bytes((double)used).text, number_bytes((double)has).text);
    else
        snprintf(value, sizeof value, "%s", number_bytes((double)used).text);
    html_bar(out, name, parts, n, value);
}

static uint64_t bytes_on_card(const struct plan_memory_row *row, unsigned c) { return row->card[c]; }
static uint64_t bytes_on_host(const struct plan_memory_row *row, unsigned c) { return (void)c, row->host; }
static uint64_t bytes_on_nvme(const struct plan_memory_row *row, unsigned c) { return (void)c, row->nvme; }

static void write_memory_table(const struct plan_memory *memory, FILE *out)
{
    fputs("<div class=\"wide\"><table><thead><tr><th>what</th>", out);
    for (unsigned c = 0; c < memory->n_classes; c++) {
        fputs("<th>", out);
        html_text(out, memory->class_name[c]);
        fputs("</th>", out);
    }
    fputs("<th>host</th><th>NVMe</th></tr></thead><tbody>\n", out);
    for (unsigned i = 0; i < memory->n_rows; i++) {
        const struct plan_memory_row *row = &memory->row[i];
        fputs("<tr><td>", out);
        html_text(out, row->what);
        fputs("</td>", out);
        for (unsigned c = 0; c < memory->n_classes + 2; c++) {
            uint64_t bytes = c < memory->n_classes ? row->card[c] : c == memory->n_classes ? row->host : row->nvme;
            fprintf(out, "<td>%s</td>", bytes > 0 ? number_bytes((double)bytes).text : "–");
        }
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div>\n", out);
}

static void write_memory(const struct plan *plan, FILE *out)
{
    const struct plan_memory *memory = &plan->memory;
    fputs("<section>", out);
    html_heading(out, plan->cards == 1 ? "What lies where" : "What lies where, all cards together");
    html_legend_open(out);
    for (unsigned i = 0; i < memory->n_rows; i++) html_legend_item(out, i % HTML_COLOURS, memory->row[i].what);
    html_legend_item(out, HTML_FREE, "free");
    html_legend_close(out);
    for (unsigned c = 0; c < memory->n_classes; c++)
        write_memory_bar(memory, memory->class_name[c], memory->class_bytes[c], bytes_on_card, c, out);
    write_memory_bar(memory, "host memory", memory->host_bytes, bytes_on_host, 0, out);
    write_memory_bar(memory, "NVMe", memory->nvme_bytes, bytes_on_nvme, 0, out);
    write_memory_table(memory, out);
    if (memory->note[0]) html_paragraph(out, "note", memory->note);
    fputs("</section>\n", out);
}

/* Tokens/s by batch, bars against the fastest, and the figures. */
static void write_decode(const struct plan *plan, FILE *out)
{
    double most = 0;
    for (unsigned i = 0; i < plan->n_decode; i++)
        if (plan->decode[i].fits && plan->decode[i].tokens_per_s > most) most = plan->decode[i].tokens_per_s;
    fputs("<section>", out);
    html_heading(out, "Tokens per second");
    for (unsigned i = 0; i < plan->n_decode; i++) {
        const struct plan_decode *d = &plan->decode[i];
        char label[48], value[96];
        snprintf(label, sizeof label, "%u user%s", d->batch, d->batch == 1 ? "" : "s together");
        snprintf(value, sizeof value, "no room for so many");
        if (d->fits)
            snprintf(value, sizeof value, "%s tokens/s, %s each", number_plain(d->tokens_per_s).text,
                     number_plain(d->tokens_per_s / d->batch).text);
        const struct bar_part part = {d->fits ? d->tokens_per_s / most : 0, 0, value};
        html_bar(out, label, &part, 1, value);
    }
    fputs("<div class=\"wide\"><table><thead><tr><th>users</th><th>tokens/s</th><th>a step</th><th>J/token</th><th>W, "
          "cards</th>"
          "<th>W, host</th><th>€ per million</th><th>limited by</th></tr></thead><tbody>\n",
          out);
    for (unsigned i = 0; i < plan->n_decode; i++) {
        const struct plan_decode *d = &plan->decode[i];
        if (!d->fits) continue;
        fprintf(out, "<tr><td>%u</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>", d->batch,
                number_plain(d->tokens_per_s).text, number_seconds((double)d->step_ps * 1e-12).text,
                number_plain(d->j_per_token).text, number_plain(d->watts).text, number_plain(d->host_watts).text,
                number_plain(d->eur_per_million).text);
        html_text(out, plan_has_limit(d) ? "" : "waits; busiest ");
        html_text(out, d->used[d->limit].name);
        fprintf(out, ", %s%s%s</td></tr>\n", number_percent(d->used[d->limit].share).text,
                plan->memory.experts != d->experts ? "; experts: " : "",
                plan->memory.experts != d->experts ? plan_experts_name(d->experts) : "");
    }
    fputs("</tbody></table></div>\n", out);
    char note[160];
    snprintf(note, sizeof note,
             "With %s tokens in each sequence's context. Cost is for cards and idle host, at %s € per kWh.",
             number_whole(plan->depth).text, number_plain(plan->eur_per_kwh).text);
    html_paragraph(out, "note", note);
    fputs("</section>\n", out);
}

static void write_prefill(const struct plan *plan, FILE *out)
{
    fputs("<section>", out);
    html_heading(out, "Time to the first token");
    fputs("<div class=\"wide\"><table><thead><tr><th>prompt</th><th>first token</th><th>prompt tokens/s</th>"
          "<th>J per prompt token</th></tr></thead><tbody>\n",
          out);
    for (unsigned i = 0; i < PLAN_PROMPTS; i++) {
        const struct plan_prefill *p = &plan->prefill[i];
        if (p->prompt == 0) continue;
        fprintf(out, "<tr><td>%s tokens</td>", number_whole(p->prompt).text);
        if (p->fits) {
            fprintf(out, "<td>%s</td><td>%s</td><td>%s</td></tr>\n",
                    number_seconds((double)p->first_token_ps * 1e-12).text, number_plain(p->tokens_per_s).text,
                    number_plain(p->j_per_token).text);
        } else {
            fputs("<td colspan=\"3\">", out);
            html_text(out, p->why_not);
            fputs("</td></tr>\n", out);
        }
    }
    fputs("</tbody></table></div>\n", out);
    if (plan->prefill[PLAN_PROMPTS - 1].sampled)
        html_paragraph(out, "note", "Of the long prompt some chunks were run, and those between them interpolated.");
    fputs("</section>\n", out);
}

static void write_used(const struct plan_decode *d, FILE *out)
{
    fputs("<section>", out);
    html_heading(out, "Where the time goes, one user");
    for (unsigned i = 0; i < d->n_used; i++) {
        char value[64];
        snprintf(value, sizeof value, "busy %s%s", number_percent(d->used[i].share).text,
                 i != d->limit       ? ""
                 : plan_has_limit(d) ? ", the limit"
                                     : ", the busiest");
        const struct bar_part part = {d->used[i].share, i == d->limit ? 3 : 7, value};
        html_bar(out, d->used[i].name, &part, 1, value);
    }
    html_paragraph(
        out, "note",
        "Share of the time that each part of the card and its link is busy; of a kind that there are several "
        "of, the mean. They work side by side, so the shares do not add up to 100 %.");
    fputs("</section>\n", out);
}

static double all_joules(const struct plan_decode *d) { return d->j_per_token + d->host_j_per_token; }

/* A bar for each batch: joules of a token against the most, by kind. */
static void write_energy(const struct plan *plan, FILE *out)
{
    double most = 0;
    for (unsigned i = 0; i < plan->n_decode; i++)
        if (plan->decode[i].fits && all_joules(&plan->decode[i]) > most) most = all_joules(&plan->decode[i]);
    const struct plan_decode *first = &plan->decode[0];
    fputs("<section>", out);
    html_heading(out, "Energy of a token, cards and idle host");
    html_legend_open(out);
    for (unsigned k = 0; k < first->n_energy; k++) html_legend_item(out, k % HTML_COLOURS, first->energy[k].name);
    html_legend_close(out);
    for (unsigned i = 0; i < plan->n_decode; i++) {
        const struct plan_decode *d = &plan->decode[i];
        struct bar_part parts[PLAN_ENERGY_KINDS];
        char label[48], value[96], titles[PLAN_ENERGY_KINDS][96];
        if (!d->fits) continue;
        for (unsigned k = 0; k < d->n_energy; k++) {
            snprintf(titles[k], sizeof titles[k], "%.50s: %s J", d->energy[k].name,
                     number_plain(d->energy[k].share * all_joules(d)).text);
            parts[k] = (struct bar_part){d->energy[k].share * all_joules(d) / most, k % HTML_COLOURS, titles[k]};
        }
        snprintf(label, sizeof label, "%u user%s", d->batch, d->batch == 1 ? "" : "s together");
        snprintf(value, sizeof value, "%s J/token, %s W", number_plain(all_joules(d)).text,
                 number_plain(d->watts + d->host_watts).text);
        html_bar(out, label, parts, d->n_energy, value);
    }
    fputs("</section>\n", out);
}

static void write_changes(const struct plan *plan, FILE *out)
{
    if (plan->n_changes == 0) return;
    double now = plan->decode[plan->asked].tokens_per_s, most = now;
    for (unsigned i = 0; i < plan->n_changes; i++)
        if (plan->change[i].tokens_per_s > most) most = plan->change[i].tokens_per_s;
    char text[160];
    fputs("<section>", out);
    html_heading(out, "What would make it faster");
    snprintf(text, sizeof text, "%s tokens/s", number_plain(now).text);
    struct bar_part part = {now / most, 7, text};
    html_bar(out, "as planned", &part, 1, text);
    for (unsigned i = 0; i < plan->n_changes; i++) {
        double speed = plan->change[i].tokens_per_s;
        snprintf(text, sizeof text, "%s tokens/s, %+.0f %%", number_plain(speed).text, 100 * (speed / now - 1));
        part = (struct bar_part){speed / most, 2, text};
        html_bar(out, plan->change[i].text, &part, 1, text);
    }
    snprintf(text, sizeof text, "Each is a plan of its own with that one change, at batch %u.", plan->batch);
    html_paragraph(out, "note", text);
    fputs("</section>\n", out);
}

static void write_sources(const struct plan *plan, FILE *out)
{
    fputs("<section><details><summary>Where the numbers come from</summary>\n", out);
    html_paragraph(out, "soft", plan->model_source);
    fputs(
        "<div class=\"wide\"><table><thead><tr><th>figure</th><th>value</th><th class=\"text\">source</th></tr></thead>"
        "<tbody>\n",
        out);
    for (unsigned i = 0; i < plan->n_sources; i++) {
        fputs("<tr><td>", out);
        html_text(out, plan->source[i].what);
        fputs("</td><td>", out);
        html_text(out, plan->source[i].value);
        fputs("</td><td class=\"text\">", out);
        html_text(out, plan->source[i].source);
        fputs("</td></tr>\n", out);
    }
    fputs("</tbody></table></div></details></section>\n", out);
}

void plan_write_html(const struct plan *plan, const struct sweep *sweep, const struct sweep_point *points,
                     uint32_t n_points, FILE *out)
{
    html_open(out, plan_title(plan).text);
    write_head(plan, out);
    write_verdict(plan, out);
    if (plan->memory.fits) write_tiles(plan, out);
    write_memory(plan, out);
    if (plan->memory.fits) {
        write_decode(plan, out);
        write_prefill(plan, out);
        write_used(&plan->decode[0], out);
        write_energy(plan, out);
        write_changes(plan, out);
    }
    if (sweep) sweep_write_plot(sweep, points, n_points, out);
    write_sources(plan, out);
    html_close(out);
}
