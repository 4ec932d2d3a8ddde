/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/upload.h"

#include "host/base/memory.h"
#include "host/model/model_internal.h"
#include "host/model/upload_direct.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_BYTES (4u << 20)
#define BANK_BYTES (512u << 10)   /* a buffer has room for this much of each bank: DMA of less is slow */
#define THREAD_BYTES (128u << 10) /* below this much for each, starting a thread costs more than it packs */

/* Pieces [first, first + n) of a matrix in a buffer: those of one bank together, in order, bank after bank. */
struct chunk {
    uint32_t first, n;
    unsigned banks;
    uint64_t piece_bytes;
    uint8_t *buffer;
};

/* How many pieces of the chunk lie before those of its number `turn` of banks, from the first piece's bank on. */
static uint32_t pieces_before(const struct chunk *chunk, uint32_t turn)
{
    uint32_t whole = chunk->n / chunk->banks, rest = chunk->n % chunk->banks;
    return turn * whole + (turn < rest ? turn : rest);
}

static uint8_t *piece_at(const struct chunk *chunk, uint32_t piece)
{
    uint32_t i = piece - chunk->first;
    return chunk->buffer + (pieces_before(chunk, i % chunk->banks) + i / chunk->banks) * chunk->piece_bytes;
}

/* One thread's part of a chunk. */
struct pack_job {
    pthread_t thread;
    bool started;
    const struct pack_source *source;
    unsigned format;
    uint32_t first, n;
    const struct chunk *chunk;
    struct pack_result result;
};

int upload_open(struct upload *upload, struct card *card, const struct model_load_options *options, uint64_t total,
                struct error *err)
{
    struct card_info info = {0};
    if (card != NULL) card_describe(card, &info);
    *upload = (struct upload){.card = card, .total = total, .buffer_bytes = BUFFER_BYTES};
    if (upload->buffer_bytes < info.n_banks * BANK_BYTES) upload->buffer_bytes = info.n_banks * BANK_BYTES;
    if (options != NULL) {
        upload->threads = options->threads;
        upload->exact_formats = options->exact_formats;
        upload->progress = options->progress;
        upload->progress_context = options->progress_context;
    }
    if (upload->threads == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        upload->threads = cores > 0 ? (unsigned)cores : 1;
    }
    if (upload->threads > UPLOAD_MAX_THREADS) upload->threads = UPLOAD_MAX_THREADS;
    for (unsigned i = 0; i < 2; i++) {
        upload->buffer[i] = aligned_alloc(CARD_ALIGNMENT, upload->buffer_bytes);
        if (upload->buffer[i] == NULL) return error_set(err, ERROR_NO_MEMORY, "loading: out of memory");
    }
    return 0;
}

/* For all writes from the buffers. */
static int wait_for_writes(struct upload *upload, struct error *err)
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

void upload_close(struct upload *upload)
{
    (void)wait_for_writes(upload, NULL);
    upload_direct_close(upload);
    for (unsigned i = 0; i < 2; i++) free(upload->buffer[i]);
    *upload = (struct upload){0};
}

int upload_finish(struct upload *upload, struct error *err)
{
    int packed = upload_direct_run(upload, err);
    int written = wait_for_writes(upload, packed == 0 ? err : NULL);
    return packed != 0 ? packed : written;
}

