/* SPDX-License-Identifier: Apache-2.0 */
#include "host/experts/routing_recorder.h"

#include "host/base/memory.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

/* The last row of a sequence that a slot of the engine has held: who goes on from it is the same sequence. */
struct slot_row {
    uint32_t sequence, position;
    bool is_known;
};

struct routing_recorder {
    struct routing_writer *writer;
    struct routing_shape shape;
    uint32_t n_model_layers;
    uint32_t *trace_layer; /* owned; [n_model_layers] */
    struct slot_row *slots;
    uint32_t n_slots, n_sequences;
    /* The step at hand. */
    const struct step *step; /* borrowed; NULL: none, or it is not recorded */
    uint32_t *sequences;     /* owned; [n_logit_rows] */
    uint32_t *rows;          /* owned; [n_layers]: seen so far */
    uint16_t *seen;          /* owned; [n_layers][n_tokens][n_used] */
    uint16_t *choice;        /* owned; [n_layers][n_logit_rows][n_used] */
    uint32_t token_capacity;
    struct error error; /* the first; code 0: none */
};

/* Of what makes a trace useless for another model. */
static uint64_t hash_of(const struct model *model)
{
    const struct model_config *config = model_get_config(model);
    const uint32_t numbers[] = {config->n_layers, config->n_experts, config->n_experts_used, config->d_model,
                                config->n_vocab};
    const char *name = model_name(model);
    const uint64_t hash = XXH3_64bits_withSeed(numbers, sizeof numbers, XXH3_64bits(name, strlen(name)));
    return hash != 0 ? hash : 1; /* 0: synthetic */
}

static int describe(struct routing_recorder *recorder, const struct model *model, struct error *err)
{
    const struct model_config *config = model_get_config(model);
    struct routing_shape *shape = &recorder->shape;
    *shape = (struct routing_shape){
        .model_hash = hash_of(model), .n_experts = config->n_experts, .n_used = config->n_experts_used};
    (void)snprintf(shape->model, sizeof shape->model, "%.*s", (int)sizeof shape->model - 1, model_name(model));
    recorder->n_model_layers = config->n_layers;
    recorder->trace_layer = memory_array(config->n_layers, sizeof *recorder->trace_layer);
    if (!recorder->trace_layer) return error_set(err, ERROR_NO_MEMORY, "no host memory to record routing");
    for (uint32_t i = 0; config->n_experts > 0 && i < config->n_layers; i++)
        if (config->layers[i].has_experts) recorder->trace_layer[i] = shape->n_layers++;
    if (shape->n_layers == 0)
        return error_set(err, ERROR_BAD_ARGUMENT, "%s has no experts whose routing could be recorded",
                         model_name(model));
    recorder->rows = memory_array(shape->n_layers, sizeof *recorder->rows);
    return recorder->rows ? 0 : error_set(err, ERROR_NO_MEMORY, "no host memory to record routing");
}

int routing_recorder_open(const char *path, const struct model *model, struct routing_recorder **out, struct error *err)
{
    struct routing_recorder *recorder = memory_array(1, sizeof *recorder);
    if (!recorder) return error_set(err, ERROR_NO_MEMORY, "no host memory to record routing");
    int status = describe(recorder, model, err);
    if (status == 0) status = routing_writer_open(path, &recorder->shape, &recorder->writer, err);
    if (status < 0)
        (void)routing_recorder_close(recorder, NULL);
    else
        *out = recorder;
    return status;
}

int routing_recorder_close(struct routing_recorder *recorder, struct error *err)
{
    if (!recorder) return 0;
    struct error closing = {0};
    if (routing_writer_close(recorder->writer, &closing) < 0 && recorder->error.code == 0) recorder->error = closing;
    const int status = recorder->error.code;
    if (err && status < 0) *err = recorder->error;
    free(recorder->trace_layer);
    free(recorder->slots);
    free(recorder->sequences);
    free(recorder->rows);
    free(recorder->seen);
    free(recorder->choice);
    free(recorder);
    return status;
}

/* ---- a step ---- */

