/* SPDX-License-Identifier: Apache-2.0 */
#include "host/plan/plan_sweep.h"

#include "host/base/memory.h"
#include "host/plan/plan_format.h"
#include "host/plan/plan_make.h"
#include "host/plan/plan_write.h"

#include <ctype.h>
#include <string.h>

struct axis {
    const char *name, *allowed;
    uint32_t most; /* of a number */
};

static const struct axis axes[SWEEP_AXES] = {
    [SWEEP_QUANT] = {"quant", PLAN_FORMAT_NAMES, 0},
    [SWEEP_BATCH] = {"batch", "1 to 1024", PLAN_MAX_BATCH},
    [SWEEP_CONTEXT] = {"ctx", "2 to 4194304", 1u << 22},
    [SWEEP_CARDS] = {"cards", "1 to 256", PLAN_MAX_CARDS},
    [SWEEP_EXPERTS] = {"experts", "auto, resident, host, nvme", 0},
};

static bool parse_number(const char *text, uint32_t most, uint32_t *out)
{
    uint64_t value = 0;
    for (const char *c = text; *c; c++) {
        if (!isdigit((unsigned char)*c)) return false;
        value = value * 10 + (uint64_t)(*c - '0');
        if (value > most) return false;
    }
    *out = (uint32_t)value;
    return value > 0;
}

static bool parse_value(enum sweep_axis axis, const char *text, uint32_t *out)
{
    if (axis == SWEEP_QUANT) return (*out = plan_format_of(text)) != 0;
    if (axis != SWEEP_EXPERTS) return parse_number(text, axes[axis].most, out);
    for (unsigned i = PLAN_EXPERTS_AUTO; i <= PLAN_EXPERTS_NVME; i++) {
        if (strcmp(text, plan_experts_name(i)) != 0) continue;
        *out = i;
        return true;
    }
    return false;
}

/* "name=a,b,c"; part is written into. */
static int parse_axis(char *part, struct sweep *out, struct error *err)
{
    char *equals = strchr(part, '='), *rest = equals ? equals + 1 : NULL;
    unsigned a = 0;
    if (equals) *equals = '\0';
    while (a < SWEEP_AXES && strcmp(part, axes[a].name) != 0) a++;
    if (!equals || a == SWEEP_AXES)
        return error_set(
            err, ERROR_BAD_ARGUMENT,
            "\"%s\" of a sweep is none of quant=, batch=, ctx=, cards=, experts= (values with commas between, "
            "axes with ';')",
            part);
    if (out->n_values[a] > 0) return error_set(err, ERROR_BAD_ARGUMENT, "the sweep names %s twice", axes[a].name);
    for (char *value; (value = strsep(&rest, ",")) != NULL;) {
        uint32_t n = out->n_values[a];
        if (n == SWEEP_MAX_VALUES)
            return error_set(err, ERROR_BAD_ARGUMENT, "the sweep has more than %u values of %s", SWEEP_MAX_VALUES,
                             axes[a].name);
        if (!parse_value(a, value, &out->value[a][n]))
            return error_set(err, ERROR_BAD_ARGUMENT, "%s=%s of a sweep: allowed is %s", axes[a].name, value,
                             axes[a].allowed);
        out->n_values[a]++;
    }
    return 0;
}

int sweep_parse(const char *text, struct sweep *out, struct error *err)
{
    char *copy = strdup(text), *rest = copy;
    *out = (struct sweep){0};
    int status = copy ? 0 : error_set(err, ERROR_NO_MEMORY, "no host memory for a sweep");
    for (char *part; status == 0 && (part = strsep(&rest, ";")) != NULL;)
        if (*part) status = parse_axis(part, out, err);
    uint64_t n_points = 1;
    unsigned swept = 0;
    for (unsigned a = 0; a < SWEEP_AXES; a++) {
        n_points *= out->n_values[a] ? out->n_values[a] : 1;
        swept += out->n_values[a] > 0;
    }
    if (status == 0 && swept == 0)
        status = error_set(err, ERROR_BAD_ARGUMENT, "the sweep names no axis (e.g. \"batch=1,8,32;ctx=4096,32768\")");
    if (status == 0 && n_points > SWEEP_MAX_POINTS)
        status = error_set(err, ERROR_BAD_ARGUMENT, "the sweep has %llu combinations, %u at most",
                           (unsigned long long)n_points, SWEEP_MAX_POINTS);
    free(copy);
    return status;
}

static struct plan_request request_of(const struct plan_request *request, const struct sweep *sweep,
                                      const struct sweep_point *point)
{
    struct plan_request out = *request;
    if (sweep->n_values[SWEEP_QUANT]) out.weight_format = point->value[SWEEP_QUANT];
    if (sweep->n_values[SWEEP_BATCH]) out.batch = point->value[SWEEP_BATCH];
    if (sweep->n_values[SWEEP_CONTEXT]) out.context = point->value[SWEEP_CONTEXT];
    if (sweep->n_values[SWEEP_CARDS]) out.cards = point->value[SWEEP_CARDS];
    if (sweep->n_values[SWEEP_EXPERTS]) out.experts = point->value[SWEEP_EXPERTS];
    return out;
}

