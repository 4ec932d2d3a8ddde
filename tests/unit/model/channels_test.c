/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the memory channels of real cards see of real models' matrices, dealt as card_layout.h says: how long the
 * sequential bursts of each channel are, which share of the bytes that are moved is used, and how even the channels'
 * shares are. The first two have bounds that the layout promises; the third is printed.
 *
 * A byte counts as used if it holds something of a weight of the model: not the padding of rows to tiles and of columns to
 * blocks, and not the zero bytes in the header of Q6_K's blocks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/abi/card_layout.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define LEAST_BURST 256u
#define LEAST_USED 0.95
#define MOST_OF_ROUTER 0.25 /* of what a channel reads of the rest of a layer */
#define MAX_BANKS 32u
#define SEED 20u

/* AMD's data sheets: DS978 (U55C) and DS963 (U280) have 32 pseudo-channels of HBM2, DS962 (U250) four of DDR4. */
static const struct {
    const char *name;
    unsigned channels;
} cards[] = {{"U55C and U280", 32}, {"U250", 4}};

struct matrix {
    const char *name;
    uint32_t rows, cols, experts; /* experts 0: one matrix */
    uint32_t used;                /* of the experts: how many a token takes */
};

#define INTEGERS                                                                                                       \
    (1u << CARD_FORMAT_INT4 | 1u << CARD_FORMAT_INT4_MIN | 1u << CARD_FORMAT_INT8 | 1u << CARD_FORMAT_INT8_MIN)
#define K_FORMATS (1u << CARD_FORMAT_Q4_K | 1u << CARD_FORMAT_Q5_K | 1u << CARD_FORMAT_Q6_K)
#define MXFP4 (1u << CARD_FORMAT_MXFP4)

/*
 * One layer of each and the output matrix, from the config.json of the models' repositories on Hugging Face. Files of
 * MXFP4 are published for gpt-oss, and llama.cpp writes them (MXFP4_MOE) for every model with experts.
 */
static const struct shapes {
    const char *name;
    uint32_t formats;
    uint32_t n_experts; /* rows of the router */
    struct matrix matrices[12];
} models[] = {
    {"Qwen3-0.6B", /* Qwen/Qwen3-0.6B */
     INTEGERS | K_FORMATS,
     0,
     {{"output", 151936, 1024, 0, 0},
      {"q", 16 * 128, 1024, 0, 0},
      {"k, v", 8 * 128, 1024, 0, 0},
      {"attention output", 1024, 16 * 128, 0, 0},
      {"gate, up", 3072, 1024, 0, 0},
      {"down", 1024, 3072, 0, 0}}},
    {"Qwen3-30B-A3B", /* Qwen/Qwen3-30B-A3B */
     INTEGERS | K_FORMATS | MXFP4,
     128,
     {{"output", 151936, 2048, 0, 0},
      {"q", 32 * 128, 2048, 0, 0},
      {"k, v", 4 * 128, 2048, 0, 0},
      {"attention output", 2048, 32 * 128, 0, 0},
      {"experts' gate, up", 768, 2048, 128, 8},
      {"experts' down", 2048, 768, 128, 8}}},
    {"Llama-3.1-8B", /* meta-llama/Llama-3.1-8B */
     INTEGERS | K_FORMATS,
     0,
     {{"output", 128256, 4096, 0, 0},
      {"q", 32 * 128, 4096, 0, 0},
      {"k, v", 8 * 128, 4096, 0, 0},
      {"attention output", 4096, 32 * 128, 0, 0},
      {"gate, up", 14336, 4096, 0, 0},
      {"down", 4096, 14336, 0, 0}}},
    {"Mixtral-8x7B", /* mistralai/Mixtral-8x7B-v0.1 */
     INTEGERS | K_FORMATS | MXFP4,
     8,
     {{"output", 32000, 4096, 0, 0},
      {"q", 32 * 128, 4096, 0, 0},
      {"k, v", 8 * 128, 4096, 0, 0},
      {"attention output", 4096, 32 * 128, 0, 0},
      {"experts' gate, up", 14336, 4096, 8, 2},
      {"experts' down", 4096, 14336, 8, 2}}},
    {"gpt-oss-20b", /* openai/gpt-oss-20b; 2880 is no multiple of 256: no K formats but for the output of attention */
     INTEGERS | K_FORMATS | MXFP4,
     32,
     {{"output", 201088, 2880, 0, 0},
      {"q", 64 * 64, 2880, 0, 0},
      {"k, v", 8 * 64, 2880, 0, 0},
      {"attention output", 2880, 64 * 64, 0, 0},
      {"experts' gate, up", 2880, 2880, 32, 4},
      {"experts' down", 2880, 2880, 32, 4}}},
    {"DeepSeek-V3", /* deepseek-ai/DeepSeek-V3: kv_lora_rank 512, q_lora_rank 1536, heads of 128 + 64 and 128 */
     INTEGERS | K_FORMATS | MXFP4,
     256,
     {{"output", 129280, 7168, 0, 0},
      {"q_a", 1536, 7168, 0, 0},
      {"q_b", 128 * 192, 1536, 0, 0},
      {"kv_a", 512 + 64, 7168, 0, 0},
      {"k_b of a head", 512, 128, 128, 128},
      {"v_b of a head", 128, 512, 128, 128},
      {"attention output", 7168, 128 * 128, 0, 0},
      {"dense gate, up", 18432, 7168, 0, 0},
      {"dense down", 7168, 18432, 0, 0},
      {"experts' gate, up; shared", 2048, 7168, 256, 8},
      {"experts' down; shared", 7168, 2048, 256, 8}}},
};
enum { N_MODELS = sizeof models / sizeof models[0], N_CARDS = sizeof cards / sizeof cards[0] };

