/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The validator of card programs: after it has passed, a backend may trust every opcode, flag, format, shape, parameter
 * and operand, and that each EXTENDED descriptor is followed by its EXTENSION. What the tables in card memory say (page
 * numbers, states, experts, indexes) is checked by who runs the program.
 */
#ifndef SLUICE_CARD_CHECK_H
#define SLUICE_CARD_CHECK_H

#include "host/base/error.h"
#include "kernels/abi/card_program.h"

#include <stdint.h>

struct card_check_limits {
    uint32_t abi_version, weight_formats, kv_formats; /* as in struct card_info */
    uint32_t n_banks;                                 /* over which a matrix may be dealt */
    /* Bytes from address to the end of the allocation that holds it; 0 if none does. */
    uint64_t (*extent)(const void *context, card_addr address);
    const void *context;
};

/*
 * ERROR_BAD_ARGUMENT names the first wrong descriptor's index, opcode and field; fields of an extension are "E.src" and
 * so on, under index and opcode of the descriptor that it extends.
 */
int card_check(const struct card_descriptor *program, unsigned n_descriptors, const struct card_check_limits *limits,
               struct error *err);

#endif
