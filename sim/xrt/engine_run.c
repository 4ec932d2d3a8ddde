/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/xrt/engine_run.h"

#include "bitstreams/profiles/profile.h"
#include "host/base/float_mode.h"
#include "host/base/memory.h"
#include "kernels/abi/card_operands.h"
#include "kernels/hls/hls_engine.h"
#include "sim/executor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DESCRIPTORS (1u << 20)
#define MAX_EXTENTS (1u << 20)

/* An allocation of the host, as it lies in card memory. */
struct extent {
    card_addr address;
    uint64_t bytes;
};
_Static_assert(sizeof(struct extent) == 16, "four to a word");

struct engine_runner {
    const struct card_space *space;
    bool hls;
    struct sim_memory memory;
    struct sim_executor *executor;
    struct sim_clock *clock; /* NULL: none */
    uint64_t event;
    /* Of the run: copies, so that what the host writes meanwhile cannot change what has been checked. */
    struct card_descriptor *program;
    struct extent *extents;
    uint32_t n_extents;
};

/* ---- memory ---- */

static uint64_t extent_of(const void *context, card_addr address)
{
    const struct engine_runner *runner = context;
    uint32_t low = 0, high = runner->n_extents;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (runner->extents[middle].address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0) return 0;
    const struct extent *found = &runner->extents[low - 1];
    return address - found->address < found->bytes ? found->bytes - (address - found->address) : 0;
}

/* The allocations, sorted, each in a bank and in card memory. */
static bool check_extents(const struct engine_runner *runner, const struct engine_arguments *arguments)
{
    for (uint32_t i = 0; i < runner->n_extents; i++) {
        const struct extent *at = &runner->extents[i];
        const unsigned bank = CARD_ADDR_BANK(at->address);
        const uint64_t offset = CARD_ADDR_OFFSET(at->address);
        if (bank >= ENGINE_UNIT_BANKS || at->bytes > UINT64_MAX - at->address) return false;
        if (i > 0 && at->address < at[-1].address + at[-1].bytes) return false;
        if (arguments->bank[bank] > UINT64_MAX - offset) return false;
        if (!card_space_at(runner->space, arguments->bank[bank] + offset, at->bytes)) return false;
    }
    return true;
}

static bool check_operands(const struct engine_runner *runner, const struct card_descriptor *d)
{
    struct card_operand operand[CARD_PLACES];
    card_find_operands(d, card_extension(d), operand);
    for (unsigned i = 0; i < CARD_PLACES; i++) {
        for (uint32_t b = 0; operand[i].field && b < operand[i].banks; b++) {
            const struct card_range range = card_operand_range(&operand[i], b);
            if (range.bytes && extent_of(runner, range.address) < range.bytes) return false;
        }
    }
    return true;
}

/* The host's check (host/card/card_check.h) is more than this; here it is what memory safety needs. */
static int check_program(const struct engine_runner *runner, uint32_t n, struct error *err)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct card_descriptor *d = &runner->program[i];
        const bool extended = (d->flags & CARD_FLAG_EXTENDED) != 0;
        if (d->opcode == 0 || d->opcode >= CARD_OPCODE_END || d->opcode == CARD_OP_EXTENSION)
            return error_set(err, ERROR_CARD, "descriptor %" PRIu32 ": opcode %u", i, d->opcode);
        if (extended && (i + 1 == n || d[1].opcode != CARD_OP_EXTENSION))
            return error_set(err, ERROR_CARD, "descriptor %" PRIu32 ": its extension is missing", i);
        if (!check_operands(runner, d))
            return error_set(err, ERROR_CARD, "descriptor %" PRIu32 " (%s): an operand outside every allocation", i,
                             card_opcode_name(d->opcode));
        i += extended;
    }
    return 0;
}

/* ---- the card's clock ---- */

/* The engine of kernels/hls has a port for each bank, which stands for as many neighbouring channels as fit. */
static void merge_channels(struct card_profile *card)
{
    struct memory_profile *memory = &card->memory[0];
    unsigned banks = ENGINE_UNIT_BANKS;
    while (memory->channels % banks) banks--;
    const uint32_t each = memory->channels / banks;
    memory->channels = banks;
    memory->bytes_per_channel *= each;
    memory->peak_bytes_per_s *= each;
    memory->stall_ps_per_kib /= each;
    card->n_memories = 1;
}

static int open_clock(struct engine_runner *runner, const char *name, struct error *err)
{
    struct card_profile card;
    struct host_profile host;
    int rc = card_profile_open(name, &card, err);
    if (!rc) rc = host_profile_open(card.host, &host, err);
    if (rc) return rc;
    merge_channels(&card);
    return sim_clock_open(&card, &host, &runner->clock, err);
}

/* ---- runs ---- */

