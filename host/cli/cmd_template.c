/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/commands.h"
#include "host/cli/vocabulary_input.h"
#include "host/model/slc.h"
#include "host/text/chat_template.h"

#include <stdio.h>

struct template_options {
    const char *template_file, *input, *now;
};

static int read_variables(const char *path, json_t **out, struct error *err)
{
    struct text text = {0};
    json_error_t why;
    int status = read_all(path, &text, err);
    if (!status) {
        *out = json_loadb(text.bytes, text.length, JSON_ALLOW_NUL, &why);
        if (!*out)
            status = error_set(err, ERROR_BAD_FILE, "%s: line %d, column %d: %s", path, why.line, why.column, why.text);
        else if (!json_is_object(*out))
            status = error_set(err, ERROR_BAD_FILE, "%s: the variables are an object", path);
    }
    text_free(&text);
    return status;
}

static int open_file(const char *path, struct jinja_template **out, struct error *err)
{
    struct text source = {0};
    int status = read_all(path, &source, err);
    if (!status) status = jinja_template_open(source.bytes, source.length, out, err);
    if (status && source.bytes) error_prefix(err, "%s", path);
    text_free(&source);
    return status;
}

/* The template of a model's file (a vocabulary is enough), and bos_token and so on where the variables do not have them. */
static int open_model(const char *path, json_t *variables, struct jinja_template **out, struct error *err)
{
    struct gguf *plain = NULL;
    struct slc *packed = NULL;
    struct model *demo = NULL;
    int status = path ? model_open_file(path, &plain, &packed, err) : model_open(NULL, &demo, err);
    if (status) return status;
    const struct gguf *file = plain ? plain : packed ? slc_file(packed) : model_file(demo);
    status = chat_template_open(file, json_is_array(json_object_get(variables, "tools")), out, err);
    if (!status) status = chat_template_defaults(file, variables, err);
    if (status) error_prefix(err, "%s", path ? path : "demo model");
    gguf_close(plain);
    slc_close(packed);
    model_close(demo);
    return status;
}

static int render(const struct template_options *options, const char *model, struct error *err)
{
    struct jinja_template *template = NULL;
    struct jinja_now now;
    struct text out = {0};
    json_t *variables = NULL;
    int status = options->now ? jinja_now_parse(options->now, &now, err) : 0;
    if (!status) status = read_variables(options->input, &variables, err);
    if (!status)
        status = options->template_file ? open_file(options->template_file, &template, err)
                                        : open_model(model, variables, &template, err);
    if (!status) status = jinja_render(template, variables, options->now ? &now : NULL, &out, err);
    if (!status && out.length) fwrite(out.bytes, 1, out.length, stdout);
    if (!status) status = finish_output(err);
    text_free(&out);
    jinja_template_free(template);
    json_decref(variables);
    return status;
}

static int run(const struct command *self, int argc, char **argv)
{
    struct template_options options = {0};
    const struct option table[] = {
        {"template-file", 0, OPTION_TEXT, &options.template_file, "F", "the Jinja template in F, not a model's", 0, 0},
        {"input", 'i', OPTION_TEXT, &options.input, "VARS.json", "the variables: an object with messages and so on", 0,
         0},
        {"now", 0, OPTION_TEXT, &options.now, "ISO", "the time that strftime_now tells (default: now)", 0, 0},
        {0},
    };
    const char *model = NULL;
    int n_operands;
    int status = options_parse(self, table, argc, argv, &model, 1, &n_operands);
    if (status >= 0) return status;
    if (!options.input) return usage_error(self, "--input VARS.json is needed");
    if (model && options.template_file) return usage_error(self, "give MODEL or --template-file, not both");
    struct error err = {0};
    if (render(&options, model, &err)) return failure("template: %s", err.text);
    return EXIT_DONE;
}

const struct command command_template = {
    .name = "template",
    .synopsis = "(MODEL or --template-file F) --input VARS.json [--now ISO]",
    .summary = "Shows the prompt that a chat template makes.",
    .details = "Prints the rendered text and nothing more. The variables are what Hugging Face's apply_chat_template "
               "hands to a\n"
               "template: messages, tools, documents, add_generation_prompt, bos_token, and any other. With MODEL, "
               "bos_token and\n"
               "eos_token are the model's where VARS.json has none. An error names line and column of the template.",
    .run = run,
};
