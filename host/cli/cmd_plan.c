/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/memory.h"
#include "host/card/card.h"
#include "host/cli/commands.h"
#include "host/cli/output_file.h"
#include "host/cli/vocabulary_input.h"
#include "host/engine/kv_format.h"
#include "host/plan/architecture.h"
#include "host/plan/plan_format.h"
#include "host/plan/plan_sweep.h"
#include "host/plan/plan_write.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

struct plan_options {
    const char *model, *arch, *kv, *quant, *experts, *html, *sweep, *csv;
    float price;
    bool json, list;
    struct plan_request request;
};

static const char details[] =
    "MODEL is a GGUF or packed file, a Hugging Face config.json or a folder with one; left out, it is the demo model. "
    "--arch takes a "
    "built-in\n"
    "name (--list shows them); no weights are needed. A sweep is every combination of the values that SPEC names:\n"
    "  --sweep \"quant=q4_0,q8_0;batch=1,8,32;ctx=4096,32768;cards=1,2;experts=resident,host\"\n"
    "Figures are predictions of the clock model of a card; `sluice probe` asks that model for single measurements.";

/* enum plan_experts of --experts; -1 if it is none. */
static int experts_of(const char *name)
{
    for (int i = PLAN_EXPERTS_AUTO; i <= PLAN_EXPERTS_NVME; i++)
        if (strcmp(name, plan_experts_name((enum plan_experts)i)) == 0) return i;
    return -1;
}

/* What options_parse does not look at. -1 to go on, or EXIT_USAGE after a message. */
static int check(const struct command *self, struct plan_options *o)
{
    struct plan_request *request = &o->request;
    int experts = experts_of(o->experts);
    if (o->model && o->arch) return usage_error(self, "--arch %s and a MODEL: one of them", o->arch);
    if (experts < 0) return usage_error(self, "--experts %s: allowed is auto, resident, host, nvme", o->experts);
    if (o->kv && (request->kv_format = kv_format_find(o->kv)) == 0)
        return usage_error(self, "--kv %s: allowed is " KV_FORMAT_NAMES, o->kv);
    if (o->quant && (request->weight_format = plan_format_of(o->quant)) == 0)
        return usage_error(self, "--quant %s: allowed is %s", o->quant, PLAN_FORMAT_NAMES);
    if (o->csv && !o->sweep) return usage_error(self, "--csv needs --sweep");
    if (o->sweep && !o->csv && !o->html) return usage_error(self, "--sweep needs --csv or --html to write to");
    request->experts = (enum plan_experts)experts;
    request->eur_per_kwh = (double)o->price;
    return -1;
}

static int list_names_json(struct error *err)
{
    struct architecture_name name;
    json_t *list = json_array();
    bool good = list != NULL;
    for (size_t i = 0; good && architecture_list(i, &name); i++)
        good = json_array_append_new(list, json_pack("{s:s, s:s, s:s?}", "name", name.name, "source", name.source,
                                                     "missing", name.missing[0] ? name.missing : NULL)) == 0;
    good = good && json_dumpf(list, stdout, JSON_COMPACT) == 0 && putchar('\n') != EOF;
    json_decref(list);
    return good ? finish_output(err) : error_set(err, ERROR_IO, "cannot write the list of names");
}

static int list_names(struct error *err)
{
    struct architecture_name name;
    for (size_t i = 0; architecture_list(i, &name); i++) {
        if (name.missing[0])
            printf("%-24s missing: %s\n", name.name, name.missing);
        else
            printf("%-24s %s\n", name.name, name.source);
    }
    return finish_output(err);
}

static int write_html(const struct plan_options *o, const struct plan *plan, const struct sweep *sweep,
                      const struct sweep_point *points, uint32_t n_points, struct error *err)
{
    struct output_file file;
    int status = output_file_open(o->html, &file, err);
    if (status < 0) return status;
    plan_write_html(plan, sweep, points, n_points, file.stream);
    if (ferror(file.stream)) status = error_set(err, ERROR_IO, "cannot write %s", o->html);
    if (status == 0) status = output_file_commit(&file, err);
    output_file_close(&file);
    return status;
}

static int write_csv(const struct plan_options *o, const struct plan *plan, const struct sweep_point *points,
                     uint32_t n_points, struct error *err)
{
    struct output_file file;
    int status = output_file_open(o->csv, &file, err);
    if (status < 0) return status;
    sweep_write_csv(points, n_points, plan->model, plan->card, file.stream);
    if (ferror(file.stream)) status = error_set(err, ERROR_IO, "cannot write %s", o->csv);
    if (status == 0) status = output_file_commit(&file, err);
    output_file_close(&file);
    return status;
}

