/* SPDX-License-Identifier: Apache-2.0 */
/* What the readers of architectures share. Nobody outside host/plan includes this. */
#ifndef SLUICE_PLAN_ARCHITECTURE_INTERNAL_H
#define SLUICE_PLAN_ARCHITECTURE_INTERNAL_H

#include "host/plan/architecture.h"
#include "host/plan/config_reader.h"
#include "kernels/abi/card_layout.h"
#include "kernels/abi/card_program.h"

/*
 * Far beyond any model there is, and small enough that no size computed from them overflows 64 bits: tokens * experts used *
 * width is at most 2^12 * 2^8 * 2^24.
 */
#define ARCHITECTURE_MAX_WIDTH (1u << 20)
#define ARCHITECTURE_MAX_FFN_WIDTH (1u << 24)
#define ARCHITECTURE_MAX_HEADS 4096u
#define ARCHITECTURE_MAX_VOCAB (1u << 26)
#define ARCHITECTURE_MAX_EXPERTS 4096u
#define ARCHITECTURE_MAX_CHOICES 256u

/* n_layers zeroed layers; ERROR_NO_MEMORY. *out is owned: architecture_close. */
int architecture_new(uint32_t n_layers, struct architecture **out, struct error *err);

/* ERROR_TOO_LARGE if its parameters are more than sums of bytes can take; name is for the message. */
int architecture_check_size(const struct architecture *architecture, const char *name, struct error *err);

/* Text into one of its fields, cut if it is longer. */
void architecture_put_text(char *field, size_t size, const char *text);

/*
 * The formats in which a card holds a model released as `experts` and `rest` ("bf16", "fp8", "int4", "mxfp4"): what has 4 bits
 * keeps them, the rest of such a model is INT8; a model without 4-bit weights counts as quantized to INT4, its output
 * matrix to INT8.
 */
void architecture_default_formats(struct architecture *architecture, const char *experts, const char *rest);

/*
 * Reads a config.json's text. name is for messages and, unless the config says better, the architecture's. (config_json.c)
 */
int config_json_read(const char *text, size_t length, const char *name, struct architecture **out, struct error *err);
/* The same of an object that is open already; text is where it stands, for line numbers. */
int config_json_object(json_t *object, const char *text, const char *name, struct architecture **out,
                       struct error *err);

/* Fills all layers by the family of model_type; ERROR_UNSUPPORTED in reader if no family has it. (config_families.c) */
void config_read_layers(struct config_reader *reader, const char *model_type, struct architecture *architecture);
/* Whether the family ties its output matrix to the embedding when the config does not say. */
bool config_family_tied(const char *model_type);

/* The header of a GGUF file, or of what a .slc was packed from. (architecture_gguf.c) */
int architecture_from_gguf(const char *path, struct architecture **out, struct error *err);

#endif
