/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/made_up.h"

/* SplitMix64: Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014. */
static uint64_t next_number(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Below n, by the high bits of a product (Lemire 2019); the bias of n / 2^32 does not matter here. */
static uint32_t below(uint64_t *state, uint32_t n) { return (uint32_t)((next_number(state) >> 32) * n >> 32); }

/*
 * k different numbers below n into choice[], each equally likely (Floyd's sampling; Bentley, Floyd: Programming Pearls,
 * CACM 30(9), 1987), k at most 256.
 */
static void sample(uint64_t *state, uint32_t n, uint32_t k, struct card_choice *choice)
{
    for (uint32_t j = n - k, i = 0; j < n; j++, i++) {
        uint32_t number = below(state, j + 1);
        for (uint32_t p = 0; p < i; p++)
            if (choice[p].expert == number) number = j;
        choice[i].expert = number;
    }
}

/* ROUTER with groups: members of the groups that are chosen are numbered through, and sampled. */
static void sample_grouped(uint64_t *state, const struct card_descriptor *d, struct card_choice *choice)
{
    const uint32_t groups = d->param[1], taken = d->param[2], members = d->cols / groups;
    struct card_choice group[256];
    if (taken > 256) {
        sample(state, d->cols, d->rows, choice);
        return;
    }
    sample(state, groups, taken, group);
    sample(state, taken * members, d->rows, choice);
    for (uint32_t i = 0; i < d->rows; i++) {
        const uint32_t number = choice[i].expert;
        choice[i].expert = group[number / members].expert * members + number % members;
    }
}

static void make_up_choices(const struct sim_step *step, uint64_t *state, uint32_t token)
{
    const struct card_descriptor *d = step->d;
    struct card_choice *choice = (struct card_choice *)step->dst + (size_t)token * d->rows;
    if (d->opcode == CARD_OP_ROUTER && d->param[1] > 1)
        sample_grouped(state, d, choice);
    else
        sample(state, d->cols, d->rows, choice);
    for (uint32_t i = 0; i < d->rows; i++) choice[i].weight = 1.0f / (float)d->rows;
}

static void make_up_positions(const struct sim_step *step, uint32_t token)
{
    const uint32_t n = step->d->param[3], visible = sim_step_batch(step)[token].visible;
    uint32_t *position = (uint32_t *)step->dst + (size_t)token * n;
    const uint32_t found = n < visible ? n : visible;
    for (uint32_t i = 0; i < found; i++) position[i] = (uint32_t)((uint64_t)i * visible / found);
    for (uint32_t i = found; i < n; i++) position[i] = CARD_NO_POSITION;
}

void sim_make_up(const struct sim_step *step, uint64_t number)
{
    for (uint32_t t = 0; t < step->d->tokens; t++) {
        uint64_t state = number << 32 | t;
        if (step->d->opcode == CARD_OP_INDEX)
            make_up_positions(step, t);
        else
            make_up_choices(step, &state, t);
    }
}
