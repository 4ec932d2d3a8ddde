/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model: hyperparameters and tensors of a GGUF file, checked against its family, and the same model on a card.
 *
 * struct model is the file's side: opened, checked, nothing copied. struct loaded_model is the card's side: every
 * matrix packed into the card layout in card memory. The family's planner writes card programs over it.
 */
#ifndef SLUICE_MODEL_MODEL_H
#define SLUICE_MODEL_MODEL_H

#include "host/card/card.h"
#include "host/model/gguf.h"

struct family; /* host/model/family.h */
struct slc;    /* host/model/slc.h */

enum rope_scaling { ROPE_SCALING_NONE, ROPE_SCALING_LINEAR };

struct model_config {
    uint32_t n_layers, d_model, n_heads, n_kv_heads, head_dim, d_ff, n_vocab;
    uint32_t n_experts, n_experts_used, d_expert_ff; /* 0 in dense models */
    uint32_t context_length;                         /* what the model was trained for */
    uint32_t rope_dims;
    uint32_t attention_window; /* a token sees the last this many; 0: all */
    bool recurrent; /* sequences have states besides their pages: pages of a prefix alone do not carry one on */
    float norm_epsilon, rope_theta;
    enum rope_scaling rope_scaling;
    float rope_scaling_factor; /* with ROPE_SCALING_LINEAR */
};

struct model; /* opaque */

/*
 * Opens path, a GGUF file or a packed file (slc.h), or the embedded demo model if path is NULL: reads the header,
 * recognises the family, checks that every tensor is there with the right shape (all that are missing are listed) and
 * that the vocabulary fits. *out is owned: model_close. ERROR_UNSUPPORTED names architecture or tensor type and what
 * is supported.
 */
int model_open(const char *path, struct model **out, struct error *err);
int model_open_memory(const void *bytes, size_t n_bytes, const char *name, struct model **out, struct error *err);
/* A model file without a model: sets one of the two, which the caller closes (gguf_close, slc_close), or none on error. */
int model_open_file(const char *path, struct gguf **file, struct slc **packed, struct error *err);
void model_close(struct model *model); /* NULL is allowed; no loaded_model of it may be open */

const struct gguf *model_file(const struct model *model);  /* of a packed file: its source's header */
const struct slc *model_packed(const struct model *model); /* NULL: a GGUF file */
const struct model_config *model_get_config(const struct model *model);
const struct family *model_family(const struct model *model);
/*
 * For people and for the API's model id: the base name, without ".gguf" and split suffix, of the file, or of what a packed
 * file was packed from; or "sluice-demo".
 */
const char *model_name(const struct model *model);
uint64_t model_weight_bytes(const struct model *model);

/* Row `token` of the embedding as float32[d_model], decoded exactly. token < n_vocab. */
void model_embed(const struct model *model, uint32_t token, float *out);

/* Called on the loading thread with bytes of weights done and to do. Non-zero cancels the load (ERROR_CANCELLED). */
typedef int (*model_progress)(void *context, uint64_t done, uint64_t total);

struct model_load_options {
    model_progress progress; /* may be NULL */
    void *progress_context;
    unsigned threads;   /* for repacking; 0: one per core */
    bool exact_formats; /* refuse, by name, a matrix whose values the card does not keep */
    /*
     * Experts: slots in card memory for those of all layers together, through which they stream (expert_pool.h), at least as
     * many as a token needs in one layer. 0: each has its own. (host/experts chooses: 0 is whatever fits there.)
     */
    uint32_t expert_slots;
    bool experts_resident;       /* host/experts: each has its own, or the model is refused */
    const char *expert_policy;   /* host/experts: who gives up a slot (policy.h); NULL: its choice */
    uint32_t expert_limit_us;    /* microseconds that a program waits for experts; 0: 30 s */
    uint64_t expert_piece_bytes; /* tests: of a slot that is dealt, at least; 0: EXPERT_PIECE_BYTES */
    uint64_t expert_shuffle;     /* tests: a seed that delays and reorders the copies; 0: they are left alone */
};

/* Matrices whose values no format of the card keeps: floats, Q2_K, ... (pack.h). */
struct model_conversion {
    unsigned n_tensors;
    double relative_rms_error; /* of all converted tensors together: rms(error) / rms(value) */
    char worst_name[64];
    double worst_relative_rms_error;
};

