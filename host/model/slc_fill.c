/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/slc_fill.h"

#include "host/base/memory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define MAX_THREADS 64u

struct order {
    const struct slc_tensor *tensor;
    uint8_t *out; /* NULL: only verified */
};

struct slc_fill {
    const struct slc *slc;
    struct order *orders; /* owned */
    size_t n_orders;
    unsigned n_threads; /* asked for; from start on, those that run */
    pthread_t thread[MAX_THREADS];
    bool started;
    atomic_size_t next; /* what the next free thread takes */
    pthread_mutex_t lock;
    struct error error; /* under lock: the first; code 0: none */
};

int slc_fill_open(const struct slc *slc, size_t capacity, unsigned threads, struct slc_fill **out, struct error *err)
{
    struct slc_fill *fill = memory_array(1, sizeof *fill);
    struct order *orders = memory_array(capacity, sizeof *orders);
    if (fill == NULL || orders == NULL) {
        free(fill);
        free(orders);
        return error_set(err, ERROR_NO_MEMORY, "loading: out of memory");
    }
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    fill->slc = slc;
    fill->orders = orders;
    fill->n_threads = threads != 0 ? threads : cores > 0 ? (unsigned)cores : 1;
    if (fill->n_threads > MAX_THREADS) fill->n_threads = MAX_THREADS;
    pthread_mutex_init(&fill->lock, NULL);
    *out = fill;
    return 0;
}

void slc_fill_add(struct slc_fill *fill, const struct slc_tensor *tensor, uint8_t *out)
{
    fill->orders[fill->n_orders++] = (struct order){tensor, out};
}

static void *fill_all(void *argument)
{
    struct slc_fill *fill = argument;
    for (;;) {
        size_t i = atomic_fetch_add(&fill->next, 1);
        if (i >= fill->n_orders) return NULL;
        struct error error = {0};
        if (slc_read(fill->slc, fill->orders[i].tensor, fill->orders[i].out, &error) == 0) continue;
        pthread_mutex_lock(&fill->lock);
        if (fill->error.code == 0) fill->error = error;
        pthread_mutex_unlock(&fill->lock);
        atomic_store(&fill->next, fill->n_orders); /* one is enough: nothing will be served */
    }
}

void slc_fill_start(struct slc_fill *fill)
{
    unsigned wanted = fill->n_threads;
    fill->n_threads = 0;
    fill->started = true;
    while (fill->n_threads < wanted && fill->n_threads < fill->n_orders &&
           pthread_create(&fill->thread[fill->n_threads], NULL, fill_all, fill) == 0)
        fill->n_threads++;
}

static void join_all(struct slc_fill *fill)
{
    while (fill->n_threads > 0) (void)pthread_join(fill->thread[--fill->n_threads], NULL);
}

int slc_fill_wait(struct slc_fill *fill, struct error *err)
{
    (void)fill_all(fill); /* helps, and does everything where no thread could be started */
    join_all(fill);
    if (fill->error.code != 0 && err != NULL) *err = fill->error;
    return fill->error.code;
}

void slc_fill_close(struct slc_fill *fill)
{
    if (fill == NULL) return;
    atomic_store(&fill->next, fill->n_orders);
    if (fill->started) join_all(fill);
    pthread_mutex_destroy(&fill->lock);
    free(fill->orders);
    free(fill);
}
