/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/tensor_table.h"

#include "host/base/memory.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MISSING_LISTED 6 /* names in the message about missing tensors */

/* Names as in the GGUF naming scheme (ggml's docs/gguf.md, "Standardized tensor names"). */
static const struct {
    const char *suffix;
    enum tensor_kind kind;
} roles[TENSOR_ROLE_END] = {
    [TENSOR_TOKEN_EMBD] = {"token_embd.weight", TENSOR_KIND_HOST},
    [TENSOR_OUTPUT] = {"output.weight", TENSOR_KIND_MATRIX},
    [TENSOR_OUTPUT_NORM] = {"output_norm.weight", TENSOR_KIND_VECTOR},
    [TENSOR_ROPE_FREQS] = {"rope_freqs.weight", TENSOR_KIND_HOST},
    [TENSOR_ROPE_LOG] = {"rope_log.weight", TENSOR_KIND_HOST},
    [TENSOR_ROPE_LONG] = {"rope_factors_long.weight", TENSOR_KIND_HOST},
    [TENSOR_OUTPUT_NORM_BIAS] = {"output_norm.bias", TENSOR_KIND_VECTOR},
    [TENSOR_ENCODER_NORM] = {"enc.output_norm.weight", TENSOR_KIND_VECTOR},
    [TENSOR_ENCODER_DISTANCES] = {"enc.blk.0.attn_rel_b.weight", TENSOR_KIND_VECTOR},
    [TENSOR_DECODER_DISTANCES] = {"dec.blk.0.attn_rel_b.weight", TENSOR_KIND_VECTOR},
    [TENSOR_ATTN_NORM] = {"attn_norm.weight", TENSOR_KIND_VECTOR},
    [TENSOR_ATTN_Q] = {"attn_q.weight", TENSOR_KIND_MATRIX},
    [TENSOR_ATTN_K] = {"attn_k.weight", TENSOR_KIND_MATRIX},
    [TENSOR_ATTN_V] = {"attn_v.weight", TENSOR_KIND_MATRIX},
    [TENSOR_ATTN_OUTPUT] = {"attn_output.weight", TENSOR_KIND_MATRIX},
    [TENSOR_ATTN_Q_BIAS] = {"attn_q.bias", TENSOR_KIND_VECTOR},
    [TENSOR_ATTN_K_BIAS] = {"attn_k.bias", TENSOR_KIND_VECTOR},
    [TENSOR_ATTN_V_BIAS] = {"attn_v.bias", TENSOR_KIND_VECTOR},
    [TENSOR_ATTN_OUTPUT_BIAS] = {"attn_output.bias", TENSOR_KIND_VECTOR},
    [TENSOR_ATTN_Q_NORM] = {"attn_q_norm.weight", TENSOR_KIND_VECTOR},
    [TENSOR_ATTN_K_NORM] = {"attn_k_norm.weight", TENSOR_KIND_VECTOR},
    [TENSOR_FFN_NORM] = {"ffn_norm.weight", TENSOR_KIND_VECTOR},
    [TENSOR_FFN_GATE] = {"ffn_gate.weight", TENSOR_KIND_MATRIX},
    [TENSOR_FFN_UP] = {"ffn_up.weight", TENSOR_KIND_MATRIX},
    [TENSOR_FFN_DOWN] = {"ffn_down.weight", TENSOR_KIND_MATRIX},
    [TENSOR_FFN_GATE_BIAS] = {"ffn_gate.bias", TENSOR_KIND_VECTOR},
    [TENSOR_FFN_UP_BIAS] = {"ffn_up.bias", TENSOR_KIND_VECTOR},
    [TENSOR_FFN_DOWN_BIAS] = {"ffn_down.bias", TENSOR_KIND_VECTOR},
    [TENSOR_FFN_ROUTER] = {"ffn_gate_inp.weight", TENSOR_KIND_FLOAT},
    [TENSOR_FFN_GATE_EXPERTS] = {"ffn_gate_exps.weight", TENSOR_KIND_EXPERTS},
    [TENSOR_FFN_UP_EXPERTS] = {"ffn_up_exps.weight", TENSOR_KIND_EXPERTS},
    [TENSOR_FFN_DOWN_EXPERTS] = {"ffn_down_exps.weight", TENSOR_KIND_EXPERTS},
    [TENSOR_ATTN_QKV] = {"attn_qkv.weight", TENSOR_KIND_MATRIX},
    [TENSOR_ATTN_QKV_BIAS] = {"attn_qkv.bias", TENSOR_KIND_VECTOR},
    [TENSOR_ATTN_NORM_BIAS] = {"attn_norm.bias", TENSOR_KIND_VECTOR},
    [TENSOR_ATTN_POST_NORM] = {"post_attention_norm.weight", TENSOR_KIND_VECTOR},
    [TENSOR_ATTN_SINKS] = {"attn_sinks.weight", TENSOR_KIND_VECTOR},
    [TENSOR_ATTN_GATE] = {"attn_gate.weight", TENSOR_KIND_MATRIX},
    [TENSOR_FFN_NORM_BIAS] = {"ffn_norm.bias", TENSOR_KIND_VECTOR},
    [TENSOR_FFN_POST_NORM] = {"post_ffw_norm.weight", TENSOR_KIND_VECTOR},
    [TENSOR_FFN_ROUTER_BIAS] = {"ffn_gate_inp.bias", TENSOR_KIND_VECTOR},
    [TENSOR_FFN_SELECTION_BIAS] = {"exp_probs_b.bias", TENSOR_KIND_VECTOR},
    [TENSOR_FFN_GATE_EXPERTS_BIAS] = {"ffn_gate_exps.bias", TENSOR_KIND_VECTOR},
    [TENSOR_FFN_UP_EXPERTS_BIAS] = {"ffn_up_exps.bias", TENSOR_KIND_VECTOR},
    [TENSOR_FFN_DOWN_EXPERTS_BIAS] = {"ffn_down_exps.bias", TENSOR_KIND_VECTOR},
    [TENSOR_FFN_SHARED_GATE] = {"ffn_gate_shexp.weight", TENSOR_KIND_MATRIX},
    [TENSOR_FFN_SHARED_UP] = {"ffn_up_shexp.weight", TENSOR_KIND_MATRIX},
    [TENSOR_FFN_SHARED_DOWN] = {"ffn_down_shexp.weight", TENSOR_KIND_MATRIX},
    [TENSOR_FFN_SHARED_SCORE] = {"ffn_gate_inp_shexp.weight", TENSOR_KIND_FLOAT},
    [TENSOR_ATTN_Q_A] = {"attn_q_a.weight", TENSOR_KIND_MATRIX},
    [TENSOR_ATTN_Q_A_NORM] = {"attn_q_a_norm.weight", TENSOR_KIND_VECTOR},
    [TENSOR_ATTN_Q_B] = {"attn_q_b.weight", TENSOR_KIND_MATRIX},
    [TENSOR_ATTN_KV_A] = {"attn_kv_a_mqa.weight", TENSOR_KIND_MATRIX},
    [TENSOR_ATTN_KV_A_NORM] = {"attn_kv_a_norm.weight", TENSOR_KIND_VECTOR},
    [TENSOR_ATTN_K_B] = {"attn_k_b.weight", TENSOR_KIND_HEADS},
    [TENSOR_ATTN_V_B] = {"attn_v_b.weight", TENSOR_KIND_HEADS},
    [TENSOR_ATTN_SLOPE] = {"attn_slope.weight", TENSOR_KIND_FLOAT},
    [TENSOR_ATTN_OFFSET] = {"attn_slope.bias", TENSOR_KIND_VECTOR},
    [TENSOR_INDEX_SLOPE] = {"indexer.slope.weight", TENSOR_KIND_FLOAT},
    [TENSOR_INDEX_OFFSET] = {"indexer.slope.bias", TENSOR_KIND_VECTOR},
    [TENSOR_INDEX_Q_NORM] = {"indexer.q_norm.weight", TENSOR_KIND_VECTOR},
    [TENSOR_INDEX_Q_NORM_BIAS] = {"indexer.q_norm.bias", TENSOR_KIND_VECTOR},
    [TENSOR_INDEX_K] = {"indexer.attn_k.weight", TENSOR_KIND_MATRIX},
    [TENSOR_INDEX_K_NORM] = {"indexer.k_norm.weight", TENSOR_KIND_VECTOR},
    [TENSOR_INDEX_K_NORM_BIAS] = {"indexer.k_norm.bias", TENSOR_KIND_VECTOR},
    [TENSOR_INDEX_Q] = {"indexer.attn_q_b.weight", TENSOR_KIND_MATRIX},
    [TENSOR_INDEX_WEIGHTS] = {"indexer.proj.weight", TENSOR_KIND_FLOAT},
    [TENSOR_LINEAR_CONV] = {"ssm_conv1d.weight", TENSOR_KIND_VECTOR},
    [TENSOR_LINEAR_CONV_Q] = {"ssm_conv1d_q.weight", TENSOR_KIND_VECTOR},
    [TENSOR_LINEAR_CONV_K] = {"ssm_conv1d_k.weight", TENSOR_KIND_VECTOR},
    [TENSOR_LINEAR_CONV_V] = {"ssm_conv1d_v.weight", TENSOR_KIND_VECTOR},
    [TENSOR_LINEAR_DECAY_RATE] = {"ssm_a", TENSOR_KIND_VECTOR},
    [TENSOR_LINEAR_DECAY_BIAS] = {"ssm_dt.bias", TENSOR_KIND_VECTOR},
    [TENSOR_LINEAR_BETA_ALPHA] = {"ssm_ba.weight", TENSOR_KIND_FLOAT},
    [TENSOR_LINEAR_ALPHA] = {"ssm_alpha.weight", TENSOR_KIND_FLOAT},
    [TENSOR_LINEAR_BETA] = {"ssm_beta.weight", TENSOR_KIND_FLOAT},
    [TENSOR_LINEAR_DECAY_A] = {"ssm_f_a.weight", TENSOR_KIND_FLOAT},
    [TENSOR_LINEAR_DECAY_B] = {"ssm_f_b.weight", TENSOR_KIND_FLOAT},
    [TENSOR_LINEAR_GATE_A] = {"ssm_g_a.weight", TENSOR_KIND_FLOAT},
    [TENSOR_LINEAR_GATE_B] = {"ssm_g_b.weight", TENSOR_KIND_FLOAT},
    [TENSOR_LINEAR_NORM] = {"ssm_norm.weight", TENSOR_KIND_VECTOR},
    [TENSOR_LINEAR_OUTPUT] = {"ssm_out.weight", TENSOR_KIND_MATRIX},
    [TENSOR_CROSS_NORM] = {"cross_attn_norm.weight", TENSOR_KIND_VECTOR},
    [TENSOR_CROSS_Q] = {"cross_attn_q.weight", TENSOR_KIND_MATRIX},
    [TENSOR_CROSS_K] = {"cross_attn_k.weight", TENSOR_KIND_MATRIX},
    [TENSOR_CROSS_V] = {"cross_attn_v.weight", TENSOR_KIND_MATRIX},
    [TENSOR_CROSS_OUTPUT] = {"cross_attn_o.weight", TENSOR_KIND_MATRIX},
};

