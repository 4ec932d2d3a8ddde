/* SPDX-License-Identifier: Apache-2.0 */
#include "host/engine/admission.h"
#include "host/engine/sequence.h"

/* What makes one sequence come before another; smaller is earlier, from the first member to the last. */
struct rank {
    int32_t priority;
    uint32_t n_running;
    uint64_t turn;
};

static struct rank rank_of(const struct admission *admission, const struct sequence *sequence,
                           struct sequence *const *running, uint32_t n_running)
{
    struct rank rank = {.priority = sequence->priority};
    for (uint32_t i = 0; i < n_running; i++) rank.n_running += running[i]->client == sequence->client;
    for (uint32_t i = 0; i < ADMISSION_CLIENTS; i++) {
        if (admission->last[i].turn && admission->last[i].client == sequence->client)
            rank.turn = admission->last[i].turn;
    }
    return rank;
}

static bool is_before(const struct rank *a, const struct rank *b)
{
    if (a->priority != b->priority) return a->priority < b->priority;
    if (a->n_running != b->n_running) return a->n_running < b->n_running;
    return a->turn < b->turn;
}

struct sequence *admission_next(const struct admission *admission, const struct sequence_queue *waiting,
                                struct sequence *const *running, uint32_t n_running)
{
    struct sequence *best = waiting->first;
    if (!best || !best->next) return best;
    struct rank best_rank = rank_of(admission, best, running, n_running);
    for (struct sequence *other = best->next; other; other = other->next) {
        if (other->client == best->client && other->priority >= best_rank.priority) continue;
        if (other->priority > best_rank.priority) continue;
        const struct rank rank = rank_of(admission, other, running, n_running);
        if (!is_before(&rank, &best_rank)) continue;
        best = other;
        best_rank = rank;
    }
    return best;
}

void admission_took(struct admission *admission, const struct sequence *sequence)
{
    uint32_t place = 0;
    for (uint32_t i = 0; i < ADMISSION_CLIENTS; i++) {
        if (admission->last[i].turn && admission->last[i].client == sequence->client) {
            place = i;
            break;
        }
        if (admission->last[i].turn < admission->last[place].turn) place = i; /* free, or the oldest */
    }
    admission->last[place].client = sequence->client;
    admission->last[place].turn = ++admission->n_turns;
}