/* Memory for a step of so many tokens, and slots up to this number. */
static bool make_room(struct routing_recorder *recorder, uint32_t n_tokens, uint32_t slot)
{
    const size_t each = (size_t)recorder->shape.n_layers * recorder->shape.n_used;
    if (n_tokens > recorder->token_capacity) {
        uint32_t *sequences = memory_grow(recorder->sequences, n_tokens, sizeof *sequences);
        if (sequences) recorder->sequences = sequences;
        uint16_t *seen = memory_grow(recorder->seen, n_tokens, each * sizeof *seen);
        if (seen) recorder->seen = seen;
        uint16_t *choice = memory_grow(recorder->choice, n_tokens, each * sizeof *choice);
        if (choice) recorder->choice = choice;
        if (!sequences || !seen || !choice) return false;
        recorder->token_capacity = n_tokens;
    }
    if (slot >= recorder->n_slots) {
        struct slot_row *slots = memory_grow(recorder->slots, (size_t)slot + 1, sizeof *slots);
        if (!slots) return false;
        memset(slots + recorder->n_slots, 0, (slot + 1 - recorder->n_slots) * sizeof *slots);
        recorder->slots = slots;
        recorder->n_slots = slot + 1;
    }
    return true;
}

static void fail(struct routing_recorder *recorder)
{
    (void)error_set(&recorder->error, ERROR_NO_MEMORY, "no host memory to record routing");
    recorder->step = NULL;
}

/* Whose the step's rows are: a slot whose next row stands farther on has the same sequence as before. */
static bool name_rows(struct routing_recorder *recorder, const struct step *step)
{
    for (uint32_t i = 0; i < step->n_logit_rows; i++) {
        const struct card_batch_token *token = &step->batch[step->logit_rows[i]];
        if (!make_room(recorder, step->n_tokens, token->state)) return false;
        struct slot_row *row = &recorder->slots[token->state];
        const bool goes_on = row->is_known && token->position == row->position + 1;
        if (!goes_on) row->sequence = recorder->n_sequences++ & ~ROUTING_PROMPT;
        recorder->sequences[i] = goes_on ? row->sequence : row->sequence | ROUTING_PROMPT;
        row->position = token->position;
        row->is_known = true;
    }
    return true;
}

void routing_recorder_begin(struct routing_recorder *recorder, const struct step *step)
{
    recorder->step = NULL;
    if (recorder->error.code != 0 || step->n_logit_rows == 0 || step->n_logit_rows > ROUTING_MAX_ROWS) return;
    recorder->step = step;
    memset(recorder->rows, 0, recorder->shape.n_layers * sizeof *recorder->rows);
    if (!name_rows(recorder, step)) fail(recorder);
}

void routing_recorder_layer(struct routing_recorder *recorder, uint32_t layer, const struct card_choice *choices,
                            uint32_t n_tokens)
{
    if (!recorder->step || layer >= recorder->n_model_layers) return;
    const uint32_t index = recorder->trace_layer[layer], n_used = recorder->shape.n_used;
    uint32_t *row = &recorder->rows[index];
    if (n_tokens > recorder->step->n_tokens - *row) return;
    uint16_t *seen = recorder->seen + ((size_t)index * recorder->step->n_tokens + *row) * n_used;
    for (size_t i = 0; i < (size_t)n_tokens * n_used; i++) seen[i] = (uint16_t)choices[i].expert;
    *row += n_tokens;
}

void routing_recorder_end(struct routing_recorder *recorder)
{
    const struct step *step = recorder->step;
    const uint32_t n_used = recorder->shape.n_used;
    recorder->step = NULL;
    if (!step) return;
    for (uint32_t layer = 0; layer < recorder->shape.n_layers; layer++) {
        const bool all = recorder->rows[layer] == step->n_tokens;
        if (!all && recorder->rows[layer] != step->n_logit_rows) return; /* a step that stopped on its way */
        for (uint32_t i = 0; i < step->n_logit_rows; i++) {
            const size_t from = (size_t)layer * step->n_tokens + (all ? step->logit_rows[i] : i);
            memcpy(recorder->choice + ((size_t)layer * step->n_logit_rows + i) * n_used, recorder->seen + from * n_used,
                   n_used * sizeof *recorder->choice);
        }
    }
    const struct routing_step out = {
        .n_rows = step->n_logit_rows, .sequence = recorder->sequences, .choice = recorder->choice};
    struct error err = {0};
    if (routing_writer_step(recorder->writer, &out, &err) < 0) recorder->error = err;
}
