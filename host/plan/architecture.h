/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model without its weights: the numbers that say how large its matrices are and in which order a token meets them.
 * They come from a built-in name (architectures/, with the source of each), a Hugging Face config.json, or the header of a
 * model file. Nothing is guessed: what a config does not say and its published class does not default to is an error.
 */
#ifndef SLUICE_PLAN_ARCHITECTURE_H
#define SLUICE_PLAN_ARCHITECTURE_H

#include "host/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARCHITECTURE_MAX_LAYERS 1024u
#define ARCHITECTURE_NAME_BYTES 64
#define ARCHITECTURE_SOURCE_BYTES 640

enum attention_kind {
    ATTENTION_HEADS,      /* keys and values of each KV head: multi-head, grouped (GQA), multi-query */
    ATTENTION_LATENT,     /* MLA: one latent and one rotated key a token, for all heads */
    ATTENTION_LINEAR,     /* gated delta rule: a state for each head instead of pages */
    ATTENTION_COMPRESSED, /* one vector a token is key and value; beyond the window only every rate-th, compressed */
};

/* Which vectors RMSNorm sees in query and key before the rotation. */
enum query_key_norm { QUERY_KEY_NORM_NONE, QUERY_KEY_NORM_HEAD, QUERY_KEY_NORM_ALL, QUERY_KEY_NORM_UNWEIGHTED };

/* What attention's result is multiplied with before the output matrix: nothing, sigmoid of one or of head_dim values a head. */
enum attention_gate { ATTENTION_GATE_NONE, ATTENTION_GATE_HEAD, ATTENTION_GATE_ELEMENT };

/* Scores positions for the sparse attention of its layer. top_k 0: the layer has none. */
struct indexer {
    uint32_t heads, head_dim, top_k;
    bool shared; /* the layer uses the choice of the last layer before it that has an indexer of its own */
};

struct attention_shape {
    enum attention_kind kind;
    uint32_t heads, kv_heads;            /* LINEAR: value heads and key heads */
    uint32_t key_dim, value_dim;         /* of one head; LATENT: key_dim counts the rotated part; COMPRESSED: equal */
    uint32_t rope_dims;                  /* rotated dimensions of a head; 0: no rotation */
    uint32_t window, chunk;              /* tokens seen; 0: all */
    uint32_t query_rank;                 /* LATENT, COMPRESSED: width of the query's latent; 0: query is one matrix */
    uint32_t kv_rank;                    /* LATENT: width of the latent, without the rotated key */
    uint32_t output_groups, output_rank; /* COMPRESSED: the output matrix in two, the first in groups; 0: one matrix */
    uint32_t compress_rate;              /* COMPRESSED: tokens of one compressed entry; 0: window only */
    uint32_t conv_width;                 /* LINEAR */
    uint32_t decay_rank; /* LINEAR: decay of each channel by two matrices of this width; 0: one value a head */
    enum query_key_norm query_key_norm;
    enum attention_gate gate;
    bool query_key_value_bias, output_bias, sinks;
    bool each_head_norm; /* QUERY_KEY_NORM_HEAD: a weight for each head */
    bool no_rotation;    /* LATENT: the part of rope_dims is there and does not turn */
    float score_cap;     /* soft-cap of the scores; 0: none */
    struct indexer indexer;
};

enum router_scoring { ROUTER_SOFTMAX, ROUTER_SIGMOID };

enum ffn_activation { FFN_SILU, FFN_GELU, FFN_RELU, FFN_SWIGLU_OAI };

struct ffn_shape {
    uint32_t width;        /* of the dense FFN; 0: none (the layer has experts) */
    uint32_t experts;      /* 0: dense */
    uint32_t experts_used; /* of a token */
    uint32_t expert_width;
    uint32_t shared_width; /* of all shared experts together; 0: none */
    bool shared_gate;      /* the shared expert's result is multiplied by the sigmoid of one value */
    uint32_t router_groups, router_groups_used; /* 0 or 1: no groups */
    enum router_scoring scoring;
    bool router_bias;       /* added to the scores for the choice, not for the weights */
    bool router_logit_bias; /* the router's matrix has a bias */
    bool renormalize;       /* weights divided by their sum */
    bool scaled_input;      /* the weight multiplies the expert's input, not its output */
    bool expert_bias;
    enum ffn_activation activation;
};