/* The plan, and the files that were asked for. */
static int plan(const struct plan_options *o, const struct sweep *sweep, struct plan *out, struct error *err)
{
    struct sweep_point *points = NULL;
    uint32_t n_points = 0;
    int status = plan_make(&o->request, out, err);
    if (status == 0 && o->sweep) status = sweep_run(sweep, &o->request, &points, &n_points, err);
    if (status == 0 && o->csv) status = write_csv(o, out, points, n_points, err);
    if (status == 0 && o->html) status = write_html(o, out, o->sweep ? sweep : NULL, points, n_points, err);
    bool to_stdout = (o->csv && strcmp(o->csv, "-") == 0) || (o->html && strcmp(o->html, "-") == 0);
    if (status == 0 && o->json)
        status = plan_write_json(out, stdout, err);
    else if (status == 0 && !to_stdout)
        plan_print(out, stdout);
    if (status == 0) status = finish_output(err);
    free(points);
    return status;
}

static int open_architecture(const struct plan_options *o, struct architecture **out, struct error *err)
{
    return o->arch ? architecture_by_name(o->arch, out, err) : architecture_from_file(o->model, out, err);
}

static int run(const struct command *self, int argc, char **argv)
{
    struct plan_options o = {.experts = "auto", .price = -1, .request = {.cards = 1, .batch = 1, .card = NULL}};
    const struct option table[] = {
        {"card", 0, OPTION_TEXT, &o.request.card, "PROFILE", "card: a built-in profile's name, or the path of one", 0,
         0},
        {"arch", 0, OPTION_TEXT, &o.arch, "NAME", "a built-in architecture instead of MODEL (see --list)", 0, 0},
        {"cards", 0, OPTION_U32, &o.request.cards, "N", "so many of these cards (default 1)", 1, PLAN_MAX_CARDS},
        {"host", 0, OPTION_TEXT, &o.request.host, "NAME", "host profile (default: the card's)", 0, 0},
        {"ctx", 'c', OPTION_U32, &o.request.context, "N", "tokens that each sequence has room for (default 4096)", 2,
         CARD_MAX_POSITIONS},
        {"batch", 'b', OPTION_U32, &o.request.batch, "N", "sequences that have such room (default 1)", 1,
         PLAN_MAX_BATCH},
        {"depth", 0, OPTION_U32, &o.request.depth, "N",
         "tokens in each sequence while decoding is timed (default 1024)", 1, CARD_MAX_POSITIONS},
        {"prompt", 'p', OPTION_U32, &o.request.prompt, "N", "tokens of the short prompt (default 1024)", 1,
         CARD_MAX_POSITIONS},
        {"kv", 0, OPTION_TEXT, &o.kv, "FORMAT", "KV pages in f16, int8 or int4 (default f16)", 0, 0},
        {"quant", 'q', OPTION_TEXT, &o.quant, "FORMAT",
         "matrices in q4_0, q4_k, mxfp4, q8_0, ... (default: the model's)", 0, 0},
        {"experts", 0, OPTION_TEXT, &o.experts, "WHERE", "resident, host, nvme, or auto: the first that fits", 0, 0},
        {"price", 0, OPTION_FLOAT, &o.price, "EUR", "of a kWh (default: the host profile's)", 0, 1000},
        {"json", 0, OPTION_FLAG, &o.json, NULL, "print one JSON object", 0, 0},
        {"html", 0, OPTION_TEXT, &o.html, "FILE", "write a page with charts, too", 0, 0},
        {"sweep", 0, OPTION_TEXT, &o.sweep, "SPEC", "plan every combination of the values in SPEC, too", 0, 0},
        {"csv", 0, OPTION_TEXT, &o.csv, "FILE", "where the sweep goes", 0, 0},
        {"list", 0, OPTION_FLAG, &o.list, NULL, "print the built-in architectures and their sources", 0, 0},
        {0},
    };
    int n_operands;
    struct error err = {0};
    struct sweep sweep;
    o.request.kv_format = CARD_FORMAT_F16;
    int status = options_parse(self, table, argc, argv, &o.model, 1, &n_operands);
    if (status < 0 && !o.list && !o.request.card)
        return usage_error(self, "--card PROFILE is missing (e.g. --card u55c)");
    if (status < 0) status = check(self, &o);
    if (status >= 0) return status;
    if (o.list) {
        status = o.json ? list_names_json(&err) : list_names(&err);
        return status < 0 ? failure("plan: %s", err.text) : EXIT_DONE;
    }
    if (o.sweep && sweep_parse(o.sweep, &sweep, &err) < 0) return usage_error(self, "%s", err.text);

    struct architecture *architecture = NULL;
    struct plan *made = memory_array(1, sizeof *made);
    status = made ? 0 : error_set(&err, ERROR_NO_MEMORY, "no host memory for a plan");
    if (status == 0) status = open_architecture(&o, &architecture, &err);
    o.request.architecture = architecture;
    if (status == 0) status = plan(&o, &sweep, made, &err);
    status = status < 0 ? failure("plan: %s", err.text) : EXIT_DONE;
    architecture_close(architecture);
    free(made);
    return status;
}

const struct command command_plan = {
    .name = "plan",
    .synopsis = "(MODEL | --arch NAME) --card PROFILE [--cards N] [--html FILE] [--sweep SPEC --csv FILE]",
    .summary = "what a model does on cards that need not be there: memory, speed, energy",
    .details = details,
    .run = run,
};
