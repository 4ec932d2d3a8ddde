/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/upload.h"

#include "host/base/memory.h"

#include <pthread.h>
#include <unistd.h>

#define BUFFER_BYTES (4u << 20)
#define THREAD_BYTES (128u << 10) /* below this much for each, starting a thread costs more than it packs */
#define MAX_THREADS 64u

/* One thread's part of a chunk. */
struct pack_job {
    pthread_t thread;
    bool started;
    const struct pack_source *source;
    unsigned format;
    uint32_t first, n;
    uint8_t *out;
    struct pack_result result;
};

int upload_open(struct upload *upload, struct card *card, const struct model_load_options *options, uint64_t total,
                struct error *err)
{
    *upload = (struct upload){.card = card, .total = total, .buffer_bytes = BUFFER_BYTES};
    if (options != NULL) {
        upload->threads = options->threads;
        upload->progress = options->progress;
        upload->progress_context = options->progress_context;
    }
    if (upload->threads == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        upload->threads = cores > 0 ? (unsigned)cores : 1;
    }
    if (upload->threads > MAX_THREADS) upload->threads = MAX_THREADS;
    for (unsigned i = 0; i < 2; i++) {
        upload->buffer[i] = aligned_alloc(CARD_ALIGNMENT, upload->buffer_bytes);
        if (upload->buffer[i] == NULL) return error_set(err, ERROR_NO_MEMORY, "loading: out of memory");
    }
    return 0;
}

void upload_close(struct upload *upload)
{
    (void)upload_finish(upload, NULL);
    for (unsigned i = 0; i < 2; i++) free(upload->buffer[i]);
    *upload = (struct upload){0};
}

int upload_finish(struct upload *upload, struct error *err)
{
    int result = 0;
    for (unsigned i = 0; i < 2; i++) {
        if (upload->event[i] != 0) {
            int waited = card_wait(upload->card, upload->event[i], 0, err);
            if (result == 0) result = waited;
        }
        upload->event[i] = 0;
    }
    return result;
}

/* The buffer whose turn it is, free to be written, of at least `bytes`. A wide matrix's tile may need more than usual. */
static int next_buffer(struct upload *upload, uint64_t bytes, uint8_t **buffer, struct error *err)
{
    if (bytes > upload->buffer_bytes) {
        int result = upload_finish(upload, err);
        if (result < 0) return result;
        size_t size = card_round_up(bytes, CARD_ALIGNMENT);
        for (unsigned i = 0; i < 2; i++) {
            free(upload->buffer[i]);
            upload->buffer[i] = aligned_alloc(CARD_ALIGNMENT, size);
        }
        if (upload->buffer[0] == NULL || upload->buffer[1] == NULL)
            return error_set(err, ERROR_NO_MEMORY, "loading: no memory for a row of tiles of %zu bytes", size);
        upload->buffer_bytes = size;
    }
    unsigned turn = upload->turn;
    upload->turn = 1 - turn;
    *buffer = upload->buffer[turn];
    int result = upload->event[turn] != 0 ? card_wait(upload->card, upload->event[turn], 0, err) : 0;
    upload->event[turn] = 0;
    return result;
}

static void *run_job(void *argument)
{
    struct pack_job *job = argument;
    pack_pieces(job->source, job->format, job->first, job->n, job->out, &job->result);
    return NULL;
}

/* Packs pieces [first, first + n) into out with as many threads as are worth it; they are gone when it returns. */
static void pack_chunk(const struct upload *upload, const struct pack_source *source, unsigned format, uint32_t first,
                       uint32_t n, uint64_t piece_bytes, uint8_t *out, struct pack_result *result)
{
    struct pack_job jobs[MAX_THREADS];
    uint64_t worth = n * piece_bytes / THREAD_BYTES + 1;
    uint32_t n_jobs = upload->threads < worth ? upload->threads : (uint32_t)worth;
    if (n_jobs > n) n_jobs = n;
    for (uint32_t i = 0; i < n_jobs; i++) {
        uint32_t begin = (uint32_t)((uint64_t)n * i / n_jobs), end = (uint32_t)((uint64_t)n * (i + 1) / n_jobs);
        jobs[i] = (struct pack_job){.source = source, .format = format, .first = first + begin, .n = end - begin};
        jobs[i].out = out + begin * piece_bytes;
        jobs[i].started = i + 1 < n_jobs && pthread_create(&jobs[i].thread, NULL, run_job, &jobs[i]) == 0;
        if (!jobs[i].started) run_job(&jobs[i]);
    }
    for (uint32_t i = 0; i < n_jobs; i++) {
        if (jobs[i].started) (void)pthread_join(jobs[i].thread, NULL);
        result->not_finite |= jobs[i].result.not_finite;
        result->too_large |= jobs[i].result.too_large;
        result->error_squares += jobs[i].result.error_squares;
        result->value_squares += jobs[i].result.value_squares;
    }
}

static int report(struct upload *upload, uint64_t done, struct error *err)
{
    if (upload->progress == NULL || upload->progress(upload->progress_context, done, upload->total) == 0) return 0;
    return error_set(err, ERROR_CANCELLED, "loading was cancelled");
}

/* Packs the matrix chunk by chunk; each chunk goes to dst, or nowhere if dst is NULL. */
static int pack_matrix(struct upload *upload, const struct pack_source *source, unsigned format, const card_addr *dst,
                       uint64_t source_bytes, struct pack_result *result, struct error *err)
{
    uint32_t n_pieces = pack_n_pieces(source->rows);
    uint64_t piece_bytes = pack_bytes_before(format, source->rows, source->cols, 1);
    for (uint32_t first = 0; first < n_pieces;) {
        uint8_t *buffer = NULL;
        int status = next_buffer(upload, piece_bytes, &buffer, err);
        if (status < 0) return status;
        uint64_t fits = upload->buffer_bytes / piece_bytes;
        uint32_t n = n_pieces - first < fits ? n_pieces - first : (uint32_t)fits;
        pack_chunk(upload, source, format, first, n, piece_bytes, buffer, result);
        uint64_t begin = pack_bytes_before(format, source->rows, source->cols, first);
        uint64_t end = pack_bytes_before(format, source->rows, source->cols, first + n);
        card_event *event = &upload->event[1 - upload->turn];
        if (dst != NULL) status = card_write(upload->card, *dst + begin, buffer, end - begin, NULL, 0, event, err);
        if (status < 0) return status;
        first += n;
        uint64_t part = first == n_pieces ? source_bytes : source_bytes / n_pieces * first;
        status = report(upload, upload->done + part, err);
        if (status < 0) return status;
    }
    upload->done += source_bytes;
    return 0;
}

int upload_matrix(struct upload *upload, const struct pack_source *source, unsigned format, card_addr dst,
                  uint64_t source_bytes, struct pack_result *result, struct error *err)
{
    return pack_matrix(upload, source, format, &dst, source_bytes, result, err);
}

int upload_check(struct upload *upload, const struct pack_source *source, uint64_t source_bytes,
                 struct pack_result *result, struct error *err)
{
    unsigned format = pack_format(source->type, UINT32_MAX);
    if (pack_rounds(source->type, format))
        format = CARD_FORMAT_F32; /* decoding is enough, and all values are allowed */
    return pack_matrix(upload, source, format, NULL, source_bytes, result, err);
}