/*
 * What model_load takes of a card in this state, in bytes and exactly: the experts' slots, and everything else.
 * ERROR_UNSUPPORTED names a tensor that such a card has no format for.
 */
struct model_card_needs {
    uint64_t expert_bytes, other_bytes;
};
int model_card_needs(const struct model *model, const struct card_info *info, struct model_card_needs *needs,
                     struct error *err);

struct loaded_model; /* opaque to all but host/model */

/* Packs all weights into card memory. card and model are borrowed until loaded_model_close. */
int model_load(const struct model *model, struct card *card, const struct model_load_options *options,
               struct loaded_model **out, struct error *err);
void loaded_model_close(struct loaded_model *loaded); /* NULL is allowed; frees its card memory */
const struct model_conversion *loaded_model_conversion(const struct loaded_model *loaded); /* n_tensors 0: none */
const struct model *loaded_model_source(const struct loaded_model *loaded);
uint32_t loaded_model_expert_slots(const struct loaded_model *loaded); /* 0: each expert has its own */

/* Whoever serves the slots of loaded: goes with it, before its card memory; close takes it. Once at most. */
void loaded_model_attach(struct loaded_model *loaded, void *server, void (*close)(void *server));
void *loaded_model_attached(const struct loaded_model *loaded);    /* NULL: nobody */
struct card *loaded_model_card(const struct loaded_model *loaded); /* borrowed: the card given to model_load */
uint64_t loaded_model_card_bytes(const struct loaded_model *loaded);

/*
 * The working memory on the card for steps of up to max_tokens tokens and max_logit_rows rows of logits, in one bank
 * (step_arena_bank), and the page pools of n_pages pages (for all layers), dealt over as many banks, from the first on, as
 * have room for their share, so that attention reads from all of them; where not even two have, each layer's lies in
 * one. Owned by the caller: step_memory_close.
 */
struct step_memory;
struct step_limits {
    uint32_t max_tokens, max_logit_rows, n_pages;
    uint32_t max_pages_in_tables; /* sum of the page-table lengths of the sequences of one step */
    unsigned kv_format;           /* enum card_format */
    uint32_t expert_slots;        /* loaded_model_expert_slots; step_memory_open knows it itself */
};
int step_memory_open(const struct loaded_model *loaded, const struct step_limits *limits, struct step_memory **out,
                     struct error *err);
void step_memory_close(struct step_memory *memory);

/* The bank for a step's activations: with most room, and of those with about as much the last, as pools begin at the first. */
static inline unsigned step_arena_bank(const struct card_info *info)
{
    uint64_t most = 0;
    for (unsigned b = 0; b < info->n_banks; b++)
        if (info->bank[b].bytes_free > most) most = info->bank[b].bytes_free;
    unsigned bank = info->n_banks - 1;
    while (bank > 0 && info->bank[bank].bytes_free < most - most / 16) bank--;
    return bank;
}

/* Bytes on the card: of one page (all layers), and of the rest of step memory for these limits on a card in this state. */
uint64_t model_page_bytes(const struct model *model, unsigned kv_format);
uint64_t model_step_bytes(const struct model *model, const struct card_info *info, const struct step_limits *limits);

/*
 * One step: n_tokens tokens of any sequences. batch[i] says position, first page entry, what is seen and the sequence's
 * state of token i (see card_program.h); pages is the concatenation of the page tables. logit_rows are indexes of the
 * tokens whose logits are wanted, ascending.
 */
struct step {
    uint32_t n_tokens;
    const uint32_t *tokens;
    const struct card_batch_token *batch;
    uint32_t n_pages;
    const uint32_t *pages;
    uint32_t n_logit_rows;
    const uint32_t *logit_rows;
};

/*
 * Embeds, plans, runs and reads back: logits[n_logit_rows][n_vocab]. Allocates nothing. On ERROR_CARD the KV pages of
 * the step's sequences are undefined. This is the only way that a token is computed.
 */
int model_step(struct loaded_model *loaded, struct step_memory *memory, const struct step *step, float *logits,
               struct error *err);

#endif