/* The buffer whose turn it is, free to be written, of at least `bytes`. A wide matrix's tile may need more than usual. */
static int next_buffer(struct upload *upload, uint64_t bytes, uint8_t **buffer, struct error *err)
{
    if (bytes > upload->buffer_bytes) {
        int result = wait_for_writes(upload, err);
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
    const struct pack_source *source = job->source;
    for (uint32_t piece = job->first; piece < job->first + job->n; piece++) {
        uint8_t *out = piece_at(job->chunk, piece);
        uint64_t bytes = pack_bytes_before(job->format, source->rows, source->cols, piece + 1) -
                         pack_bytes_before(job->format, source->rows, source->cols, piece);
        pack_pieces(source, job->format, piece, 1, out, &job->result);
        memset(out + bytes, 0, job->chunk->piece_bytes - bytes); /* the rows that a last tile of F32 lacks */
    }
    return NULL;
}

/* Packs the chunk with as many threads as are worth it; they are gone when it returns. */
static void pack_chunk(const struct upload *upload, const struct pack_source *source, unsigned format,
                       const struct chunk *chunk, struct pack_result *result)
{
    struct pack_job jobs[UPLOAD_MAX_THREADS];
    uint32_t n = chunk->n;
    uint64_t worth = n * chunk->piece_bytes / THREAD_BYTES + 1;
    uint32_t n_jobs = upload->threads < worth ? upload->threads : (uint32_t)worth;
    if (n_jobs > n) n_jobs = n;
    for (uint32_t i = 0; i < n_jobs; i++) {
        uint32_t begin = (uint32_t)((uint64_t)n * i / n_jobs), end = (uint32_t)((uint64_t)n * (i + 1) / n_jobs);
        jobs[i] = (struct pack_job){.source = source, .format = format, .chunk = chunk};
        jobs[i].first = chunk->first + begin;
        jobs[i].n = end - begin;
        jobs[i].started = i + 1 < n_jobs && pthread_create(&jobs[i].thread, NULL, run_job, &jobs[i]) == 0;
        if (!jobs[i].started) run_job(&jobs[i]);
    }
    for (uint32_t i = 0; i < n_jobs; i++) {
        if (jobs[i].started) (void)pthread_join(jobs[i].thread, NULL);
        result->not_finite |= jobs[i].result.not_finite;
        result->too_large |= jobs[i].result.too_large;
        result->no_memory |= jobs[i].result.no_memory;
        result->error_squares += jobs[i].result.error_squares;
        result->value_squares += jobs[i].result.value_squares;
    }
}

int upload_report(const struct upload *upload, uint64_t done, struct error *err)
{
    if (upload->progress == NULL || upload->progress(upload->progress_context, done, upload->total) == 0) return 0;
    return error_set(err, ERROR_CANCELLED, "loading was cancelled");
}

/* One copy for each bank, each after the one before, so that *event is complete when all are. */
static int write_dealt(struct card *card, const struct chunk *chunk, const struct upload_target *target,
                       card_event *event, struct error *err)
{
    unsigned bank = CARD_ADDR_BANK(target->address);
    uint64_t offset = CARD_ADDR_OFFSET(target->address);
    for (uint32_t turn = 0; turn < chunk->banks && turn < chunk->n; turn++) {
        uint32_t piece = chunk->first + turn, before = pieces_before(chunk, turn);
        uint64_t bytes = (pieces_before(chunk, turn + 1) - before) * chunk->piece_bytes;
        card_addr dst = CARD_ADDR(card_tile_bank(bank, piece, chunk->banks),
                                  card_tile_offset(bank, offset, piece, chunk->banks, chunk->piece_bytes));
        const card_event last = *event;
        int status = card_write(card, dst, chunk->buffer + before * chunk->piece_bytes, bytes, &last, 1, event, err);
        if (status < 0) {
            if (*event == 0) *event = last; /* those before may still use the buffer */
            return status;
        }
    }
    return 0;
}

static int write_chunk(struct upload *upload, const struct pack_source *source, const struct chunk *chunk,
                       const struct upload_target *target, struct error *err)
{
    card_event *event = &upload->event[1 - upload->turn];
    if (target->banks > 1) return write_dealt(upload->card, chunk, target, event, err);
    uint64_t begin = pack_bytes_before(target->format, source->rows, source->cols, chunk->first);
    uint64_t end = pack_bytes_before(target->format, source->rows, source->cols, chunk->first + chunk->n);
    return card_write(upload->card, target->address + begin, chunk->buffer, end - begin, NULL, 0, event, err);
}

void upload_forget(const struct upload *upload, const struct pack_source *source, uint32_t first, uint32_t n)
{
    uint64_t begin, end;
    if (upload->model == NULL || source->data == NULL) return;
    if (source->packed != 0) {
        begin = pack_bytes_before(source->packed, source->rows, source->cols, first);
        end = pack_bytes_before(source->packed, source->rows, source->cols, first + n);
    } else {
        uint64_t rows = source->rows - first * CARD_TILE_ROWS;
        if (rows > (uint64_t)n * CARD_TILE_ROWS) rows = (uint64_t)n * CARD_TILE_ROWS;
        begin = (uint64_t)first * CARD_TILE_ROWS * pack_row_bytes(source);
        end = begin + rows * pack_row_bytes(source);
    }
    model_forget(upload->model, source->data + begin, (size_t)(end - begin));
}

/* Where the chunks of a matrix go. */
struct destination {
    const struct upload_target *target; /* its address 0: nowhere on the card */
    upload_sink sink;                   /* NULL: none */
    void *context;
};

static int give_chunk(struct upload *upload, const struct pack_source *source, const struct chunk *chunk,
                      const struct destination *to, struct error *err)
{
    if (to->target->address != 0) return write_chunk(upload, source, chunk, to->target, err);
    if (to->sink == NULL) return 0;
    uint64_t begin = pack_bytes_before(to->target->format, source->rows, source->cols, chunk->first);
    uint64_t end = pack_bytes_before(to->target->format, source->rows, source->cols, chunk->first + chunk->n);
    return to->sink(to->context, chunk->buffer, (size_t)(end - begin), err);
}

/* Packs the matrix chunk by chunk. */
static int pack_matrix(struct upload *upload, const struct pack_source *source, const struct destination *to,
                       uint64_t source_bytes, struct pack_result *result, struct error *err)
{
    const struct upload_target *target = to->target;
    uint32_t n_pieces = pack_n_pieces(source->rows);
    uint64_t piece_bytes = card_tile_bytes(target->format, source->cols);
    for (uint32_t first = 0; first < n_pieces;) {
        struct chunk chunk = {.first = first, .banks = target->banks, .piece_bytes = piece_bytes};
        int status = next_buffer(upload, piece_bytes, &chunk.buffer, err);
        if (status < 0) return status;
        uint64_t fits = upload->buffer_bytes / piece_bytes;
        chunk.n = n_pieces - first < fits ? n_pieces - first : (uint32_t)fits;
        pack_chunk(upload, source, target->format, &chunk, result);
        upload_forget(upload, source, chunk.first, chunk.n);
        status = give_chunk(upload, source, &chunk, to, err);
        if (status < 0) return status;
        first += chunk.n;
        uint64_t part = first == n_pieces ? source_bytes : source_bytes / n_pieces * first;
        status = upload_report(upload, upload->done + part, err);
        if (status < 0) return status;
    }
    upload->done += source_bytes;
    return 0;
}

int upload_matrix(struct upload *upload, const struct pack_source *source, const struct upload_target *target,
                  uint64_t source_bytes, struct pack_result *result, struct error *err)
{
    const struct destination to = {.target = target};
    if (upload_direct_reaches(upload, source, target))
        return upload_direct_add(upload, source, target, source_bytes, result, err);
    return pack_matrix(upload, source, &to, source_bytes, result, err);
}

int upload_check(struct upload *upload, const struct pack_source *source, uint64_t source_bytes,
                 struct pack_result *result, struct error *err)
{
    struct upload_target nowhere = {.format = pack_format(source->type, UINT32_MAX), .banks = 1};
    /* Decoding is enough, and all values are allowed; of MXFP4 it must be done: finite scales can make infinite values. */
    if (pack_rounds(source->type, nowhere.format) || source->type == GGUF_MXFP4) nowhere.format = CARD_FORMAT_F32;
    const struct destination to = {.target = &nowhere};
    return pack_matrix(upload, source, &to, source_bytes, result, err);
}

int upload_stream(struct upload *upload, const struct pack_source *source, unsigned format, uint64_t source_bytes,
                  upload_sink sink, void *context, struct pack_result *result, struct error *err)
{
    const struct upload_target target = {.format = format, .banks = 1};
    const struct destination to = {&target, sink, context};
    return pack_matrix(upload, source, &to, source_bytes, result, err);
}
