/* SPDX-License-Identifier: Apache-2.0 */
/* A step: its inputs as step.c fills them, its program, and running both. */
#include "host/base/memory.h"
#include "host/model/model.h"
#include "host/plan/shape_planner.h"

#include <string.h>

struct shape_program {
    struct shape_place place;
    struct expert_pool *pool; /* owned; NULL: the layers share no slots */
    card_addr arena;
    uint64_t input_capacity;
    uint8_t *inputs; /* owned; the arena's first part on the host */
    struct shape_planner planner;
    struct shape_layer_mark *marks; /* owned; [layers] */
};

/* Pages that the batch tables of these sequences name, in a table of this kind. */
static uint64_t count_pages(const struct shape_table_kind *kind, const struct shape_sequence *sequences, uint32_t n)
{
    uint64_t pages = 0;
    for (uint32_t i = 0; i < n; i++)
        pages += shape_table_pages(kind, sequences[i].first_position + sequences[i].n_tokens);
    return pages;
}

/* Tokens that end an entry of `rate` tokens. */
static uint32_t count_ends(uint32_t rate, const struct shape_sequence *sequences, uint32_t n)
{
    uint32_t ends = 0;
    for (uint32_t i = 0; i < n; i++)
        ends += (sequences[i].first_position + sequences[i].n_tokens) / rate - sequences[i].first_position / rate;
    return ends;
}

/* The embedding becomes all residual streams on the card. */
static bool starts_streams(const struct shape_place *place)
{
    return place->options.first_layer == 0 && place->architecture->hyper_streams > 1;
}

/* Takes the inputs from the start of the arena; returns their bytes. sequences NULL: the largest step. */
static uint64_t begin(struct shape_planner *p, const struct shape_sequence *sequences, uint32_t n_sequences)
{
    const struct shape_place *place = p->place;
    p->used = 0;
    p->n_descriptors = 0;
    bool is_copied = starts_streams(place);
    p->embeddings = shape_buffer(p, p->n_tokens, is_copied ? p->architecture->d_model : 0);
    p->hidden = shape_buffer(p, p->n_tokens, is_copied ? 0 : shape_place_width(place));
    uint64_t entries = (uint64_t)p->n_tokens * sizeof(struct card_batch_token);
    for (unsigned i = 0; i < place->n_tables; i++) {
        const struct shape_table_kind *kind = &place->tables[i];
        uint64_t all = (uint64_t)n_sequences * shape_table_pages(kind, place->options.max_context);
        uint64_t pages = sequences != NULL ? count_pages(kind, sequences, n_sequences) : all;
        p->tables[i].reads = shape_take(p, entries + 4 * pages);
        p->tables[i].n_writes = sequences != NULL ? count_ends(kind->rate, sequences, n_sequences) : p->n_tokens;
        if (kind->rate == 1) continue;
        p->tables[i].writes = shape_take(p, p->tables[i].n_writes * sizeof(struct card_batch_token) + 4 * pages);
    }
    p->logit_rows = shape_take(p, 4ull * p->n_logit_rows);
    uint64_t inputs = p->used;
    if (is_copied) p->hidden = shape_buffer(p, p->n_tokens, shape_place_width(place));
    p->wanted = shape_buffer(p, p->n_logit_rows, shape_place_width(place));
    uint32_t top_k = 0;
    for (uint32_t i = place->options.first_layer; i < place->options.end_layer; i++)
        if (p->architecture->layers[i].attention.indexer.top_k > top_k)
            top_k = p->architecture->layers[i].attention.indexer.top_k;
    p->positions = shape_take(p, 4ull * p->n_tokens * top_k);
    return inputs;
}

static void write_program(struct shape_planner *p, struct shape_layer_mark *marks)
{
    struct shape_act hidden = p->hidden;
    if (starts_streams(p->place)) {
        uint32_t n = p->architecture->hyper_streams, d = p->architecture->d_model;
        const uint32_t streams[2] = {n * d, d}, same[2] = {d, 0};
        shape_copy(p, hidden.tokens, n, d, hidden.address, streams, p->embeddings.address, same);
    }
    for (uint32_t i = p->place->options.first_layer; i < p->place->options.end_layer; i++) {
        unsigned first = i > p->place->options.first_layer ? p->n_descriptors : 0;
        p->first_expert = 0;
        shape_attention(p, &hidden, i);
        shape_ffn(p, &hidden, i);
        if (marks == NULL) continue;
        marks[i - p->place->options.first_layer] = (struct shape_layer_mark){
            .layer = i,
            .first = first,
            .experts = p->first_expert != 0 ? p->first_expert : p->n_descriptors,
            .end = p->n_descriptors,
        };
    }
    p->output = hidden;
    if (shape_place_has_output(p->place)) shape_head(p, &hidden);
}