/* The matrices of a layer, by what they are for: each has a format of its own. */
enum weight_role {
    WEIGHT_QUERY, /* and what else makes queries: latents, indexer, in-projections of LINEAR */
    WEIGHT_KEY,
    WEIGHT_VALUE,
    WEIGHT_ATTENTION_OUTPUT,
    WEIGHT_GATE, /* of the dense FFN and of shared experts */
    WEIGHT_UP,
    WEIGHT_DOWN,
    WEIGHT_EXPERT_GATE,
    WEIGHT_EXPERT_UP,
    WEIGHT_EXPERT_DOWN,
    WEIGHT_ROLES
};

struct architecture_layer {
    struct attention_shape attention;
    struct ffn_shape ffn;
    uint8_t formats[WEIGHT_ROLES]; /* enum card_format */
};

struct architecture {
    char name[ARCHITECTURE_NAME_BYTES];       /* as people write it, or the file's */
    char model_type[ARCHITECTURE_NAME_BYTES]; /* of the config, or general.architecture */
    char source[ARCHITECTURE_SOURCE_BYTES];   /* where the numbers are published */
    char released_as[32];                     /* the format of the released weights: "bf16", "fp8", "mxfp4", ... */
    uint32_t n_layers;                        /* without those for multi-token prediction, which are not run */
    struct architecture_layer *layers;        /* owned; [n_layers] */
    uint32_t d_model, n_vocab, max_context;
    bool tied;              /* the embedding is the output matrix too */
    bool post_norms;        /* a norm after attention and after the FFN too */
    bool pre_norms;         /* a norm before them */
    bool parallel;          /* attention and FFN read the same norm's result */
    bool layer_norm;        /* the mean is subtracted, too */
    bool interleaved_rope;  /* pairs (2i, 2i + 1) */
    uint32_t hyper_streams; /* residual streams that hyper-connections mix; 0 or 1: one */
    float logit_cap;        /* soft-cap of the logits; 0: none */
    float logit_scale;      /* 0: none */
    float norm_epsilon;
    uint8_t output_format; /* enum card_format of the output matrix */
};

/* What the published config calls its weights may differ from what a card holds: formats of all layers by kind of matrix. */
struct architecture_formats {
    unsigned attention, ffn, experts, output; /* enum card_format; 0: as it is */
};
void architecture_set_formats(struct architecture *architecture, const struct architecture_formats *formats);

/* Of the whole model, and of what one token is multiplied with (embedding counted once, not read whole). */
struct architecture_parameters {
    uint64_t total, active;
};
void architecture_count(const struct architecture *architecture, struct architecture_parameters *parameters);

/* "GQA", "GQA, window", "MLA, sparse", "linear", ... Static storage. */
const char *attention_kind_name(const struct attention_shape *attention);

/*
 * The built-in name, upper or lower case, or one of its aliases. *out is owned: architecture_close. ERROR_NOT_FOUND lists
 * the names there are; for one whose published config was not found, it says so.
 */
int architecture_by_name(const char *name, struct architecture **out, struct error *err);

/* A config.json of Hugging Face, a folder with one, a .gguf or a .slc, whose formats are the file's; NULL: the demo model. */
int architecture_from_file(const char *path, struct architecture **out, struct error *err);

void architecture_close(struct architecture *architecture); /* NULL is allowed */

/* The built-in names in order of the alphabet; index from 0, false after the last. */
struct architecture_name {
    char name[ARCHITECTURE_NAME_BYTES], source[ARCHITECTURE_SOURCE_BYTES];
    char missing[128]; /* why it is left out; empty for those that are there */
};
bool architecture_list(size_t index, struct architecture_name *out);

#endif
