/* SPDX-License-Identifier: Apache-2.0 */
/* Loops as in kernels/hls, for tests/bitstreams/build_test.py. */
#include "kernels/hls/hls_pragmas.h"

void sample(const int *from, int *to, int n);

void sample(const int *from, int *to, int n)
{
rows:
    for (int r = 0; r < n; r++) {
    copy_words:
        for (int i = 0; i < 16; i++) {
            HLS_PIPELINE(1)
            to[16 * r + i] = from[16 * r + i];
        }
    }
add_up:
    for (int r = 1; r < n; r++) {
        HLS_PIPELINE(4)
        to[0] += to[r];
    }
}