int tensor_table_init(struct tensor_table *table, uint32_t n_layers, struct error *err)
{
    table->n_layers = n_layers;
    table->n_entries = TENSOR_FIRST_LAYER_ROLE + (size_t)n_layers * TENSOR_ROLES_PER_LAYER;
    table->entries = memory_array(table->n_entries, sizeof *table->entries);
    if (table->entries == NULL) return error_set(err, ERROR_NO_MEMORY, "tensor table: out of memory");
    return 0;
}

void tensor_table_release(struct tensor_table *table)
{
    free(table->entries);
    *table = (struct tensor_table){0};
}

size_t tensor_table_index(enum tensor_role role, uint32_t layer)
{
    return role < TENSOR_FIRST_LAYER_ROLE ? (size_t)role : (size_t)role + (size_t)layer * TENSOR_ROLES_PER_LAYER;
}

const struct tensor_entry *tensor_table_get(const struct tensor_table *table, enum tensor_role role, uint32_t layer)
{
    return &table->entries[tensor_table_index(role, layer)];
}

enum tensor_role tensor_table_role(size_t index)
{
    if (index < TENSOR_FIRST_LAYER_ROLE) return (enum tensor_role)index;
    size_t in_layer = (index - TENSOR_FIRST_LAYER_ROLE) % TENSOR_ROLES_PER_LAYER;
    return (enum tensor_role)(TENSOR_FIRST_LAYER_ROLE + in_layer);
}

