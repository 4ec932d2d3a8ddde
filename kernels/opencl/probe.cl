/* SPDX-License-Identifier: Apache-2.0 */
/* What a device is asked before it is trusted: its bits for n triples of floats, PROBE_RESULTS words each. */
__kernel void probe(__global const float *input, __global uint *result, uint n)
{
    const size_t i = get_global_id(0);
    if (i >= n) return;
    const float a = input[3 * i], b = input[3 * i + 1], c = input[3 * i + 2];
    __global uint *to = result + 12 * i;
    float sine, cosine;
    card_sincos(a, &sine, &cosine);
    to[0] = as_uint(fma(a, b, c));
    to[1] = as_uint(a * b + c);
    to[2] = as_uint(a * b);
    to[3] = as_uint(card_recip(a));
    to[4] = as_uint(card_rsqrt(a));
    to[5] = as_uint(card_exp(a));
    to[6] = as_uint(sine);
    to[7] = as_uint(cosine);
    to[8] = as_uint(card_silu(a));
    to[9] = card_f32_to_f16(a);
    to[10] = as_uint(card_f16_to_f32((ushort)as_uint(a)));
    to[11] = as_uint((float)as_int(a));
}
