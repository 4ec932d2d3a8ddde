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

enum rope_scaling { ROPE_SCALING_NONE, ROPE_SCALING_LINEAR, ROPE_SCALING_YARN };

/* Layers of one model may rotate by two tables: all by the first, or those that say so by the second. */
enum rope_table { ROPE_TABLE_MAIN, ROPE_TABLE_LOCAL, ROPE_TABLES };

enum layer_attention {
    LAYER_HEADS,  /* keys and values of each KV head */
    LAYER_LATENT, /* MLA: one latent and one rotated key a token, for all heads */
    LAYER_LINEAR, /* gated delta rule: a state for each head, no pages */
};

/* What may differ from layer to layer. */
struct layer_config {
    enum layer_attention attention;
    uint32_t n_heads, n_kv_heads; /* LINEAR: heads of values, heads of keys */
    uint32_t rope_dims;           /* 0: positions do not turn query and key */
    enum rope_table rope;
    uint32_t window, chunk; /* tokens seen; 0: all */
    bool is_local;          /* one of the layers that slide, whatever the window */
    bool scales_query;      /* by model_config.query_scale */
    bool shares_kv;         /* the pages are those of layer kv_layer, which comes before */
    uint32_t kv_layer;
    bool norms_after_rope;   /* query and key by RMSNorm without a weight, after the rotation */
    bool indexes, is_sparse; /* has an indexer; attends to what the last indexer chose */
    bool has_experts;        /* else a dense FFN */
    bool is_elsewhere;       /* of a part of a model (model_part_open): another part has this layer */
    float ffn_limit;         /* activation below it, the other operand within +- it; 0: none */
    float shared_limit;      /* of the shared expert */
};

/* MLA. Heads have nope_dims dimensions that do not turn and rope_dims that do. */
struct latent_config {
    uint32_t query_rank; /* 0: query is one matrix */
    uint32_t kv_rank, nope_dims, rope_dims, value_dims;
    bool folds; /* heads of layers that do not turn have all of their dimensions in the latent */
};

/* Layers of the gated delta rule. */
struct linear_config {
    uint32_t key_dims, value_dims, conv_width;
    bool tiled_keys;    /* value head h has key head h % n_kv_heads, else h / (n_heads / n_kv_heads) */
    bool channel_decay; /* a decay for each key dimension, not for each head */
    uint8_t activation; /* enum card_activation of the output's gate */
};

/* Which keys a token attends to, in layers with an indexer. */
struct index_config {
    uint32_t n_heads, head_dim, top_k;
    bool interleaved;
};

/* How experts are chosen. */
struct router_config {
    uint8_t scoring;   /* enum card_scoring */
    bool renormalize;  /* weights divided by their sum */
    bool scales_input; /* the weight multiplies the expert's input, not its output */
    float scale;       /* on the weights */
    uint32_t n_groups, n_groups_used;
    uint32_t d_shared_ff; /* all shared experts together; 0: none */
    bool has_shared_gate; /* their result times the sigmoid of one value */
};

/* A factor on the query of layers that say scales_query: 1 + beta * ln(1 + floor((position + shift) / period)). */
struct query_scale {
    bool is_logarithm; /* ln(1 + position) alone, from which layers make a factor for each head */
    float beta;
    uint32_t period; /* 0: none */
    uint32_t shift;
};

struct model_config {
    uint32_t n_layers, d_model, n_heads, n_kv_heads, head_dim, d_ff, n_vocab;
    uint32_t n_experts, n_experts_used, d_expert_ff; /* 0 in dense models */
    uint32_t context_length;                         /* what the model was trained for */
    uint32_t rope_dims;
    bool recurrent; /* sequences have states besides their pages: pages of a prefix alone do not carry one on */
    /* Layers after the last one that predict further tokens (DeepSeek-V3's MTP): left out. */
    uint32_t n_prediction_layers;
    uint32_t n_prediction_tensors; /* that a folder of safetensors left out already */
    /* Encoder and decoder: the encoder's layers come first, and all of n_layers are both. */
    uint32_t n_encoder_layers; /* 0: the model has no encoder */
    uint32_t start_token;      /* what a decoder begins with */
    uint32_t distance_buckets; /* of what is added to scores by distance; 0: nothing is */
    uint32_t distance_most;    /* longer ones count as this */
    float norm_epsilon, rope_theta;
    enum rope_scaling rope_scaling;
    float rope_scaling_factor; /* with ROPE_SCALING_LINEAR and YARN */