enum tensor_kind tensor_role_kind(enum tensor_role role) { return roles[role].kind; }

void tensor_table_name(size_t index, char name[TENSOR_NAME_BYTES])
{
    const char *suffix = roles[tensor_table_role(index)].suffix;
    if (index < TENSOR_FIRST_LAYER_ROLE)
        (void)snprintf(name, TENSOR_NAME_BYTES, "%s", suffix);
    else
        (void)snprintf(name, TENSOR_NAME_BYTES, "blk.%zu.%s",
                       (index - TENSOR_FIRST_LAYER_ROLE) / TENSOR_ROLES_PER_LAYER, suffix);
}

static struct tensor_entry *declare(struct tensor_table *table, enum tensor_role role, uint32_t layer, uint32_t rows,
                                    uint32_t cols)
{
    struct tensor_entry *entry = &table->entries[tensor_table_index(role, layer)];
    *entry = (struct tensor_entry){.rows = rows, .cols = cols, .experts = 1, .declared = true};
    return entry;
}

void tensor_table_add(struct tensor_table *table, enum tensor_role role, uint32_t layer, uint32_t rows, uint32_t cols)
{
    declare(table, role, layer, rows, cols);
}

void tensor_table_add_optional(struct tensor_table *table, enum tensor_role role, uint32_t layer, uint32_t rows,
                               uint32_t cols)
{
    declare(table, role, layer, rows, cols)->optional = true;
}