/* The columns of a block of the file's type, and the bytes that a row needs of a group of so many on the card. */
static const struct format_facts {
    const char *name;
    uint32_t group, bytes;
} facts[CARD_FORMAT_END] = {
    [CARD_FORMAT_INT4] = {"INT4", 32, 2 + 16},
    [CARD_FORMAT_INT4_MIN] = {"INT4_MIN", 32, 2 + 2 + 16},
    [CARD_FORMAT_INT8] = {"INT8", 32, 2 + 32},
    [CARD_FORMAT_INT8_MIN] = {"INT8_MIN", 32, 2 + 2 + 32},
    [CARD_FORMAT_Q4_K] = {"Q4_K", 256, 2 + 2 + 8 + 8 + 128},
    [CARD_FORMAT_Q5_K] = {"Q5_K", 256, 2 + 2 + 8 + 8 + 128 + 32},
    [CARD_FORMAT_Q6_K] = {"Q6_K", 256, 2 + 16 + 128 + 64},
    [CARD_FORMAT_MXFP4] = {"MXFP4", 32, 1 + 16},
};

/* What the channels read of something: bytes of each, and the shortest sequential run of one of them. */
struct reads {
    uint64_t bytes[MAX_BANKS], shortest;
};

/* Reads one matrix that starts at tile number `first` of its run: walks its tiles as a card does. */
static void read_matrix(struct reads *reads, unsigned banks, uint64_t first, uint32_t rows, uint64_t tile_bytes)
{
    uint64_t end[MAX_BANKS] = {0}, run[MAX_BANKS] = {0};
    uint32_t bank0 = (uint32_t)(first % banks), n_tiles = (rows + CARD_TILE_ROWS - 1) / CARD_TILE_ROWS;
    uint64_t offset0 = first / banks * tile_bytes;
    for (uint32_t t = 0; t < n_tiles; t++) {
        uint32_t bank = card_tile_bank(bank0, t, banks);
        uint64_t offset = card_tile_offset(bank0, offset0, t, banks, tile_bytes);
        assert_int_equal(offset % CARD_WORD_BYTES, 0);
        if (run[bank] != 0) assert_int_equal(offset, end[bank]); /* goes on where it stopped */
        end[bank] = offset + tile_bytes;
        run[bank] += tile_bytes;
    }
    for (unsigned b = 0; b < banks; b++) {
        if (run[b] == 0) continue;
        reads->bytes[b] += run[b];
        if (reads->shortest == 0 || run[b] < reads->shortest) reads->shortest = run[b];
    }
}

/* Mean over channels by the busiest: what share of the bandwidth a read can have at most. */
static double balance(const struct reads *reads, unsigned banks)
{
    uint64_t sum = 0, most = 0;
    for (unsigned b = 0; b < banks; b++) {
        sum += reads->bytes[b];
        most = reads->bytes[b] > most ? reads->bytes[b] : most;
    }
    return (double)sum / banks / (double)most;
}