    struct layer_config *layers; /* owned by the model; [n_layers] */
    /* Rotation. */
    bool rope_interleaved;    /* pairs are neighbours, else half the rotated dimensions apart */
    float rope_local_theta;   /* of ROPE_TABLE_LOCAL, whose frequencies are not scaled */
    uint32_t rope_local_dims; /* 0: no layer has it */
    float rope_factor;        /* on sine and cosine */
    uint32_t rope_original;   /* context before scaling (YaRN, long rope) */
    bool rope_has_long;       /* other factors for contexts beyond rope_original */
    float yarn_beta_fast, yarn_beta_slow;
    bool yarn_exact_range; /* the range of turning frequencies is not rounded */
    /* Attention. */
    float attention_scale; /* on the scores */
    float score_cap;       /* soft-cap of the scores; 0: none */
    struct query_scale query_scale;
    struct latent_config latent;
    struct linear_config linear;
    struct index_config index;
    /* Layers. */
    bool layer_norm;            /* norms subtract the mean */
    bool gated_query;           /* the matrix of the query makes a gate of its result, too */
    bool fused_up;              /* the FFN has gate and up in one matrix, gate first */
    bool is_parallel;           /* attention and FFN read the same hidden state */
    bool one_norm;              /* and the same norm of it */
    uint8_t activation;         /* enum card_activation of the FFN */
    float activation_steepness; /* of SWIGLU_OAI */
    struct router_config router;
    /* The ends. */
    float embedding_scale, logit_scale; /* 1: none */
    float logit_cap;                    /* 0: none */
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

/*
 * Layers [first, end) of model alone, for one card of several: a model without the tensors of the others, which says so of them
 * (is_elsewhere). The first layer's part has the embedding, the last one's the end of the model. Everything that takes a model
 * takes a part, which needs and gets its own memory only. Owned: model_close; model is borrowed until then.
 * ERROR_BAD_ARGUMENT for layers that model has not.
 */
int model_part_open(const struct model *model, uint32_t first, uint32_t end, struct model **out, struct error *err);
void model_part_layers(const struct model *part, uint32_t *first, uint32_t *end); /* of a whole model: all */

/* Whether a part may begin with this layer: not so where what an earlier layer's indexer chose is still used. */
bool model_may_cut(const struct model *model, uint32_t layer);

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
/* Tensors of layers that predict further tokens, which nothing here uses. 0: the file has none. */
size_t model_left_out(const struct model *model);

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
    const char *record_routing;  /* host/experts: a file for the routers' choices (routing_recorder.h); NULL: none */
    uint32_t expert_limit_us;    /* microseconds that a program waits for experts; 0: 30 s */
    uint64_t expert_piece_bytes; /* tests: of a slot that is dealt, at least; 0: as expert_pool_least_piece */
    const char *expert_guess; /* host/experts: who guesses what the next layer chooses (experts.h); NULL: its choice */
    bool plans_guesses;       /* host/experts: programs run the next layer's router ahead */
    uint64_t expert_pace;     /* benches: bytes per second that experts are copied with at most; 0: no limit */
    uint64_t expert_shuffle;  /* tests: a seed that delays and reorders the copies; 0: they are left alone */
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

/*
 * Joins the parts of one model, each on a card of its own: what is done with `loaded`, the part with the first layers, is
 * done with all (steps, their memory, closing). next and its part's model (if owned) then belong to loaded.
 */
void loaded_model_join(struct loaded_model *loaded, struct loaded_model *next);
struct loaded_model *loaded_model_next(const struct loaded_model *loaded); /* the part that follows; NULL: none */

/* Picoseconds that the part's card had nothing to do while others worked, at the end of the last step; from any thread. */
uint64_t loaded_model_waited(const struct loaded_model *part);

/* loaded owns the part that it was loaded from, from now on. */
void loaded_model_own_part(struct loaded_model *loaded, struct model *part);

/* Steps go through the cards whole, not in groups of tokens (relay.c): for who needs to see a step at once. First part. */
void loaded_model_keep_whole(struct loaded_model *loaded);

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
    uint32_t n_states;            /* sequences with a state of their own (recurrent models) */
    uint32_t context;             /* positions are below it; 0: the model's own limit */
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
 *
 * Of a model with an encoder there are two kinds of steps. One that `encodes` has all tokens of what one sequence's
 * encoder reads, each of which sees all of them, and no rows of logits: what it leaves in their pages is for the decoder.
 * In the others sources[i] says which pages, and how many positions of them, token i's sequence got from its encoder.
 */
struct step {
    uint32_t n_tokens;
    const uint32_t *tokens;
    const struct card_batch_token *batch;
    uint32_t n_pages;
    const uint32_t *pages;
    uint32_t n_logit_rows;
    const uint32_t *logit_rows;
    bool encodes;
    const struct card_batch_token *sources; /* NULL: the model has no encoder, or the step encodes */
};

/*
 * Embeds, plans, runs and reads back: logits[n_logit_rows][n_vocab]. Allocates nothing. On ERROR_CARD the KV pages of
 * the step's sequences are undefined. This is the only way that a token is computed.
 */
int model_step(struct loaded_model *loaded, struct step_memory *memory, const struct step *step, float *logits,
               struct error *err);

#endif
