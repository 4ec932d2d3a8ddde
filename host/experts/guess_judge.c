/* SPDX-License-Identifier: Apache-2.0 */
#include "host/experts/guess_judge.h"

#include "host/base/memory.h"

#include <math.h>

#define FADE (1 - 1.0 / 256) /* of the balance, per guess */
#define PATIENCE 8.0         /* a balance of so many guesses switches; the way between off and on is twice that */

struct judged {
    struct guess_counts counts;
    double balance; /* in guesses: + right * (1 - break_even) - wrong * break_even, faded */
    bool off;
};

struct guess_judge {
    uint32_t n_layers;
    uint64_t expert_bytes;
    double break_even;
    struct judged *layers;
};

int guess_judge_open(uint32_t n_layers, uint64_t expert_bytes, double break_even, struct guess_judge **out,
                     struct error *err)
{
    *out = NULL;
    if (!(break_even >= 0 && break_even <= 1))
        return error_set(err, ERROR_BAD_ARGUMENT, "guesses cannot break even at a share of %g (0 to 1)", break_even);
    struct guess_judge *judge = memory_array(1, sizeof *judge);
    struct judged *layers = memory_array(n_layers, sizeof *layers);
    if (!judge || !layers) {
        free(judge);
        free(layers);
        return error_set(err, ERROR_NO_MEMORY, "no host memory to judge guesses");
    }
    *judge = (struct guess_judge){n_layers, expert_bytes, break_even, layers};
    *out = judge;
    return 0;
}

void guess_judge_close(struct guess_judge *judge)
{
    if (!judge) return;
    free(judge->layers);
    free(judge);
}

bool guess_judge_allows(const struct guess_judge *judge, uint32_t layer)
{
    return layer < judge->n_layers && !judge->layers[layer].off;
}

void guess_judge_note(struct guess_judge *judge, uint32_t layer, uint32_t n_right, uint32_t n_wrong)
{
    if (layer >= judge->n_layers || n_right + n_wrong == 0) return;
    struct judged *judged = &judge->layers[layer];
    judged->counts.right += n_right;
    judged->counts.wrong += n_wrong;
    if (!judged->off) {
        judged->counts.sent += n_right + n_wrong;
        judged->counts.wasted += n_wrong;
        judged->counts.wasted_bytes += n_wrong * judge->expert_bytes;
    }
    judged->balance = judged->balance * pow(FADE, n_right + n_wrong) + n_right * (1 - judge->break_even) -
                      n_wrong * judge->break_even;
    bool turns = judged->off ? judged->balance > PATIENCE : judged->balance < -PATIENCE;
    if (!turns) return;
    judged->off = !judged->off;
    judged->counts.switched++;
}

struct guess_counts guess_judge_counts(const struct guess_judge *judge, uint32_t layer)
{
    struct guess_counts sum = {0};
    for (uint32_t l = 0; l < judge->n_layers; l++) {
        if (l != layer && layer < judge->n_layers) continue;
        const struct guess_counts *counts = &judge->layers[l].counts;
        sum.right += counts->right;
        sum.wrong += counts->wrong;
        sum.sent += counts->sent;
        sum.wasted += counts->wasted;
        sum.wasted_bytes += counts->wasted_bytes;
        sum.switched += counts->switched;
    }
    return sum;
}
