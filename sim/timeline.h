/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a card with a virtual clock was busy with, and when: the events of its timeline. Times are picoseconds of virtual
 * time since the card was opened.
 */
#ifndef SLUICE_SIM_TIMELINE_H
#define SLUICE_SIM_TIMELINE_H

#include "kernels/abi/card_program.h"

#include <stdint.h>

#define TIMELINE_PS_PER_NS UINT64_C(1000)
#define TIMELINE_PS_PER_US UINT64_C(1000000)
#define TIMELINE_PS_PER_S UINT64_C(1000000000000)

/* What can be busy. Each does one thing at a time, but for HOST, which is the one thread that owns the card. */
enum timeline_resource {
    TIMELINE_HOST_TO_CARD,
    TIMELINE_CARD_TO_HOST,
    TIMELINE_MEMORY, /* channel by channel */
    TIMELINE_MATMUL,
    TIMELINE_ATTENTION,
    TIMELINE_VECTOR,
    TIMELINE_DISPATCH,
    TIMELINE_HOST,
};
#define TIMELINE_RESOURCES 8

/* "host to card", "memory", "matmul array", ...; static storage. */
static inline const char *timeline_resource_name(unsigned resource)
{
    static const char *const names[TIMELINE_RESOURCES] = {
        "host to card",   "card to host", "memory",     "matmul array",
        "attention unit", "vector unit",  "dispatcher", "host"};
    return resource < TIMELINE_RESOURCES ? names[resource] : "none";
}

enum timeline_kind {
    TIMELINE_WRITE,     /* a copy to the card */
    TIMELINE_READ,      /* a copy from the card */
    TIMELINE_PROGRAM,   /* on HOST_TO_CARD: its descriptors; on DISPATCH: from launch to end */
    TIMELINE_OPERATION, /* a descriptor at work on its unit */
    TIMELINE_TRAFFIC,   /* a descriptor's memory traffic on one channel */
    TIMELINE_EXPERT,    /* one expert's part of an EXPERT_MATMUL; on MATMUL, beside its OPERATION */
    TIMELINE_WAIT,      /* AWAIT, until its experts are there; on DISPATCH */
    TIMELINE_HOST_WORK, /* card_spend, and the host's part of a submission */
    TIMELINE_ELSEWHERE, /* the card has nothing to do, as the host's thread is with another card; on HOST, which it keeps not busy */
};

#define TIMELINE_UNKNOWN UINT32_MAX

struct timeline_event {
    unsigned resource; /* enum timeline_resource */
    unsigned kind;     /* enum timeline_kind */
    unsigned channel;  /* of MEMORY: which */
    unsigned opcode;   /* enum card_opcode; 0: not of a descriptor; of TRAFFIC: weights read ahead of their use */
    uint64_t begin, end;
    uint64_t busy;       /* what it added to the busy time of its resource: an operation's end may wait for memory */
    uint64_t bytes;      /* moved by it, of TRAFFIC also what had been read ahead; 0: none or not known */
    uint64_t program;    /* of this card, counted from 1; 0: not of a program. A copy's: of the program before it */
    uint32_t descriptor; /* index in its program; TIMELINE_UNKNOWN */
    uint32_t tokens;     /* rows of activations; 0: not of a descriptor */
    uint32_t layer;      /* of its program; TIMELINE_UNKNOWN: of none, or a program that does not show its layers */
    uint32_t expert;     /* of EXPERT; TIMELINE_UNKNOWN */
    card_addr address;   /* the operand that it is about: a matrix, a slot, a copy's place on the card */
};

/* Takes the events of a card, in the order of the calls that made them, with begins that need not ascend. */
struct timeline_sink {
    void (*event)(void *context, const struct timeline_event *event);
    void *context;
};

/* Where energy goes. */
enum timeline_energy {
    TIMELINE_ENERGY_STATIC,
    TIMELINE_ENERGY_MATMUL,  /* multiply-adds of matrices */
    TIMELINE_ENERGY_UNITS,   /* multiply-adds of attention and states, and vector elements */
    TIMELINE_ENERGY_MEMORY,  /* bytes of HBM or DDR */
    TIMELINE_ENERGY_ON_CHIP, /* bytes of on-chip memory */
    TIMELINE_ENERGY_LINK,    /* bytes of the link, both ways */
    TIMELINE_ENERGY_HOST,    /* the host while it idles beside the card */
};
#define TIMELINE_ENERGIES 7

/* "static", "matmul array", ...; static storage. */
static inline const char *timeline_energy_name(unsigned energy)
{
    static const char *const names[TIMELINE_ENERGIES] = {"static",  "matmul array", "units", "memory",
                                                         "on chip", "link",         "host"};
    return energy < TIMELINE_ENERGIES ? names[energy] : "none";
}

#endif
