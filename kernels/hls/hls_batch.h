/* SPDX-License-Identifier: Apache-2.0 */
/* The batch table: who a token is, and which positions of its sequence it sees. */
#ifndef SLUICE_HLS_BATCH_H
#define SLUICE_HLS_BATCH_H

#include "kernels/hls/hls_memory.h"

#define HLS_BATCH_LANES 4u
_Static_assert(sizeof(struct card_batch_token) == 4 * HLS_BATCH_LANES, "a batch entry is four lanes");

static inline struct card_batch_token hls_load_token(HLS_BANKS, const struct hls_step *step, uint32_t t)
{
    HLS_INLINE
    struct hls_word word[1];
    hls_load(HLS_BANK_ARGS, step->aux + 4ull * HLS_BATCH_LANES * t, HLS_BATCH_LANES, word);
    const struct card_batch_token token = {word[0].lane[0], word[0].lane[1], word[0].lane[2], word[0].lane[3]};
    return token;
}

/* Where the page numbers of the token's sequence start. */
static inline card_addr hls_token_pages(const struct hls_step *step, struct card_batch_token token)
{
    HLS_INLINE
    return step->aux + 4ull * HLS_BATCH_LANES * step->tokens + 4ull * token.first_page;
}

/* Positions [from, to) of a sequence; empty where from is not below to. */
struct hls_span {
    uint32_t from, to;
};

/* What ATTENTION and INDEX see: what is visible, of ATTENTION as far as window (P3) and chunk (E.P1) allow. */
static inline struct hls_span hls_seen(const struct hls_step *step, struct card_batch_token token)
{
    HLS_INLINE
    struct hls_span seen = {0, token.visible};
    if (step->opcode != CARD_OP_ATTENTION) return seen;
    const uint32_t window = step->param[3], chunk = step->e_param[1], position = token.position;
    if (window != 0 && position + 1 > window) seen.from = position + 1 - window;
    if (chunk != 0) {
        const uint32_t first = position / chunk * chunk;
        seen.from = seen.from < first ? first : seen.from;
        seen.to = hls_min((uint64_t)first + chunk, seen.to);
    }
    return seen;
}

/* Whether ATTENTION sees a list of positions only. */
static inline int hls_is_sparse(const struct hls_step *step)
{
    HLS_INLINE
    return step->opcode == CARD_OP_ATTENTION && (step->e_flags & CARD_FLAG_SPARSE) != 0;
}

#endif
