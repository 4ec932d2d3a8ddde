/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/commands.h"
#include "host/cli/pack_model.h"
#include "host/cli/progress.h"
#include "host/cli/vocabulary_input.h"
#include "host/model/slc.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static void print_result(const char *out, const struct model_conversion *conversion, double seconds)
{
    struct stat about;
    if (stat(out, &about) == 0)
        printf("%s: %.1f MiB, packed in %.1f s\n", out, (double)about.st_size / (1 << 20), seconds);
    if (conversion->n_tensors == 0) return;
    printf("%u matrices have no exact card format and were rounded: relative error %.1e (worst: %s, %.1e)\n",
           conversion->n_tensors, conversion->relative_rms_error, conversion->worst_name,
           conversion->worst_relative_rms_error);
}

/* --quant: the card formats that floats can be rounded to. */
static bool find_quant(const char *name, unsigned *format)
{
    static const struct {
        const char *name;
        unsigned format;
    } formats[] = {{"int8", CARD_FORMAT_INT8}, {"int4", CARD_FORMAT_INT4}, {"int4-min", CARD_FORMAT_INT4_MIN}};
    *format = 0;
    for (size_t i = 0; name != NULL && i < sizeof formats / sizeof formats[0]; i++)
        if (strcmp(formats[i].name, name) == 0) *format = formats[i].format;
    return name == NULL || *format != 0;
}

static int pack(const char *path, const char *out, struct pack_request *request, struct error *err)
{
    struct model *model;
    struct model_conversion conversion;
    double start = seconds_now();
    int status = model_open(path, &model, err);
    if (status < 0) return status;
    const char *slash = path ? strrchr(path, '/') : NULL;
    request->source_name = slash ? slash + 1 : path ? path : SLC_DEMO_NAME;
    request->out = out;
    status = pack_model(model, request, &conversion, err);
    model_close(model);
    if (status < 0) return status;
    if (!request->quiet) print_result(out, &conversion, seconds_now() - start);
    return finish_output(err);
}

static int run(const struct command *self, int argc, char **argv)
{
    uint32_t threads = 0;
    bool quiet = false, exact_formats = false;
    const char *quant = NULL;
    const struct option table[] = {
        {"threads", 't', OPTION_U32, &threads, "N", "threads that pack (default: one per core)", 1, 64},
        {"exact-formats", 0, OPTION_FLAG, &exact_formats, NULL, "refuse a matrix whose values the card rounds", 0, 0},
        {"quant", 0, OPTION_TEXT, &quant, "FORMAT",
         "round float matrices to int8 (default), int4 or int4-min; the output matrix stays int8", 0, 0},
        {"quiet", 'q', OPTION_FLAG, &quiet, NULL, "no progress bar and no summary", 0, 0},
        {0},
    };
    const char *operands[2] = {NULL};
    int n_operands;
    int status = options_parse(self, table, argc, argv, operands, 2, &n_operands);
    if (status >= 0) return status;
    if (n_operands == 0) return usage_error(self, "OUT is missing");
    const char *path = n_operands == 2 ? operands[0] : NULL, *out = operands[n_operands - 1];
    if (strcmp(out, "-") == 0) return usage_error(self, "OUT must be a file");
    if (path && same_file(path, out)) return usage_error(self, "%s: MODEL and OUT are the same file", out);
    struct pack_request request = {.threads = threads, .quiet = quiet, .exact_formats = exact_formats};
    if (!find_quant(quant, &request.float_format))
        return usage_error(self, "--quant %s: int8, int4 and int4-min are possible", quant);
    struct error err = {0};
    return pack(path, out, &request, &err) < 0 ? failure("pack: %s", err.text) : EXIT_DONE;
}

const struct command command_pack = {
    .name = "pack",
    .synopsis = "[MODEL] OUT [--threads N] [--quant FORMAT] [--exact-formats] [--quiet]",
    .summary = "write a packed file (.slc), which every command opens at once instead of MODEL",
    .details = "OUT holds the weights as they lie in card memory, each with its hash, and all of MODEL's metadata. It "
               "appears\nwhen it is whole; what is under that name is replaced then.",
    .run = run,
};