void tensor_table_add_experts(struct tensor_table *table, enum tensor_role role, uint32_t layer, uint32_t experts,
                              uint32_t rows, uint32_t cols)
{
    declare(table, role, layer, rows, cols)->experts = experts;
}

void tensor_table_add_heads(struct tensor_table *table, enum tensor_role role, uint32_t layer, uint32_t heads,
                            uint32_t rows, uint32_t cols)
{
    declare(table, role, layer, rows, cols)->experts = heads;
}

void tensor_table_remove(struct tensor_table *table, enum tensor_role role, uint32_t layer)
{
    table->entries[tensor_table_index(role, layer)] = (struct tensor_entry){0};
}

void tensor_table_repeat(struct tensor_table *table, enum tensor_role role, uint32_t layer, uint32_t times)
{
    table->entries[tensor_table_index(role, layer)].repeat = times;
}

void tensor_table_rename(struct tensor_table *table, enum tensor_role role, uint32_t layer, const char *suffix)
{
    table->entries[tensor_table_index(role, layer)].suffix = suffix;
}

/* As it is called in the file. */
static void name_in_file(const struct tensor_table *table, size_t index, char name[TENSOR_NAME_BYTES])
{
    const char *suffix = table->entries[index].suffix, *part = "";
    if (suffix == NULL) suffix = roles[tensor_table_role(index)].suffix;
    if (index < TENSOR_FIRST_LAYER_ROLE) {
        (void)snprintf(name, TENSOR_NAME_BYTES, "%s", suffix);
        return;
    }
    size_t layer = (index - TENSOR_FIRST_LAYER_ROLE) / TENSOR_ROLES_PER_LAYER, first = table->n_encoder_layers;
    if (first > 0) part = layer < first ? "enc." : "dec.";
    (void)snprintf(name, TENSOR_NAME_BYTES, "%sblk.%zu.%s", part, layer < first ? layer : layer - first, suffix);
}

