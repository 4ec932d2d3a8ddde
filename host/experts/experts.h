/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where experts live. The rule:
 *
 *   all fit beside the other weights    each has a slot of its own, from loading to closing, unless fewer are asked for.
 *   they do not, or fewer slots asked   everything else is resident, and experts stream from host memory, or from a packed
 *                                       file, through slots that the layers share (expert_pool.h): as many as asked for, or
 *                                       three quarters of what the other weights leave. KV pages and the memory of a step
 *                                       have the rest.
 *
 * One pool for all layers and not one for each: while a layer computes it may hold all of its experts, so that a prompt
 * brings each expert of a layer once however few slots there are for each layer; and layers with more traffic get more.
 * A model that does not fit at all is refused before the first byte moves, with what fits and what does not.
 */
#ifndef SLUICE_EXPERTS_EXPERTS_H
#define SLUICE_EXPERTS_EXPERTS_H

#include "host/model/model.h"

struct routing_recorder; /* routing_recorder.h */

/* How a model's experts go with a card's free memory. */
struct experts_residency {
    uint32_t n_layers, n_experts; /* slots that the model has: n_layers * n_experts; 0 and 0 if it is dense */
    uint32_t n_resident;          /* experts of each layer that have room beside the other weights, at most n_experts */
    uint64_t expert_bytes;        /* on the card, all experts */
    uint64_t other_bytes;         /* on the card, all other weights */
    uint64_t free_bytes;          /* of the card, now, in all banks */
    bool fits;                    /* all weights have room; KV pages and activations come on top */
    uint64_t slot_bytes;          /* of one slot, where experts stream; 0: the model is dense */
    uint64_t streaming_bytes;     /* on the card, all other weights, where experts stream */
    uint32_t n_slots;             /* what the rule gives to streaming */
};

/* ERROR_UNSUPPORTED if the card has no format for a tensor; that a model does not fit is no error here. */
int experts_measure(const struct model *model, const struct card *card, struct experts_residency *residency,
                    struct error *err);

/*
 * model_load with that rule: the same arguments and the same result, and ERROR_NO_MEMORY with the numbers of
 * experts_measure if the weights do not fit. options->expert_slots 0: the rule decides. Experts that stream are served
 * until loaded_model_close; one model of a card can have them, else ERROR_BUSY.
 */
int experts_load(const struct model *model, struct card *card, const struct model_load_options *options,
                 struct loaded_model **out, struct error *err);

/*
 * The same over several cards, each with layers that follow each other (host/model/division.h); of one card it is experts_load.
 * *out is the part on cards[0], joined with the others. options->expert_slots is of each card. Errors name the card.
 * ERROR_BAD_ARGUMENT for more cards than layers, or than places to cut between them (model_may_cut); ERROR_NO_MEMORY says what
 * all cards have and what would do. (experts_cards.c)
 */
int experts_load_cards(const struct model *model, struct card *const *cards, unsigned n_cards,
                       const struct model_load_options *options, struct loaded_model **out, struct error *err);

/* Of one part: its layers, and what is on its card; without a newline. */
#define EXPERTS_PART_BYTES 160
void experts_describe_part(const struct loaded_model *part, char line[EXPERTS_PART_BYTES]);

#define EXPERTS_LINE_BYTES 320

/* How card memory is divided now, for people: a line without a newline. false: experts do not stream, and none is written. */
bool experts_describe(const struct loaded_model *loaded, char line[EXPERTS_LINE_BYTES]);

/* What experts have done in one layer since loading. An expert counts once for all tokens that are computed together. */
struct experts_traffic {
    uint64_t hits, misses; /* in its slot when it was chosen, or not */
    uint64_t ahead;        /* read before it was chosen; of these were chosen: */
    uint64_t ahead_used;
    uint64_t bytes;        /* that came for misses and ahead */
    uint64_t used_bytes;   /* of these, of experts that have been chosen while they were there */
    uint64_t wasted_bytes; /* ahead and for nothing: of experts that left unused, or of which not all was brought */
    uint64_t stall_ps;     /* of the card's clock, in AWAIT; 0 on cards without one */
};

/* Of one layer, or summed up. false: experts do not stream, and all is 0. From any thread. */
bool experts_count(const struct loaded_model *loaded, uint32_t layer, struct experts_traffic *traffic);
bool experts_count_all(const struct loaded_model *loaded, struct experts_traffic *traffic);

/* Counts what the last layer's AWAIT took, which is known once its step is over. The card's thread, between steps. */
void experts_settle(struct loaded_model *loaded);

/* Where guesses at a layer's experts come from (guesses.h), which the options' expert_guess names. */
enum experts_guess { EXPERTS_GUESS_ROUTER, EXPERTS_GUESS_TABLE, EXPERTS_GUESSES };

/* "router", "table"; NULL past the last. Static. */
const char *experts_guess_name(unsigned source);

/*
 * Whether a value of expert_guess is one: "none", the name of a source, or "both". A layer's guesses count where the expert had
 * no slot and chances were at least even.
 */
bool experts_guess_known(const char *name);

struct experts_guessed {
    uint64_t right, wrong;               /* of all such guesses */
    uint64_t sent, wasted, wasted_bytes; /* brought before they were chosen; of these were not chosen */
    uint64_t switched;                   /* times that a layer was switched off or on again */
};

/* Of all layers. false: nobody guesses, and all is 0. From any thread. */
bool experts_count_guesses(const struct loaded_model *loaded, enum experts_guess source,
                           struct experts_guessed *guessed);

/* loaded owns the recorder, which all its parts write to from now on; NULL: they write to none. */
void experts_record(struct loaded_model *loaded, struct routing_recorder *recorder);

/*
 * With record_routing: around each step, on the card's thread (nothing else without it); and the end of recording, which
 * completes the file and tells what went wrong with it.
 */
void experts_begin_step(struct loaded_model *loaded, const struct step *step);
void experts_end_step(struct loaded_model *loaded);
int experts_end_recording(struct loaded_model *loaded, struct error *err);

/* Real time, in ns, that programs have waited for experts, and that copies of experts have taken. */
struct experts_times {
    uint64_t waited_ns, copied_ns;
};
void experts_measure_times(const struct loaded_model *loaded, struct experts_times *times);

#endif