static int run_point(const struct sweep *sweep, const struct plan_request *request, struct sweep_point *point,
                     struct error *err)
{
    const struct plan_request with = request_of(request, sweep, point);
    struct plan_setting setting;
    struct memory_layout layout = {0};
    int status = plan_setting_open(&with, &setting, err);
    if (status < 0) return status;
    struct plan_prefill prefill = {.prompt = setting.request.prompt};
    point->value[SWEEP_QUANT] = with.weight_format;
    point->value[SWEEP_BATCH] = with.batch;
    point->value[SWEEP_CONTEXT] = setting.request.context;
    point->value[SWEEP_CARDS] = with.cards;
    point->value[SWEEP_EXPERTS] = with.experts;
    point->decode.batch = with.batch;
    status = plan_setting_layout(&setting, with.batch, setting.request.context, &layout, err);
    if (status == 0) point->experts = layout.memory.experts;
    if (status == 0) status = plan_setting_decode(&setting, &point->decode, err);
    point->fits = point->decode.fits;
    if (status == 0 && point->fits) status = plan_setting_prefill(&setting, &prefill, err);
    if (status == 0 && prefill.fits) point->first_token_ps = prefill.first_token_ps;
    memory_plan_close(&layout);
    plan_setting_close(&setting);
    return status;
}

int sweep_run(const struct sweep *sweep, const struct plan_request *request, struct sweep_point **points,
              uint32_t *n_points, struct error *err)
{
    uint32_t n = 1;
    int status = 0;
    for (unsigned a = 0; a < SWEEP_AXES; a++) n *= sweep->n_values[a] ? sweep->n_values[a] : 1;
    struct sweep_point *all = memory_array(n, sizeof *all);
    if (!all) return error_set(err, ERROR_NO_MEMORY, "no host memory for a sweep of %u plans", n);
    for (uint32_t i = 0; i < n && status == 0; i++) {
        uint32_t rest = i;
        for (unsigned a = SWEEP_AXES; a-- > 0;) {
            if (sweep->n_values[a] == 0) continue;
            all[i].value[a] = sweep->value[a][rest % sweep->n_values[a]];
            rest /= sweep->n_values[a];
        }
        status = run_point(sweep, request, &all[i], err);
    }
    if (status < 0) {
        free(all);
        return status;
    }
    *points = all;
    *n_points = n;
    return 0;
}

/* A field of RFC 4180; one that a spreadsheet would take for a formula gets an apostrophe first. */
static void write_field(const char *text, FILE *out)
{
    fputc('"', out);
    if (strchr("=+-@\t\r", text[0]) && text[0]) fputc('\'', out);
    for (const char *c = text; *c; c++) {
        if (*c == '"') fputc('"', out);
        fputc(*c, out);
    }
    fputc('"', out);
}

void sweep_write_csv(const struct sweep_point *points, uint32_t n_points, const char *model, const char *card,
                     FILE *out)
{
    fputs("model,card,cards,quant,batch,context,experts,fits,tokens_per_s,step_s,first_token_s,j_per_token,watts,"
          "eur_per_million_tokens,limit,limit_busy\r\n",
          out);
    for (uint32_t i = 0; i < n_points; i++) {
        const struct sweep_point *p = &points[i];
        const struct plan_decode *d = &p->decode;
        write_field(model, out);
        fputc(',', out);
        write_field(card, out);
        fprintf(out, ",%u,%s,%u,%u,%s,%s", p->value[SWEEP_CARDS],
                p->value[SWEEP_QUANT] ? plan_format_name(p->value[SWEEP_QUANT]) : "own", p->value[SWEEP_BATCH],
                p->value[SWEEP_CONTEXT], plan_experts_name(p->fits ? p->experts : p->value[SWEEP_EXPERTS]),
                p->fits ? "yes" : "no");
        if (!p->fits) {
            fputs(",,,,,,,,\r\n", out);
            continue;
        }
        fprintf(out, ",%.6g,%.9g,", d->tokens_per_s, (double)d->step_ps * 1e-12);
        if (p->first_token_ps > 0) fprintf(out, "%.9g", (double)p->first_token_ps * 1e-12);
        fprintf(out, ",%.6g,%.6g,%.6g,", d->j_per_token, d->watts, d->eur_per_million);
        write_field(plan_has_limit(d) ? d->used[d->limit].name : "waits", out);
        fprintf(out, ",%.4f\r\n", d->used[d->limit].share);
    }
}
