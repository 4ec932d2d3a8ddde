/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/xrt/engine_unit.h"

#include "sim/xrt/engine_run.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AP_START 1u
#define AP_DONE 2u
#define AP_IDLE 4u

/* Argument registers: simulator_bitstream.h. */
enum {
    AT_PROGRAM = 0x10,
    AT_DESCRIPTORS = 0x1c,
    AT_EXTENTS = 0x24,
    AT_N_EXTENTS = 0x30,
    AT_STATUS = 0x38,
    AT_BANK = 0x44
};
enum { BANK_STEP = 12 };

struct engine_unit {
    struct engine_unit_settings settings;
    struct engine_runner *runner;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool has_thread, started, closing;
    uint32_t control;
    uint64_t runs, virtual_ps;
    uint8_t registers[ENGINE_UNIT_REGISTERS];
};

static uint32_t load32(const uint8_t *registers, unsigned at)
{
    uint32_t value;
    memcpy(&value, registers + at, sizeof value);
    return value;
}

static uint64_t load64(const uint8_t *registers, unsigned at)
{
    return load32(registers, at) | (uint64_t)load32(registers, at + 4) << 32;
}

static struct engine_arguments arguments_of(const uint8_t *registers)
{
    struct engine_arguments arguments = {
        .program = load64(registers, AT_PROGRAM),
        .n_descriptors = load32(registers, AT_DESCRIPTORS),
        .extents = load64(registers, AT_EXTENTS),
        .n_extents = load32(registers, AT_N_EXTENTS),
        .status = load64(registers, AT_STATUS),
    };
    for (unsigned b = 0; b < ENGINE_UNIT_BANKS; b++) arguments.bank[b] = load64(registers, AT_BANK + BANK_STEP * b);
    return arguments;
}

/* The faults that tests ask for. */
static void stumble(struct engine_unit *unit, uint64_t run)
{
    if (run == unit->settings.die_at_run) (void)raise(SIGKILL);
    if (run != unit->settings.hang_at_run) return;
    pthread_mutex_lock(&unit->lock);
    while (!unit->closing) pthread_cond_wait(&unit->wake, &unit->lock);
    pthread_mutex_unlock(&unit->lock);
}

static void *work(void *context)
{
    struct engine_unit *unit = context;
    pthread_mutex_lock(&unit->lock);
    while (!unit->closing) {
        if (!unit->started) {
            pthread_cond_wait(&unit->wake, &unit->lock);
            continue;
        }
        unit->started = false;
        const uint64_t run = ++unit->runs;
        const struct engine_arguments arguments = arguments_of(unit->registers);
        pthread_mutex_unlock(&unit->lock);
        struct engine_status status;
        stumble(unit, run);
        engine_runner_run(unit->runner, &arguments, &status);
        pthread_mutex_lock(&unit->lock);
        unit->virtual_ps += status.virtual_ps;
        unit->control = AP_DONE | AP_IDLE;
    }
    pthread_mutex_unlock(&unit->lock);
    return NULL;
}

int engine_unit_open(const struct engine_unit_settings *settings, const struct card_space *space,
                     struct engine_unit **out, struct error *err)
{
    struct engine_unit *unit = calloc(1, sizeof *unit);
    *out = NULL;
    if (!unit) return error_set(err, ERROR_NO_MEMORY, "no memory for the engine");
    unit->settings = *settings;
    unit->control = AP_IDLE;
    pthread_mutex_init(&unit->lock, NULL);
    pthread_cond_init(&unit->wake, NULL);
    int rc = engine_runner_open(settings, space, &unit->runner, err);
    if (!rc && pthread_create(&unit->thread, NULL, work, unit) != 0)
        rc = error_set(err, ERROR_NO_MEMORY, "no thread for the engine");
    unit->has_thread = !rc;
    if (rc) {
        engine_unit_close(unit);
        return rc;
    }
    *out = unit;
    return 0;
}

void engine_unit_close(struct engine_unit *unit)
{
    if (!unit) return;
    pthread_mutex_lock(&unit->lock);
    unit->closing = true;
    pthread_cond_broadcast(&unit->wake);
    pthread_mutex_unlock(&unit->lock);
    if (unit->has_thread) pthread_join(unit->thread, NULL);
    engine_runner_close(unit->runner);
    pthread_cond_destroy(&unit->wake);
    pthread_mutex_destroy(&unit->lock);
    free(unit);
}

/*
 * sw_emu writes all registers twice, the control register 0 and then 1; hw_emu one by one. A write of the control register
 * starts a run if none is on, and changes nothing else.
 */
void engine_unit_write(struct engine_unit *unit, uint64_t offset, const uint8_t *bytes, size_t n)
{
    if (offset > ENGINE_UNIT_REGISTERS || n > ENGINE_UNIT_REGISTERS - offset) return;
    pthread_mutex_lock(&unit->lock);
    memcpy(unit->registers + offset, bytes, n);
    if (offset == 0 && n >= 4 && (load32(unit->registers, 0) & AP_START) && !(unit->control & AP_START)) {
        unit->control = AP_START;
        unit->started = true;
        pthread_cond_signal(&unit->wake);
    }
    pthread_mutex_unlock(&unit->lock);
}

void engine_unit_read(struct engine_unit *unit, uint64_t offset, uint8_t *bytes, size_t n)
{
    memset(bytes, 0, n);
    if (offset > ENGINE_UNIT_REGISTERS || n > ENGINE_UNIT_REGISTERS - offset) return;
    pthread_mutex_lock(&unit->lock);
    memcpy(bytes, unit->registers + offset, n);
    if (offset == 0 && n >= 4) {
        memcpy(bytes, &unit->control, sizeof unit->control);
        unit->control &= ~AP_DONE; /* cleared by reading */
    }
    pthread_mutex_unlock(&unit->lock);
}

void engine_unit_count(struct engine_unit *unit, uint64_t *runs, uint64_t *virtual_ps)
{
    pthread_mutex_lock(&unit->lock);
    *runs = unit->runs;
    *virtual_ps = unit->virtual_ps;
    pthread_mutex_unlock(&unit->lock);
}
