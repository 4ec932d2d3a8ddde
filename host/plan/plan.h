/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a model does on cards that need not exist: what lies where, how fast, with what energy, and what limits it. Needs
 * no weights. The times are those of real card programs (shape_program.h) on a simulated card that keeps a clock and
 * computes nothing (`sim:PROFILE,timing`), driven through host/card as the engine drives it; README.md states the rules.
 */
#ifndef SLUICE_PLAN_PLAN_H
#define SLUICE_PLAN_PLAN_H

#include "host/base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define PLAN_MAX_CARDS 256u
#define PLAN_MAX_BATCH 1024u
#define PLAN_MEMORY_CLASSES 2 /* of a card, at most: HBM and DDR */
#define PLAN_MEMORY_ROWS 12   /* of the memory table, at most */
#define PLAN_BATCHES 4        /* 1, 8, 32 and the one asked for */
#define PLAN_PROMPTS 2        /* a short and a long one */
#define PLAN_RESOURCES 16     /* of a card's clock, at most */
#define PLAN_ENERGY_KINDS 12  /* at most */
#define PLAN_CHANGES 8        /* that would go faster, at most */
#define PLAN_SOURCES 160      /* of figures, at most */
#define PLAN_DEFAULT_CONTEXT 4096u
#define PLAN_DEFAULT_PROMPT 1024u
#define PLAN_LONG_PROMPT 32768u

struct architecture;

/* Where the experts of a model lie that the cards do not hold. */
enum plan_experts {
    PLAN_EXPERTS_AUTO, /* the first of the others that fits */
    PLAN_EXPERTS_RESIDENT,
    PLAN_EXPERTS_HOST,
    PLAN_EXPERTS_NVME,
};
const char *plan_experts_name(enum plan_experts experts); /* "resident"; static storage */

struct plan_request {
    const struct architecture *architecture; /* borrowed */
    const char *card;                        /* a built-in profile's name, or the path of one */
    const char *host;                        /* NULL: the card's default host */
    uint32_t cards;                          /* 1 to PLAN_MAX_CARDS */
    uint32_t context;       /* tokens that each sequence has room for; 0: PLAN_DEFAULT_CONTEXT, or less */
    uint32_t batch;         /* sequences that have such room */
    uint32_t depth;         /* tokens in each sequence when decoding is timed; 0: 1024 or less */
    uint32_t prompt;        /* tokens of the short prompt; 0: PLAN_DEFAULT_PROMPT */
    unsigned kv_format;     /* enum card_format of KV pages */
    unsigned weight_format; /* enum card_format of matrices; 0: the model's own */
    enum plan_experts experts;
    double eur_per_kwh; /* below 0: the host profile's */
    bool no_changes;    /* leave out what would go faster */
};

struct plan_memory_row {
    const char *what;                   /* static storage: "expert weights" */
    uint64_t card[PLAN_MEMORY_CLASSES]; /* bytes on all cards together, by memory class */
    uint64_t host, nvme;                /* bytes */
};

struct plan_memory {
    bool fits;
    char reason[640]; /* why not, or why not resident; "": all is resident */
    char note[200];   /* on how its memory is used; "": nothing to say */
    unsigned n_classes, n_rows;
    char class_name[PLAN_MEMORY_CLASSES][16];
    uint64_t class_bytes[PLAN_MEMORY_CLASSES]; /* of all cards */
    uint64_t host_bytes, nvme_bytes;           /* what the host profile has; 0: not known */
    struct plan_memory_row row[PLAN_MEMORY_ROWS];
    enum plan_experts experts; /* decided */
    double resident_share;     /* of the experts, on the cards */
    double hit_rate;           /* of the experts that tokens choose; 1 if all are resident */
    char assumption[300];      /* that the hit rate rests on; "" if all are resident */
    uint32_t max_sequences;    /* of the context that have room, up to PLAN_MAX_BATCH */
};

struct plan_share {
    char name[16]; /* "HBM", "host to card", "static" */
    double share;  /* 0 to 1 */
};

/* Decoding with so many sequences. */
struct plan_decode {
    uint32_t batch;
    bool fits;
    enum plan_experts experts;               /* where they are with so many sequences */
    uint64_t step_ps;                        /* virtual time from step to step */
    double tokens_per_s, watts, j_per_token; /* of the cards */
    double host_watts, host_j_per_token;     /* of the host beside them */
    double eur_per_million;                  /* for both */
    double weight_bytes, kv_bytes;           /* that the cards read in a step */
    double streamed_bytes;                   /* experts that come over the link in a step */
    unsigned n_used;
    struct plan_share used[PLAN_RESOURCES]; /* share of the time that the busiest of its kind is busy */
    unsigned limit;                         /* index of the one that limits */
    unsigned n_energy;
    struct plan_share energy[PLAN_ENERGY_KINDS]; /* share of the joules, the host's included */
};

/* A prompt that arrives alone. */
struct plan_prefill {
    uint32_t prompt; /* tokens; 0: not asked for */
    bool fits;
    char why_not[160]; /* if it does not */
    bool sampled;      /* some chunks were run, those between interpolated */
    uint64_t first_token_ps;
    double tokens_per_s; /* of the prompt alone, without the logits of the first token */
    double j_per_token;  /* of the cards, per token of the prompt */
};

/* A change, and what the plan says with it. */
struct plan_change {
    char text[160];
    double tokens_per_s; /* at the batch that was asked for */
};

struct plan_source {
    char what[64], value[48], source[480];
};

struct plan {
    char model[128], model_source[256];
    char card[64], card_title[64], host[64], host_title[64]; /* names of profiles, and what people call them */
    char weight_format[32], kv_format[8];
    uint32_t cards, context, batch, depth, chunk;
    bool has_experts;
    uint64_t parameters, active_parameters; /* all, and those that one token uses */
    uint64_t weight_bytes;                  /* as they lie on cards and host */
    double eur_per_kwh, peak_bytes_per_s;   /* of all memory of one card */
    struct plan_memory memory;
    unsigned n_decode;
    struct plan_decode decode[PLAN_BATCHES];
    unsigned asked; /* index in decode of the batch that was asked for */
    struct plan_prefill prefill[PLAN_PROMPTS];
    unsigned n_changes;
    struct plan_change change[PLAN_CHANGES];
    char smallest[320]; /* if it does not fit: the smallest set of cards that would hold it, or that none does */
    unsigned n_sources;
    struct plan_source source[PLAN_SOURCES];
};

/*
 * Plans. That the model does not fit is no error: memory.fits is false. ERROR_BAD_ARGUMENT names what is asked for and
 * cannot be, ERROR_NOT_FOUND a profile that there is not.
 */
int plan_make(const struct plan_request *request, struct plan *out, struct error *err);

#endif