/* The plan of the largest step, in a planner whose program the caller frees; returns the bytes of its inputs. */
static uint64_t measure(const struct shape_place *place, struct shape_planner *p)
{
    const struct shape_options *options = &place->options;
    *p = (struct shape_planner){
        .architecture = place->architecture,
        .place = place,
        .is_measuring = true,
        .kv_format = options->kv_format,
        .n_tokens = options->max_tokens,
        .n_logit_rows = shape_place_has_output(place) ? options->max_logit_rows : options->max_tokens,
    };
    uint64_t inputs = begin(p, NULL, options->max_sequences);
    write_program(p, NULL);
    return inputs;
}

int shape_measure_step(const struct shape_place *place, uint64_t *bytes, struct error *err)
{
    struct shape_planner planner;
    (void)measure(place, &planner);
    *bytes = planner.peak;
    free(planner.program);
    return planner.is_out_of_memory ? error_set(err, ERROR_NO_MEMORY, "a shape program: out of memory") : 0;
}

/* Weights, then the arena, then pages would be step.c's order; the arena is small and comes last. */
static int open_step(struct shape_program *program, struct card *card, struct error *err)
{
    struct card_info info;
    uint32_t n_layers = program->place.options.end_layer - program->place.options.first_layer;
    program->input_capacity = measure(&program->place, &program->planner);
    program->inputs = memory_array(program->input_capacity, 1);
    program->marks = memory_array(n_layers, sizeof *program->marks);
    if (program->inputs == NULL || program->marks == NULL || program->planner.is_out_of_memory)
        return error_set(err, ERROR_NO_MEMORY, "a shape program: out of memory");
    program->planner.is_measuring = false;
    card_describe(card, &info);
    int result = shape_place_take(&program->place, step_arena_bank(&info), program->planner.peak, &program->arena, err);
    if (result == 0) result = shape_place_allocate(&program->place, card, err);
    if (result < 0 || program->place.options.pool_slots == 0) return result;
    return shape_place_open_pool(&program->place, &program->pool, err);
}

int shape_program_open(const struct architecture *architecture, const struct shape_options *options, struct card *card,
                       struct shape_program **out, struct error *err)
{
    struct shape_program *program = memory_array(1, sizeof *program);
    if (program == NULL) return error_set(err, ERROR_NO_MEMORY, "a shape program: out of memory");
    int result = shape_place_open(architecture, options, &program->place, err);
    if (result == 0 && (options->max_tokens == 0 || options->max_sequences == 0 || options->max_context == 0))
        result = error_set(err, ERROR_BAD_ARGUMENT, "a shape program without tokens, sequences or context");
    program->place.card = card;
    if (result == 0) result = open_step(program, card, err);
    if (result < 0) {
        shape_program_close(program);
        return result;
    }
    *out = program;
    return 0;
}

void shape_program_close(struct shape_program *program)
{
    if (program == NULL) return;
    expert_pool_close(program->pool);
    shape_place_close(&program->place);
    free(program->planner.program);
    free(program->inputs);
    free(program->marks);
    free(program);
}

static int check_step(const struct shape_program *program, const struct shape_sequence *sequences, uint32_t n,
                      uint32_t *n_tokens, uint32_t *n_logit_rows, struct error *err)
{
    const struct shape_options *options = &program->place.options;
    uint64_t tokens = 0, rows = 0;
    if (n == 0 || n > options->max_sequences)
        return error_set(err, ERROR_BAD_ARGUMENT, "a step of %u sequences (1 to %u)", n, options->max_sequences);
    for (uint32_t i = 0; i < n; i++) {
        const struct shape_sequence *s = &sequences[i];
        if (s->n_tokens == 0 || s->n_logit_rows > s->n_tokens ||
            (uint64_t)s->first_position + s->n_tokens > options->max_context)
            return error_set(err, ERROR_BAD_ARGUMENT,
                             "sequence %u: %u tokens from %u on, %u rows of logits (context %u)", i, s->n_tokens,
                             s->first_position, s->n_logit_rows, options->max_context);
        tokens += s->n_tokens;
        rows += s->n_logit_rows;
    }
    if (tokens > options->max_tokens || (shape_place_has_output(&program->place) && rows > options->max_logit_rows))
        return error_set(err, ERROR_BAD_ARGUMENT, "a step of %llu tokens and %llu rows of logits: limits are %u and %u",
                         (unsigned long long)tokens, (unsigned long long)rows, options->max_tokens,
                         options->max_logit_rows);
    *n_tokens = (uint32_t)tokens;
    *n_logit_rows = shape_place_has_output(&program->place) ? (uint32_t)rows : (uint32_t)tokens;
    return 0;
}

/* A table's page numbers behind n entries: page i of sequence s is number i * max_sequences + s, as if all grew together. */
static void fill_pages(const struct shape_program *program, const struct shape_table_kind *kind, uint8_t *table,
                       uint32_t n_entries, const struct shape_sequence *sequences, uint32_t n)
{
    uint8_t *out = table + (size_t)n_entries * sizeof(struct card_batch_token);
    for (uint32_t s = 0; s < n; s++) {
        uint32_t pages = shape_table_pages(kind, sequences[s].first_position + sequences[s].n_tokens);
        for (uint32_t i = 0; i < pages; i++, out += sizeof(uint32_t)) {
            uint32_t number = i * program->place.options.max_sequences + s;
            memcpy(out, &number, sizeof number);
        }
    }
}

