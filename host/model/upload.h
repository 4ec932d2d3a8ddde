/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights on their way to a card. Where card memory is this process's they are packed into it (upload_direct.h). For other
 * cards: pack a few MB with all threads, hand them to the card's DMA, pack the next few MB into the other buffer meanwhile. Host
 * memory stays bounded by two buffers, whatever the size of the model. A matrix that is dealt over banks is packed bank by bank
 * inside the buffer, so that each bank gets its tiles of a chunk in one copy.
 */
#ifndef SLUICE_MODEL_UPLOAD_H
#define SLUICE_MODEL_UPLOAD_H

#include "host/card/card.h"
#include "host/model/model.h"
#include "host/model/pack.h"

#define UPLOAD_MAX_THREADS 64u

/* Takes n_bytes of the packed matrix, in order. 0, or a negative error code, which ends the packing. */
typedef int (*upload_sink)(void *context, const uint8_t *bytes, size_t n_bytes, struct error *err);

struct upload {
    struct card *card;         /* borrowed; NULL: for upload_check and upload_stream only */
    const struct model *model; /* borrowed: whose bytes are forgotten when they have been packed; NULL: nobody's */
    unsigned threads;
    bool exact_formats;      /* what rounds need not be packed to the end: it is refused */
    uint8_t *buffer[2];      /* owned */
    size_t buffer_bytes;     /* of each */
    card_event event[2];     /* the last write from each buffer */
    unsigned turn;           /* which buffer is next */
    model_progress progress; /* may be NULL */
    void *progress_context;
    uint64_t done, total;         /* bytes of the file */
    struct upload_direct *direct; /* owned; matrices that upload_finish packs into card memory; NULL: none */
};

/* threads and progress as in options (NULL: defaults); total is what progress counts up to. Released by upload_close. */
int upload_open(struct upload *upload, struct card *card, const struct model_load_options *options, uint64_t total,
                struct error *err);

/* Waits for what is under way; takes an upload that failed to open, too. */
void upload_close(struct upload *upload);

/* Where a matrix goes, and how it lies there: room for card_matrix_bytes in one bank, or for whole tiles in several. */
struct upload_target {
    card_addr address;
    unsigned format; /* enum card_format */
    unsigned banks;  /* 1: not dealt */
};

/*
 * Packs source to target; source_bytes is what progress advances by. The matrix is complete on the card after upload_finish,
 * and so is result, which says what packing saw; until then it and the source's bytes are borrowed.
 */
int upload_matrix(struct upload *upload, const struct pack_source *source, const struct upload_target *target,
                  uint64_t source_bytes, struct pack_result *result, struct error *err);

/* Packs source to format, one matrix, and gives what comes of it to sink. */
int upload_stream(struct upload *upload, const struct pack_source *source, unsigned format, uint64_t source_bytes,
                  upload_sink sink, void *context, struct pack_result *result, struct error *err);

/* Only looks: whether a matrix that stays on the host has a weight or a scale that is not finite. */
int upload_check(struct upload *upload, const struct pack_source *source, uint64_t source_bytes,
                 struct pack_result *result, struct error *err);

/* Packs what is left and waits for all writes. */
int upload_finish(struct upload *upload, struct error *err);

/* For upload_direct.c: tells progress of bytes that are done; ERROR_CANCELLED if nobody wants to wait for more. */
int upload_report(const struct upload *upload, uint64_t done, struct error *err);

/* For upload_direct.c: these pieces have been read, their bytes of the file need not stay in this process's memory. */
void upload_forget(const struct upload *upload, const struct pack_source *source, uint32_t first, uint32_t n);

#endif
