/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/map_guard.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOST_MAPPINGS 256u

enum { FREE, TAKEN, GUARDED };

/* What the handler reads is atomic and lock-free: it may run in any thread at any time. */
static struct {
    _Atomic int state;
    _Atomic uintptr_t begin, end;
    _Atomic bool shrank;
} mappings[MOST_MAPPINGS];
static struct sigaction before;
static pthread_mutex_t setting = PTHREAD_MUTEX_INITIALIZER; /* of before */
static _Atomic uintptr_t page_bytes;

/* A page of zeros in place of the one that is gone. */
static bool cover(uintptr_t address)
{
    for (unsigned i = 0; i < MOST_MAPPINGS; i++) {
        if (mappings[i].state != GUARDED || address < mappings[i].begin || address >= mappings[i].end) continue;
        void *page = (void *)(address / page_bytes * page_bytes);
        mappings[i].shrank = true;
        return mmap(page, page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page;
    }
    return false;
}

static void on_bus_error(int signal, siginfo_t *info, void *context)
{
    if (info->si_code == BUS_ADRERR && cover((uintptr_t)info->si_addr)) return;
    if (before.sa_flags & SA_SIGINFO)
        before.sa_sigaction(signal, info, context);
    else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
        before.sa_handler(signal);
    else
        (void)sigaction(signal, &before, NULL); /* the fault comes again, and ends the process */
}

/* Again if somebody else has set his own since. */
static void set_handler(void)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO}, now;
    sigemptyset(&action.sa_mask);
    action.sa_sigaction = on_bus_error;
    pthread_mutex_lock(&setting);
    page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    if (sigaction(SIGBUS, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO && now.sa_sigaction == on_bus_error)) {
        before = now;
        (void)sigaction(SIGBUS, &action, NULL);
    }
    pthread_mutex_unlock(&setting);
}

unsigned map_guard_add(const void *bytes, size_t size)
{
    set_handler();
    for (unsigned i = 0; i < MOST_MAPPINGS; i++) {
        int is_free = FREE;
        if (!atomic_compare_exchange_strong(&mappings[i].state, &is_free, TAKEN)) continue;
        mappings[i].begin = (uintptr_t)bytes;
        mappings[i].end = (uintptr_t)bytes + size;
        mappings[i].shrank = false;
        mappings[i].state = GUARDED;
        return i + 1;
    }
    return 0;
}

void map_guard_remove(unsigned number)
{
    if (number > 0) mappings[number - 1].state = FREE;
}

bool map_guard_shrank(unsigned number) { return number > 0 && mappings[number - 1].shrank; }
