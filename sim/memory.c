/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BANK_STEP (UINT64_C(1) << 21) /* bank sizes are whole huge pages */

/* MemAvailable of /proc/meminfo, which counts what the page cache would give back; all memory where there is none. */
static uint64_t bytes_available(void)
{
    uint64_t kib = 0;
    FILE *file = fopen("/proc/meminfo", "re");
    if (file) {
        char line[128];
        while (fgets(line, sizeof line, file)) {
            if (sscanf(line, "MemAvailable: %" SCNu64 " kB", &kib) == 1) break;
        }
        fclose(file);
    }
    if (kib > 0) return kib * 1024;
    long pages = sysconf(_SC_PHYS_PAGES);
    long page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
}

/* What RLIMIT_AS (ulimit -v) still lets this process map. */
static uint64_t bytes_mappable(void)
{
    struct rlimit limit;
    uint64_t pages = 0;
    if (getrlimit(RLIMIT_AS, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY) return UINT64_MAX;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file) {
        if (fscanf(file, "%" SCNu64, &pages) != 1) pages = 0;
        fclose(file);
    }
    uint64_t used = pages * (uint64_t)sysconf(_SC_PAGESIZE);
    return limit.rlim_cur > used ? limit.rlim_cur - used : 0;
}

/* Three quarters of what there is: the rest is for the process and for the page cache under the model file. */
uint64_t sim_memory_default_bytes(void)
{
    uint64_t available = bytes_available(), mappable = bytes_mappable();
    return (available < mappable ? available : mappable) / 4 * 3;
}

/*
 * With several NUMA nodes a page lies where it is first written, which is where the thread that loads happens to run: one
 * node's channels would carry the reads of all. Weights are read by whichever thread is free, so pages are dealt over the nodes that
 * this process may use; whoever started it with a policy of his own (numactl) keeps that. Failure costs speed only.
 */
static void spread_over_nodes(void *base, uint64_t bytes)
{
#if defined(SYS_mbind) && defined(SYS_get_mempolicy)
    enum { DEFAULT_POLICY = 0, INTERLEAVE = 3, ALLOWED_NODES = 4, WORDS = 16, WORD_BITS = 8 * sizeof(unsigned long) };
    unsigned long nodes[WORDS] = {0};
    int policy = DEFAULT_POLICY, n = 0; /* numbers of linux/mempolicy.h */
    if (syscall(SYS_get_mempolicy, &policy, NULL, 0UL, NULL, 0UL) < 0 || policy != DEFAULT_POLICY) return;
    if (syscall(SYS_get_mempolicy, NULL, nodes, (unsigned long)WORDS * WORD_BITS, NULL, (unsigned long)ALLOWED_NODES) <
        0)
        return;
    for (size_t i = 0; i < WORDS; i++) n += __builtin_popcountl(nodes[i]);
    if (n < 2) return;
    (void)syscall(SYS_mbind, base, (unsigned long)bytes, (long)INTERLEAVE, nodes, (unsigned long)WORDS * WORD_BITS,
                  0UL);
#else
    (void)base;
    (void)bytes;
#endif
}

static int open_bank(struct sim_memory *memory, const struct sim_bank *asked, uint64_t all_bytes, bool sparse,
                     struct error *err)
{
    const uint64_t bytes = asked->bytes;
    void *base = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        return error_set(err, ERROR_NO_MEMORY,
                         "card memory: cannot reserve %" PRIu64 " MiB: %s (ask for less: --card-memory)",
                         all_bytes >> 20, strerror(errno));
    }
    /* Weights are read from end to end: with small pages a fifth of the time goes into finding them. Without, it works. */
    if (!sparse) (void)madvise(base, (size_t)bytes, MADV_HUGEPAGE);
    spread_over_nodes(base, bytes);
    struct sim_bank *bank = &memory->bank[memory->n_banks++];
    *bank = *asked;
    bank->base = base;
    return 0;
}

int sim_memory_open_banks(struct sim_memory *memory, const struct sim_bank *banks, unsigned n, bool sparse,
                          sim_extent_fn *extent, const void *context, struct error *err)
{
    memset(memory, 0, sizeof *memory);
    memory->extent = extent;
    memory->context = context;
    uint64_t all_bytes = 0;
    for (unsigned b = 0; b < n; b++) {
        const uint64_t bytes = banks[b].bytes;
        if (bytes == 0 || bytes > CARD_ADDR_OFFSET(UINT64_MAX) || bytes > SIZE_MAX || all_bytes > UINT64_MAX - bytes)
            return error_set(err, ERROR_TOO_LARGE, "card memory: %" PRIu64 " bytes are more than one bank can address",
                             bytes);
        all_bytes += bytes;
    }
    for (unsigned b = 0; b < n; b++) {
        int rc = open_bank(memory, &banks[b], all_bytes, sparse, err);
        if (rc) {
            sim_memory_close(memory);
            return rc;
        }
    }
    return 0;
}

int sim_memory_open(struct sim_memory *memory, unsigned banks, uint64_t bytes, sim_extent_fn *extent,
                    const void *context, struct error *err)
{
    memset(memory, 0, sizeof *memory);
    if (banks == 0) banks = 1;
    if (banks > SIM_MAX_BANKS) {
        return error_set(err, ERROR_BAD_ARGUMENT, "card memory: %u banks, at most %d", banks, SIM_MAX_BANKS);
    }
    if (bytes == 0) bytes = sim_memory_default_bytes();
    bytes /= banks;
    if (bytes < BANK_STEP) bytes = BANK_STEP;
    struct sim_bank asked[SIM_MAX_BANKS];
    for (unsigned b = 0; b < banks; b++) {
        asked[b] = (struct sim_bank){.name = "memory", .bytes = bytes / BANK_STEP * BANK_STEP};
        if (banks > 1) snprintf(asked[b].name, sizeof asked[b].name, "memory %u", b);
    }
    return sim_memory_open_banks(memory, asked, banks, false, extent, context, err);
}

void sim_memory_close(struct sim_memory *memory)
{
    for (unsigned b = 0; b < memory->n_banks; b++) munmap(memory->bank[b].base, (size_t)memory->bank[b].bytes);
    memory->n_banks = 0;
}

void sim_memory_discard(struct sim_memory *memory, card_addr address, uint64_t bytes)
{
    const struct sim_bank *bank = &memory->bank[CARD_ADDR_BANK(address)];
    madvise(bank->base + CARD_ADDR_OFFSET(address), (size_t)bytes, MADV_DONTNEED); /* failure costs memory only */
}

uint8_t *sim_memory_at(const struct sim_memory *memory, card_addr address, uint64_t bytes)
{
    if (bytes == 0 || memory->extent(memory->context, address) < bytes) return NULL;
    return memory->bank[CARD_ADDR_BANK(address)].base + CARD_ADDR_OFFSET(address);
}
