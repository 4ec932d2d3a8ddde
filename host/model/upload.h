/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights on their way to a card: pack a few MB with all threads, hand them to the card's DMA, pack the next few MB into
 * the other buffer meanwhile. Host memory stays bounded by two buffers, whatever the size of the model.
 */
#ifndef SLUICE_MODEL_UPLOAD_H
#define SLUICE_MODEL_UPLOAD_H

#include "host/card/card.h"
#include "host/model/model.h"
#include "host/model/pack.h"

struct upload {
    struct card *card; /* borrowed */
    unsigned threads;
    uint8_t *buffer[2];      /* owned */
    size_t buffer_bytes;     /* of each */
    card_event event[2];     /* the last write from each buffer */
    unsigned turn;           /* which buffer is next */
    model_progress progress; /* may be NULL */
    void *progress_context;
    uint64_t done, total; /* bytes of the file */
};

/* threads and progress as in options (NULL: defaults); total is what progress counts up to. Released by upload_close. */
int upload_open(struct upload *upload, struct card *card, const struct model_load_options *options, uint64_t total,
                struct error *err);

/* Waits for what is under way; takes an upload that failed to open, too. */
void upload_close(struct upload *upload);

/*
 * Packs source as format to dst, which has card_matrix_bytes of room; source_bytes is what progress advances by.
 * result says what packing saw. The matrix is complete on the card after upload_finish.
 */
int upload_matrix(struct upload *upload, const struct pack_source *source, unsigned format, card_addr dst,
                  uint64_t source_bytes, struct pack_result *result, struct error *err);

/* Only looks: whether a matrix that stays on the host has a weight or a scale that is not finite. */
int upload_check(struct upload *upload, const struct pack_source *source, uint64_t source_bytes,
                 struct pack_result *result, struct error *err);

/* Waits for all writes. */
int upload_finish(struct upload *upload, struct error *err);

#endif