int engine_runner_open(const struct engine_unit_settings *settings, const struct card_space *space,
                       struct engine_runner **out, struct error *err)
{
    struct engine_runner *runner = calloc(1, sizeof *runner);
    *out = NULL;
    if (!runner) return error_set(err, ERROR_NO_MEMORY, "no memory for the engine");
    runner->space = space;
    runner->hls = settings->hls;
    runner->memory = (struct sim_memory){.n_banks = ENGINE_UNIT_BANKS, .extent = extent_of, .context = runner};
    int rc = sim_open(settings->threads, NULL, &runner->memory, &runner->executor, err);
    if (!rc && settings->card) rc = open_clock(runner, settings->card, err);
    if (rc) {
        engine_runner_close(runner);
        return rc;
    }
    if (runner->clock) sim_keep_time(runner->executor, runner->clock, false);
    *out = runner;
    return 0;
}

void engine_runner_close(struct engine_runner *runner)
{
    if (!runner) return;
    sim_close(runner->executor);
    sim_clock_close(runner->clock);
    free(runner->program);
    free(runner->extents);
    free(runner);
}

/* n items of card memory; NULL if they are not inside, or too many. *out is owned by the caller. */
static void *copy_of(const struct card_space *space, uint64_t address, uint32_t n, uint32_t max, size_t item)
{
    const uint8_t *from = n <= max ? card_space_at(space, address, (uint64_t)n * item) : NULL;
    void *copy = from ? memory_array((size_t)n + 4, item) : NULL; /* the kernels read whole words */
    if (copy) memcpy(copy, from, (size_t)n * item);
    return copy;
}

static int load_run(struct engine_runner *runner, const struct engine_arguments *arguments, struct error *err)
{
    free(runner->program);
    free(runner->extents);
    runner->program =
        copy_of(runner->space, arguments->program, arguments->n_descriptors, MAX_DESCRIPTORS, sizeof *runner->program);
    runner->extents =
        copy_of(runner->space, arguments->extents, arguments->n_extents, MAX_EXTENTS, sizeof *runner->extents);
    runner->n_extents = runner->extents ? arguments->n_extents : 0;
    if (!runner->program || !runner->extents)
        return error_set(err, ERROR_CARD, "the program or the table of allocations is outside card memory");
    if (!check_extents(runner, arguments))
        return error_set(err, ERROR_CARD, "the table of allocations is not sorted or not in card memory");
    for (unsigned b = 0; b < ENGINE_UNIT_BANKS; b++) {
        const bool inside = arguments->bank[b] <= runner->space->bytes;
        runner->memory.bank[b].base = runner->space->base + (inside ? arguments->bank[b] : 0);
        runner->memory.bank[b].bytes = inside ? runner->space->bytes - arguments->bank[b] : 0;
    }
    return check_program(runner, arguments->n_descriptors, err);
}

static int run_fast(struct engine_runner *runner, uint32_t n, struct engine_status *status, struct error *err)
{
    struct sim_account account = {0};
    struct sim_clock_usage before = {0}, after = {0};
    const struct sim_clock_order order = {.event = ++runner->event};
    if (runner->clock) sim_clock_measure(runner->clock, &before);
    int rc = runner->clock ? sim_clock_begin(runner->clock, &order, runner->program, n, err) : 0;
    if (rc) return rc;
    rc = sim_run(runner->executor, runner->program, n, &account, err);
    if (runner->clock) {
        sim_clock_end(runner->clock);
        sim_clock_wait(runner->clock, order.event);
        sim_clock_measure(runner->clock, &after);
    }
    status->descriptor = (uint32_t)account.descriptors;
    status->virtual_ps = after.now - before.now;
    status->cycles = after.cycles - before.cycles;
    status->weight_bytes = account.weight_bytes;
    status->kv_bytes = account.kv_bytes;
    status->multiply_adds = account.multiply_adds;
    return rc;
}

static struct hls_word *words_of(const struct engine_runner *runner, unsigned bank)
{
    return (struct hls_word *)(void *)runner->memory.bank[bank].base;
}

static void run_hls(struct engine_runner *runner, const struct engine_arguments *arguments,
                    struct engine_status *status)
{
    struct hls_word word = {{0}};
    const uint64_t mode = float_mode_enter(); /* as AMD's floating-point operators have it */
    sluice_engine((const struct hls_word *)(const void *)runner->program, arguments->n_descriptors,
                  (const struct hls_word *)(const void *)runner->extents, arguments->n_extents, &word,
                  words_of(runner, 0), words_of(runner, 1), words_of(runner, 2), words_of(runner, 3));
    float_mode_set(mode);
    memcpy(status, &word, sizeof word);
}

void engine_runner_run(struct engine_runner *runner, const struct engine_arguments *arguments,
                       struct engine_status *status)
{
    struct error err = {0};
    *status = (struct engine_status){0};
    int rc = load_run(runner, arguments, &err);
    if (!rc && runner->hls)
        run_hls(runner, arguments, status);
    else if (!rc)
        rc = run_fast(runner, arguments->n_descriptors, status, &err);
    if (rc) {
        status->status = ENGINE_STATUS_OTHER;
        snprintf(status->text, sizeof status->text, "%.*s", (int)sizeof status->text - 1, err.text);
    }
    uint8_t *to = card_space_at(runner->space, arguments->status, sizeof *status);
    if (to) memcpy(to, status, sizeof *status);
}
