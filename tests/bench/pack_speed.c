/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Speed of packing: rows of every tensor type that can be loaded, to the simulated card's layout, by one thread. Prints one
 * JSON line per type with the best of REPEATS passes: GB of the file per second of wall time and of the thread's processor
 * time (cpu; the truth on a busy machine). Source and destination have been touched before, so this is packing alone; what the
 * operating system adds to a load is in `sluice bench --load`.
 *
 *   pack_speed [MIB [TYPE]]     MIB of the file for each type (default 64); TYPE: F16, Q4_0, ... (default: all)
 */
#include "host/card/card.h"
#include "host/model/pack.h"
#include "kernels/abi/card_math.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COLS = 2048, REPEATS = 10 };

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Float weights between -0.03 and 0.03; for the other types bytes in which no half has all exponent bits. */
static void fill(enum gguf_tensor_type type, uint8_t *bytes, size_t n_bytes)
{
    uint32_t state = 1;
    size_t step = type == GGUF_F32 ? 4 : type == GGUF_F16 || type == GGUF_BF16 ? 2 : 1;
    for (size_t i = 0; i + step <= n_bytes; i += step) {
        state = state * 1664525u + 1013904223u;
        float weight = 0.06f * ((float)(state >> 8) * 0x1p-24f - 0.5f);
        uint32_t bits = card_bits(weight);
        uint16_t half = type == GGUF_F16 ? card_f32_to_f16(weight) : (uint16_t)(bits >> 16);
        if (step == 4)
            memcpy(bytes + i, &bits, 4);
        else if (step == 2)
            memcpy(bytes + i, &half, 2);
        else
            bytes[i] = (uint8_t)(state >> 24 & 0x3b);
    }
}

static bool measure(enum gguf_tensor_type type, size_t source_bytes)
{
    struct pack_source source = {.type = type, .rows = CARD_TILE_ROWS, .cols = COLS};
    size_t row_bytes = pack_row_bytes(&source);
    source.rows = (uint32_t)(source_bytes / row_bytes / CARD_TILE_ROWS) * CARD_TILE_ROWS;
    source_bytes = source.rows * row_bytes;
    unsigned format = pack_format(type, UINT32_MAX);
    size_t packed_bytes = (size_t)card_matrix_bytes(format, source.rows, COLS);
    uint8_t *rows = malloc(source_bytes),
            *packed = aligned_alloc(CARD_ALIGNMENT, card_round_up(packed_bytes, CARD_ALIGNMENT));
    struct pack_result result = {0};
    double wall = 1e9, cpu = 1e9;
    if (rows != NULL && packed != NULL) {
        fill(type, rows, source_bytes);
        memset(packed, 0, packed_bytes);
        source.data = rows;
        for (int i = 0; i < REPEATS; i++) {
            double wall_start = seconds(CLOCK_MONOTONIC), cpu_start = seconds(CLOCK_THREAD_CPUTIME_ID);
            pack_pieces(&source, format, 0, pack_n_pieces(source.rows), packed, &result);
            double wall_now = seconds(CLOCK_MONOTONIC) - wall_start;
            double cpu_now = seconds(CLOCK_THREAD_CPUTIME_ID) - cpu_start;
            wall = wall_now < wall ? wall_now : wall;
            cpu = cpu_now < cpu ? cpu_now : cpu;
        }
        printf("{\"name\":\"pack_speed\",\"type\":\"%s\",\"rows\":%u,\"cols\":%d,\"threads\":1,\"source_bytes\":%zu,"
               "\"packed_bytes\":%zu,\"source_gb_per_s_wall\":%.2f,\"source_gb_per_s_cpu\":%.2f}\n",
               gguf_tensor_type_name(type), source.rows, COLS, source_bytes, packed_bytes,
               (double)source_bytes / wall / 1e9, (double)source_bytes / cpu / 1e9);
    }
    bool good = rows != NULL && packed != NULL && !result.not_finite;
    if (!good) fprintf(stderr, "pack_speed: %s: no memory, or bad weights\n", gguf_tensor_type_name(type));
    free(rows);
    free(packed);
    return good;
}

int main(int argc, char **argv)
{
    unsigned long mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 64;
    bool good = true;
    if (mib == 0 || mib > 4096) {
        fprintf(stderr, "pack_speed: MIB must be 1 to 4096\n");
        return 2;
    }
    for (unsigned type = 0; type < GGUF_TENSOR_TYPE_END; type++)
        if (gguf_type_supported((enum gguf_tensor_type)type) &&
            (argc <= 2 || strcmp(argv[2], gguf_tensor_type_name(type)) == 0))
            good &= measure((enum gguf_tensor_type)type, (size_t)mib << 20);
    return good ? 0 : 1;
}