/* How far positions move down so that the pages that are kept hold them: whole pages, in a window that is used again. */
static uint32_t shift_of(const struct shape_table_kind *kind, const struct shape_sequence *sequence)
{
    uint32_t end = sequence->first_position + sequence->n_tokens;
    if (kind->window == 0 || end <= kind->window) return 0;
    return (end - kind->window + CARD_PAGE_TOKENS - 1) / CARD_PAGE_TOKENS * CARD_PAGE_TOKENS;
}

static void fill_table(const struct shape_program *program, unsigned index, const struct shape_sequence *sequences,
                       uint32_t n)
{
    const struct shape_planner *p = &program->planner;
    const struct shape_table_kind *kind = &program->place.tables[index];
    uint8_t *reads = program->inputs + (p->tables[index].reads - p->arena), *out = reads;
    uint8_t *writes = kind->rate > 1 ? program->inputs + (p->tables[index].writes - p->arena) : NULL, *end = writes;
    uint32_t first_page = 0;
    for (uint32_t s = 0; s < n; s++) {
        uint32_t shift = shift_of(kind, &sequences[s]), last = sequences[s].first_position + sequences[s].n_tokens;
        for (uint32_t at = sequences[s].first_position; at < last; at++, out += sizeof(struct card_batch_token)) {
            uint32_t position = at - shift, seen = (position + 1) / kind->rate;
            struct card_batch_token token = {position / kind->rate, first_page, seen != 0 ? seen : 1, s};
            memcpy(out, &token, sizeof token);
            if (writes == NULL || (at + 1) % kind->rate != 0) continue;
            memcpy(end, &token, sizeof token);
            end += sizeof token;
        }
        first_page += shape_table_pages(kind, last);
    }
    fill_pages(program, kind, reads, p->n_tokens, sequences, n);
    if (writes != NULL) fill_pages(program, kind, writes, p->tables[index].n_writes, sequences, n);
}

static void fill_inputs(const struct shape_program *program, const struct shape_sequence *sequences, uint32_t n)
{
    for (unsigned i = 0; i < program->place.n_tables; i++) fill_table(program, i, sequences, n);
    if (!shape_place_has_output(&program->place)) return;
    uint8_t *out = program->inputs + (program->planner.logit_rows - program->planner.arena);
    uint32_t row = 0;
    for (uint32_t s = 0; s < n; s++) {
        for (uint32_t i = 0; i < sequences[s].n_tokens; i++, row++) {
            if (i < sequences[s].n_tokens - sequences[s].n_logit_rows) continue;
            memcpy(out, &row, sizeof row);
            out += sizeof row;
        }
    }
}

const struct expert_pool *shape_program_pool(const struct shape_program *program) { return program->pool; }

int shape_program_plan(struct shape_program *program, const struct shape_sequence *sequences, uint32_t n_sequences,
                       struct shape_step *step, struct error *err)
{
    struct shape_planner *p = &program->planner;
    int result = check_step(program, sequences, n_sequences, &p->n_tokens, &p->n_logit_rows, err);
    if (result < 0) return result;
    p->arena = program->arena;
    uint64_t inputs = begin(p, sequences, n_sequences);
    write_program(p, program->marks);
    if (p->is_out_of_memory) return error_set(err, ERROR_NO_MEMORY, "a shape program: out of memory");
    fill_inputs(program, sequences, n_sequences);
    bool has_output = shape_place_has_output(&program->place);
    *step = (struct shape_step){
        .program = p->program,
        .n_descriptors = p->n_descriptors,
        .marks = program->marks,
        .n_marks = program->place.options.end_layer - program->place.options.first_layer,
        .inputs = program->inputs,
        .input_bytes = inputs,
        .input_address = p->arena,
        .output_bytes = (uint64_t)p->output.tokens * p->output.cols * sizeof(float),
        .output_address = p->output.address,
    };
    if (has_output && p->n_logit_rows == 0) step->output_bytes = 0;
    return 0;
}

int shape_program_step(struct shape_program *program, const struct shape_sequence *sequences, uint32_t n_sequences,
                       struct error *err)
{
    struct card *card = program->place.card;
    struct shape_step step;
    int result = shape_program_plan(program, sequences, n_sequences, &step, err);
    if (result < 0) return result;
    float *output = memory_array(step.output_bytes, 1);
    if (output == NULL) return error_set(err, ERROR_NO_MEMORY, "a shape program: out of memory");
    card_event written = 0, computed = 0, read = 0;
    result = card_write(card, step.input_address, step.inputs, step.input_bytes, NULL, 0, &written, err);
    if (result == 0) result = card_submit(card, step.program, step.n_descriptors, &written, 1, &computed, err);
    if (result == 0 && step.output_bytes > 0)
        result = card_read(card, output, step.output_address, step.output_bytes, &computed, 1, &read, err);
    card_event last = read ? read : computed ? computed : written; /* after an error too: what runs uses the inputs */
    int waited = card_wait(card, last, 0, result < 0 ? NULL : err);
    free(output);
    return result < 0 ? result : waited;
}