/* Appends to a text of fixed size; what does not fit is cut. */
static void __attribute__((format(printf, 3, 4))) append(char *text, size_t size, const char *format, ...)
{
    size_t length = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text + length, size - length, format, arguments);
    va_end(arguments);
}

static int missing_error(const struct tensor_table *table, const char *architecture, struct error *err)
{
    char list[MISSING_LISTED * (TENSOR_NAME_BYTES + 2) + 32] = "";
    size_t n_missing = 0;
    for (size_t i = 0; i < table->n_entries; i++) {
        const struct tensor_entry *entry = &table->entries[i];
        if (!entry->declared || entry->optional || entry->tensor != NULL) continue;
        if (n_missing++ >= MISSING_LISTED) continue;
        char name[TENSOR_NAME_BYTES];
        name_in_file(table, i, name);
        append(list, sizeof list, "%s%s", n_missing > 1 ? ", " : "", name);
    }
    if (n_missing > MISSING_LISTED) append(list, sizeof list, " and %zu more", n_missing - MISSING_LISTED);
    return error_set(err, ERROR_BAD_FILE, "%zu tensor%s of architecture %s %s missing: %s", n_missing,
                     n_missing == 1 ? "" : "s", architecture, n_missing == 1 ? "is" : "are", list);
}

/* Vectors may have dimensions of 1 anywhere: what lies in memory is the same. */
static bool vector_fits(const struct tensor_entry *entry)
{
    const uint64_t *have = entry->tensor->dimension, want[2] = {entry->cols, entry->rows};
    unsigned n = 0, w = 0;
    uint64_t found[4];
    for (unsigned d = 0; d < 4; d++)
        if (have[d] != 1) found[n++] = have[d];
    for (unsigned d = 0; d < 2; d++) {
        if (want[d] == 1) continue;
        if (w == n || found[w] != want[d]) return false;
        w++;
    }
    return w == n;
}

static bool shape_fits(const struct tensor_entry *entry, size_t index)
{
    if (tensor_role_kind(tensor_table_role(index)) == TENSOR_KIND_VECTOR) return vector_fits(entry);
    const uint64_t *have = entry->tensor->dimension;
    return have[0] == entry->cols && have[1] == entry->rows && have[2] == entry->experts && have[3] == 1;
}

static int shape_error(const struct tensor_table *table, size_t index, const char *architecture, struct error *err)
{
    const struct tensor_entry *entry = &table->entries[index];
    char have[4 * 24] = "", want[4 * 24] = "", name[TENSOR_NAME_BYTES];
    name_in_file(table, index, name);
    for (unsigned d = 0; d < entry->tensor->n_dimensions; d++)
        append(have, sizeof have, "%s%" PRIu64, d ? ", " : "", entry->tensor->dimension[d]);
    append(want, sizeof want, "%" PRIu32, entry->cols);
    if (entry->rows > 1 || entry->experts > 1) append(want, sizeof want, ", %" PRIu32, entry->rows);
    if (entry->experts > 1) append(want, sizeof want, ", %" PRIu32, entry->experts);
    return error_set(err, ERROR_BAD_FILE, "tensor %s: shape [%s], but %s with this header needs [%s]", name, have,
                     architecture, want);
}

