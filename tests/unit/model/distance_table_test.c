/* SPDX-License-Identifier: Apache-2.0 */
/*
 * T5's buckets of distances, against where each begins in transformers' _relative_position_bucket (float32, T5's 32 buckets up to a
 * distance of 128): the exact powers 16, 32 and 64 lie on borders.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/model/model_internal.h"

#define HEADS 3u
#define BUCKETS 32u
#define MOST 128

/* The shortest distance of each bucket. */
static const int encoder_starts[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91};
static const int decoder_starts[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                     16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113};

static int expected(const int *starts, int n, int length)
{
    int bucket = 0;
    while (bucket + 1 < n && starts[bucket + 1] <= length) bucket++;
    return bucket;
}

static void every_distance_has_its_bucket(void **state)
{
    (void)state;
    const struct model_config config = {.n_heads = HEADS, .distance_buckets = BUCKETS, .distance_most = MOST};
    float by_bucket[BUCKETS * HEADS], table[HEADS * (2 * MOST + 1)];
    for (unsigned i = 0; i < BUCKETS * HEADS; i++) by_bucket[i] = (float)i;
    assert_int_equal(distance_table_floats(&config), sizeof table / sizeof table[0]);
    for (unsigned decoder = 0; decoder < 2; decoder++) {
        distance_table(&config, decoder, by_bucket, table);
        for (int distance = -MOST; distance <= MOST; distance++) {
            int length = distance < 0 ? -distance : distance, bucket;
            if (decoder)
                bucket = expected(decoder_starts, 32, distance > 0 ? 0 : length);
            else
                bucket = expected(encoder_starts, 16, length) + (distance > 0 ? 16 : 0);
            for (unsigned head = 0; head < HEADS; head++)
                assert_true(table[head * (2 * MOST + 1) + (unsigned)(MOST + distance)] ==
                            (float)((unsigned)bucket * HEADS + head));
        }
    }
}

static void models_without_distances_have_no_table(void **state)
{
    (void)state;
    assert_int_equal(distance_table_floats(&(struct model_config){.n_heads = HEADS}), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_distance_has_its_bucket),
        cmocka_unit_test(models_without_distances_have_no_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