static uint32_t random_u32(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* The mean balance of a token's experts, taken at random and read as one: 100 choices. */
static double chosen_balance(const struct matrix *matrix, unsigned banks, uint64_t first, uint64_t tile_bytes)
{
    uint32_t state = SEED, n_tiles = (matrix->rows + CARD_TILE_ROWS - 1) / CARD_TILE_ROWS;
    double sum = 0;
    for (int i = 0; i < 100; i++) {
        struct reads reads = {0};
        bool taken[256] = {false};
        for (uint32_t j = 0; j < matrix->used;) {
            uint32_t e = random_u32(&state) % matrix->experts;
            if (taken[e]) continue;
            taken[e] = true;
            read_matrix(&reads, banks, first + (uint64_t)e * n_tiles, matrix->rows, tile_bytes);
            j++;
        }
        sum += balance(&reads, banks);
    }
    return sum / 100;
}

/* What a model's line says. */
struct line {
    uint64_t shortest, moved, used;
    double worst, chosen; /* balance of a matrix, and of a token's experts, where it is worst */
    const char *worst_name;
};

/* Adds one kind of matrix, whose tiles start at number `first` of those of its size; returns how many there are. */
static uint64_t add_matrix(struct line *line, const struct shapes *model, const struct matrix *matrix, unsigned format,
                           unsigned banks, uint64_t first)
{
    uint32_t count = matrix->experts ? matrix->experts : 1;
    uint32_t n_tiles = (matrix->rows + CARD_TILE_ROWS - 1) / CARD_TILE_ROWS;
    uint64_t tile_bytes = card_tile_bytes(format, matrix->cols), moved = 0;
    uint64_t used = (uint64_t)matrix->rows * (matrix->cols / facts[format].group) * facts[format].bytes;
    for (uint32_t e = 0; e < count; e++) {
        struct reads reads = {0};
        read_matrix(&reads, banks, first + (uint64_t)e * n_tiles, matrix->rows, tile_bytes);
        for (unsigned b = 0; b < banks; b++) moved += reads.bytes[b];
        double even = balance(&reads, banks);
        if (line->shortest == 0 || reads.shortest < line->shortest) line->shortest = reads.shortest;
        if (line->worst_name == NULL || even < line->worst) line->worst_name = matrix->name, line->worst = even;
    }
    assert_int_equal(moved, count * card_matrix_bytes(format, matrix->rows, matrix->cols));
    double share = (double)(count * used) / (double)moved;
    if (share < LEAST_USED || share > 1)
        fail_msg("%s, %s as %s: %.2f %% of the bytes are used", model->name, matrix->name, facts[format].name,
                 100 * share);
    line->moved += moved;
    line->used += count * used;
    if (matrix->experts) {
        double chosen = chosen_balance(matrix, banks, first, tile_bytes);
        line->chosen = line->chosen == 0 || chosen < line->chosen ? chosen : line->chosen;
    }
    return (uint64_t)count * n_tiles;
}

/* All of a model's matrices that can have this format; those with tiles of one size follow each other. */
static bool measure(const struct shapes *model, unsigned format, unsigned banks, struct line *line)
{
    uint64_t next[12] = {0};
    *line = (struct line){0};
    for (unsigned i = 0; i < 12 && model->matrices[i].name != NULL; i++) {
        const struct matrix *matrix = &model->matrices[i];
        unsigned run = 0;
        if (matrix->cols % facts[format].group != 0) continue;
        while (card_tile_bytes(format, model->matrices[run].cols) != card_tile_bytes(format, matrix->cols)) run++;
        next[run] += add_matrix(line, model, matrix, format, banks, next[run]);
    }
    return line->moved > 0;
}

static void test_channels_read_long_bursts_of_used_bytes(void **state)
{
    (void)state;
    for (unsigned c = 0; c < N_CARDS; c++) {
        printf("%s, %u channels (seed %u)\n%-14s %-8s %12s %8s %9s %8s  %s\n", cards[c].name, cards[c].channels, SEED,
               "model", "format", "least burst", "used", "chosen", "worst", "matrix (balance over channels)");
        for (unsigned m = 0; m < N_MODELS; m++)
            for (unsigned format = 0; format < CARD_FORMAT_END; format++) {
                struct line line;
                if ((models[m].formats >> format & 1u) == 0) continue;
                if (!measure(&models[m], format, cards[c].channels, &line)) continue;
                char chosen[16] = "";
                if (line.chosen > 0) snprintf(chosen, sizeof chosen, "%.3f", line.chosen);
                printf("%-14s %-8s %12llu %7.2f%% %9s %8.3f  %s\n", models[m].name, facts[format].name,
                       (unsigned long long)line.shortest, 100.0 * (double)line.used / (double)line.moved, chosen,
                       line.worst, line.worst_name);
                assert_true(line.shortest >= LEAST_BURST);
                assert_true((double)line.used >= LEAST_USED * (double)line.moved);
            }
    }
}

/*
 * Routers are F32, four to eight times as many bytes as their weights would be in the other formats, and have few tiles.
 * Printed: the bytes that the busiest channel reads of them, by the bytes that it reads of all else that one token needs of
 * a layer; and what that would be if they were not dealt.
 */
static void test_what_routers_cost(void **state)
{
    (void)state;
    for (unsigned m = 0; m < N_MODELS; m++) {
        const struct shapes *model = &models[m];
        unsigned format = model->formats == (INTEGERS | K_FORMATS | MXFP4) ? CARD_FORMAT_MXFP4 : CARD_FORMAT_Q4_K;
        uint64_t layer = 0;
        if (model->n_experts == 0) continue;
        for (unsigned i = 1; i < 12 && model->matrices[i].name != NULL; i++) { /* 0 is the output */
            const struct matrix *matrix = &model->matrices[i];
            uint32_t pair = strstr(matrix->name, ", ") != NULL ? 2 : 1, count = matrix->experts ? matrix->used : 1;
            if (strncmp(matrix->name, "dense", 5) == 0) continue;
            if (strstr(matrix->name, "shared") != NULL) count++;
            layer += pair * count * card_matrix_bytes(format, matrix->rows, matrix->cols);
        }
        uint32_t cols = model->matrices[1].cols, n_tiles = (model->n_experts + CARD_TILE_ROWS - 1) / CARD_TILE_ROWS;
        uint64_t router = card_matrix_bytes(CARD_FORMAT_F32, model->n_experts, cols);
        uint64_t tile_bytes = card_tile_bytes(CARD_FORMAT_F32, cols), most = 0;
        double rest = (double)layer / cards[0].channels;
        struct reads reads = {0};
        read_matrix(&reads, cards[0].channels, SEED, model->n_experts, tile_bytes);
        for (unsigned b = 0; b < cards[0].channels; b++) most = reads.bytes[b] > most ? reads.bytes[b] : most;
        assert_true(most == (n_tiles + cards[0].channels - 1) / cards[0].channels * tile_bytes);
        if (n_tiles == 1) most = router; /* rows that are not there are not read */
        assert_true(reads.shortest >= LEAST_BURST);
        printf(
            "%-14s router of %llu bytes, at most %llu in a channel: %.3f of what each channel reads of a layer in %s "
            "(in one channel: %.3f)\n",
            model->name, (unsigned long long)router, (unsigned long long)most, (double)most / rest, facts[format].name,
            (double)router / rest);
        assert_true((double)most <= MOST_OF_ROUTER * rest);
    }
}

/* Any number of channels, any place to start, few and many tiles: each channel's part is one run, and they are even. */
static void test_every_deal_is_even_to_a_tile(void **state)
{
    (void)state;
    for (unsigned banks = 2; banks <= MAX_BANKS; banks++)
        for (uint64_t first = 0; first < banks; first++)
            for (uint32_t rows = 1; rows < 1200; rows += 83) {
                struct reads reads = {0};
                uint64_t tile_bytes = card_tile_bytes(CARD_FORMAT_INT4, 64), most = 0, least = UINT64_MAX;
                read_matrix(&reads, banks, first, rows, tile_bytes);
                for (unsigned b = 0; b < banks; b++) {
                    most = reads.bytes[b] > most ? reads.bytes[b] : most;
                    least = reads.bytes[b] < least ? reads.bytes[b] : least;
                }
                assert_true(most - least <= tile_bytes);
                assert_true(reads.shortest >= LEAST_BURST);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_channels_read_long_bursts_of_used_bytes),
        cmocka_unit_test(test_what_routers_cost),
        cmocka_unit_test(test_every_deal_is_even_to_a_tile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
