/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Profiles of cards and of the hosts that they sit in: what the virtual clock, `sluice probe` and `sluice plan` know of
 * hardware. A profile is a JSON file (README.md here says how to write one) in which every number stands with its unit
 * and its source. The files of this folder are inside the program; others are opened by path.
 *
 * Times are picoseconds, energies femtojoules, powers milliwatts, rates bytes (of 10^9 to the GB) per second: whole numbers,
 * so that whatever adds them up is exact.
 */
#ifndef SLUICE_BITSTREAMS_PROFILE_H
#define SLUICE_BITSTREAMS_PROFILE_H

#include "host/base/error.h"
#include "kernels/abi/card_program.h"

#include <stddef.h>
#include <stdint.h>

#define PROFILE_NAME_BYTES 32
#define PROFILE_MEMORIES 2  /* at most: HBM and DDR */
#define PROFILE_CHANNELS 64 /* of all memories of a card together, at most */

enum memory_kind { MEMORY_HBM, MEMORY_DDR };

/* "hbm", "ddr"; static storage. */
const char *memory_kind_name(enum memory_kind kind);

/* One kind of memory of a card: equal channels (HBM pseudo-channels, DDR banks). sim/channel_model.h has the model. */
struct memory_profile {
    enum memory_kind kind;
    uint32_t channels;
    uint64_t bytes_per_channel;
    uint64_t peak_bytes_per_s;    /* of one channel: what its pins can carry */
    uint64_t latency_ps;          /* a read's way from the kernel's port to the first word back, nobody else there */
    uint64_t stall_ps_per_kib;    /* row changes that a sequential stream waits for, per 1024 bytes */
    uint64_t refresh_interval_ps; /* tREFI */
    uint64_t refresh_ps;          /* tRFC: of each interval the channel does nothing so long */
    uint64_t switch_ps;           /* lost when the next burst is another master's: its rows, the bus turned round */
    uint64_t energy_fj_per_byte;
};

/* How a kernel's port reads, and the clock it does it at. */
struct port_profile {
    uint32_t clock_mhz;
    uint32_t width_bits;
    uint32_t burst_beats;       /* beats of one read burst */
    uint32_t outstanding_reads; /* bursts asked for and not yet back */
};

/* kernels/rtl/cycles.json: cycles of one matmul pipeline over the tiles of one stripe, one token. */
struct matmul_cycles {
    uint32_t start, load_per_block, load_per_8_blocks, full_round, part_round, end;
};

/* Initiation intervals of the loops of kernels/hls that are not 1 or decide a cost, in cycles; kernels/hls/README.md. */
#define PROFILE_LOOPS(X)                                                                                               \
    X(scale_sums)                                                                                                      \
    X(float_products)                                                                                                  \
    X(score_positions)                                                                                                 \
    X(index_scores)                                                                                                    \
    X(dot_positions)                                                                                                   \
    X(value_words)                                                                                                     \
    X(square_words)                                                                                                    \
    X(mean_words)                                                                                                      \
    X(page_exps)                                                                                                       \
    X(page_largest)                                                                                                    \
    X(router_exps)                                                                                                     \
    X(router_weights)                                                                                                  \
    X(router_scan)                                                                                                     \
    X(router_choose)                                                                                                   \
    X(top_k_values)                                                                                                    \
    X(glu_words)                                                                                                       \
    X(element_words)                                                                                                   \
    X(scan_decay_words)                                                                                                \
    X(scan_update_words)                                                                                               \
    X(conv_words)                                                                                                      \
    X(rope_pairs)                                                                                                      \
    X(quantize_groups)                                                                                                 \
    X(query_groups)                                                                                                    \
    X(kv_groups)

struct loop_intervals {
#define PROFILE_LOOP_FIELD(name) uint32_t name;
    PROFILE_LOOPS(PROFILE_LOOP_FIELD)
#undef PROFILE_LOOP_FIELD
};

struct fpga_resources {
    uint64_t lut, dsp, bram18, uram;
};

/*
 * The engine that the card is taken to be programmed with. Multiply-adds a cycle: of quantized matrices 128 products (INT4; INT8
 * 64) x matmul_pipelines x tokens_per_word; of F32 matrices float_lanes; of attention attention_lanes x
 * attention_pipelines; of SCAN and CONV scan_lanes.
 */
struct engine_profile {
    uint32_t matmul_pipelines;    /* each reads a channel of its own and takes a word of port.width_bits a cycle */
    uint32_t tokens_per_word;     /* tokens that a word is multiplied with in its cycle */
    uint32_t tokens_per_pass;     /* tokens that meet a word while it is on chip, tokens_per_word a cycle */
    uint32_t float_lanes;         /* for F32 matrices, whose rows stand side by side */
    uint32_t attention_pipelines; /* channels whose KV pages are read and scored side by side */
    uint32_t attention_lanes;     /* of each of them */
    uint32_t scan_lanes;
    uint32_t vector_lanes;                  /* floats that an interval of a vector loop takes */
    uint64_t weight_prefetch_bytes;         /* weights on chip that wait for their descriptor */
    uint64_t activation_bytes;              /* vectors on chip: a result that is larger goes to memory and comes back */
    uint32_t fetch_cycles;                  /* a descriptor from memory */
    uint32_t dispatch_cycles;               /* decoding it, starting its unit */
    uint32_t drain_cycles;                  /* the last result of a unit to where the next reads it */
    uint32_t fixed_cycles[CARD_OPCODE_END]; /* of each operation, from its first word in to its first result; 0: none */
    uint32_t fma_cycles, add_cycles, compare_cycles;
    struct matmul_cycles matmul;
    struct loop_intervals interval;
    struct fpga_resources used;
};

