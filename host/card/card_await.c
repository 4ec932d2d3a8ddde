/* SPDX-License-Identifier: Apache-2.0 */
#include "host/card/card_await.h"

#include "kernels/abi/card_operands.h"

int card_await_look(const struct card_descriptor *d, const struct card_choice *choices, const card_addr *slots,
                    struct card_choice *sorted, struct card_look *look, struct error *err)
{
    const struct card_choice none = {.expert = CARD_NO_EXPERT};
    const size_t n = (size_t)d->tokens * d->param[0];
    size_t asked = 0, there = 0;
    look->missing = CARD_NO_SLOT;
    for (size_t i = 0; i < n; i++) {
        const uint32_t expert = choices[i].expert;
        sorted[i] = sorted[n + i] = none;
        if (expert == CARD_NO_EXPERT) continue;
        if (expert >= d->param[1])
            return error_set(err, ERROR_CARD, "choice %zu: expert %u, the slot table has %u", i, expert, d->param[1]);
        const bool has_slot = slots[expert] != CARD_NO_SLOT;
        sorted[has_slot ? i : n + i] = choices[i];
        if (!has_slot && look->missing == CARD_NO_SLOT) look->missing = expert;
        there += has_slot;
        asked++;
    }
    look->passed_over = asked == 0 ? d->param[3] : 0;
    look->goes_on = there >= (d->flags & CARD_FLAG_PER_CHOICE ? card_await_least(asked, d->rows) : asked);
    return 0;
}