static int type_error(const struct tensor_table *table, size_t index, struct error *err)
{
    const struct tensor_entry *entry = &table->entries[index];
    char name[TENSOR_NAME_BYTES];
    name_in_file(table, index, name);
    return error_set(err, ERROR_UNSUPPORTED,
                     "tensor %s: type %s is not supported (supported: " GGUF_SUPPORTED_TYPES ")", name,
                     gguf_tensor_type_name(entry->tensor->type));
}

static int by_address(const void *a, const void *b)
{
    const struct gguf_tensor *const *x = a, *const *y = b;
    return (*x > *y) - (*x < *y);
}

/* "blk.N.": whether N is one of the layers that are left out. */
static bool is_left_out(const struct tensor_table *table, struct gguf_string name)
{
    static const char prefix[] = "blk.";
    const size_t first = sizeof prefix - 1;
    uint64_t layer = 0;
    size_t i = first;
    if (name.length <= first || memcmp(name.bytes, prefix, first) != 0) return false;
    for (; i < name.length && i < first + 9 && name.bytes[i] >= '0' && name.bytes[i] <= '9'; i++)
        layer = 10 * layer + (uint64_t)(name.bytes[i] - '0');
    return i > first && i < name.length && name.bytes[i] == '.' && layer >= table->n_layers &&
           layer < (uint64_t)table->n_layers + table->n_left_out_layers;
}

static size_t count_left_out(const struct tensor_table *table, const struct gguf *file)
{
    size_t n = 0;
    for (size_t i = 0; i < gguf_n_tensors(file); i++) n += is_left_out(table, gguf_tensor_at(file, i)->name);
    return n;
}

/* A tensor that nobody asked for would be left out of the sums silently, so it is an error. */
static int unknown_error(const struct tensor_table *table, const struct gguf *file, size_t n_found,
                         const char *architecture, struct error *err)
{
    size_t n_file = gguf_n_tensors(file), n = 0;
    const struct gguf_tensor **found = memory_array(n_found, sizeof *found);
    if (found == NULL) return error_set(err, ERROR_NO_MEMORY, "tensor table: out of memory");
    for (size_t i = 0; i < table->n_entries; i++)
        if (table->entries[i].tensor != NULL) found[n++] = table->entries[i].tensor;
    qsort(found, n, sizeof *found, by_address);
    int result = 0;
    for (size_t i = 0; i < n_file && result == 0; i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(file, i);
        if (bsearch(&tensor, found, n, sizeof *found, by_address) != NULL || is_left_out(table, tensor->name)) continue;
        result =
            error_set(err, ERROR_UNSUPPORTED, "tensor %.*s: architecture %s has no such tensor (%zu unknown of %zu)",
                      (int)tensor->name.length, tensor->name.bytes, architecture, n_file - n_found, n_file);
    }
    free(found);
    return result;
}

int tensor_table_resolve(struct tensor_table *table, const struct gguf *file, const char *architecture,
                         struct error *err)
{
    size_t n_found = 0;
    bool missing = false;
    for (size_t i = 0; i < table->n_entries; i++) {
        struct tensor_entry *entry = &table->entries[i];
        if (!entry->declared) continue;
        char name[TENSOR_NAME_BYTES];
        name_in_file(table, i, name);
        entry->tensor = gguf_find_tensor(file, name);
        n_found += entry->tensor != NULL;
        missing = missing || (entry->tensor == NULL && !entry->optional);
    }
    if (missing) return missing_error(table, architecture, err);
    for (size_t i = 0; i < table->n_entries; i++) {
        const struct tensor_entry *entry = &table->entries[i];
        if (entry->tensor == NULL) continue;
        if (!gguf_type_supported(entry->tensor->type)) return type_error(table, i, err);
        if (!shape_fits(entry, i)) return shape_error(table, i, architecture, err);
    }
    table->n_left_out = count_left_out(table, file);
    if (n_found + table->n_left_out < gguf_n_tensors(file))
        return unknown_error(table, file, n_found, architecture, err);
    return 0;
}