struct card_energy {
    uint64_t static_mw;           /* the board with the engine loaded and idle */
    uint64_t mac_fj;              /* one INT4 or INT8 multiply-add of a matrix, the sums behind it included */
    uint64_t float_fj;            /* one float multiply-add of attention, states and vectors */
    uint64_t on_chip_fj_per_byte; /* in and out of URAM or block RAM */
    uint64_t link_fj_per_byte;    /* the card's side of PCIe */
};

struct card_profile {
    char name[PROFILE_NAME_BYTES];    /* "u55c": what --card sim:NAME says */
    char title[64];                   /* "AMD Alveo U55C" */
    char host[PROFILE_NAME_BYTES];    /* the host profile it is in unless another is named */
    char kernels[PROFILE_NAME_BYTES]; /* the file of kernels/ with the engine's cycles and intervals */
    uint32_t n_memories;
    struct memory_profile memory[PROFILE_MEMORIES]; /* bank numbers go through them in this order, channel by channel */
    struct port_profile port;
    struct fpga_resources available; /* to kernels, beside the platform */
    struct engine_profile engine;
    struct card_energy energy;
};

struct host_profile {
    char name[PROFILE_NAME_BYTES];
    char title[64];
    uint32_t pcie_generation, pcie_lanes; /* lanes 0: card and host are one chip, copies go by its own bus */
    uint32_t payload_bytes;
    uint64_t host_to_card_bytes_per_s; /* of long copies by DMA */
    uint64_t card_to_host_bytes_per_s;
    uint64_t both_ways_bytes_per_s; /* the sum of both at once, at most */
    uint64_t transfer_first_ps;     /* until a copy that finds nothing queued starts, and its end is noticed */
    uint64_t transfer_ps;           /* set-up of each copy of a queue */
    uint64_t transfer_both_ps;      /* the same while copies the other way are set up too */
    uint32_t transfer_serial;       /* percent of the shorter of set-up and transfer that the longer does not hide */
    uint64_t launch_first_ps;       /* until a launch that finds nothing queued starts, and its end is noticed */
    uint64_t launch_ps;             /* each launch of a queue */
    uint64_t launch_again_ps;       /* each one that starts a command which has run before */
    uint64_t launch_commands;       /* command objects: launches beyond them start one again */
    uint64_t bridge_bytes_per_s;    /* a kernel's reads and writes of host memory, the sum; 0: no bridge */
    uint64_t bridge_first_ps;       /* until such a stream flows */
    uint64_t bridge_page_ps;        /* 4 KiB each way, when short buffers are asked for page by page */
    uint64_t decision_ps;           /* the host's thinking between two submissions */
    uint64_t memory_bytes_per_s, nvme_bytes_per_s;
    uint64_t memory_bytes; /* of the host */
    uint64_t idle_mw;      /* of the host without cards */
    double price_per_kwh;  /* of electricity */
    char currency[8];      /* of the price: "EUR" */
};

/*
 * name: of a profile inside the program, or the path of a file if it has a '/' or a '.'. ERROR_NOT_FOUND lists the names there
 * are; ERROR_BAD_FILE names file, line, field and what is allowed.
 */
int card_profile_open(const char *name, struct card_profile *out, struct error *err);
int host_profile_open(const char *name, struct host_profile *out, struct error *err);

/* The same from text in memory; file is for messages. */
int card_profile_parse(const char *text, size_t n_bytes, const char *file, struct card_profile *out, struct error *err);
int host_profile_parse(const char *text, size_t n_bytes, const char *file, struct host_profile *out, struct error *err);

/* One number of a profile as its file has it: "memory[0].latency", "245 ns", where it is from. */
struct profile_figure {
    const char *field, *value, *source; /* valid during the call; source with note and dispute, if any */
};

/*
 * Calls figure for each number in the file's order; of a card, those of its kernels follow. name and errors as above.
 */
int card_profile_figures(const char *name, void (*figure)(void *context, const struct profile_figure *figure),
                         void *context, struct error *err);
int host_profile_figures(const char *name, void (*figure)(void *context, const struct profile_figure *figure),
                         void *context, struct error *err);

/* Names inside the program, in order of the alphabet, NULL at the end; static storage. */
const char *const *card_profile_names(void);
const char *const *host_profile_names(void);

/* The sum over all memories. */
uint32_t card_profile_channels(const struct card_profile *card);
uint64_t card_profile_memory_bytes(const struct card_profile *card);

/* The memory that bank is a channel of, NULL if the card has no such bank. */
const struct memory_profile *card_profile_bank(const struct card_profile *card, uint32_t bank);

#endif
