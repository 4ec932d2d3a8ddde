/* SPDX-License-Identifier: Apache-2.0 */
/* What a device is asked before it is trusted: its bits for n triples of floats, PROBE_RESULTS words each. */
__kernel void probe(__global const float *input, __global uint *result, uint n)
{
    const size_t i = get_global_id(0);
    if (i >= n) return;
    const float a = input[3 * i], b = input[3 * i + 1], c = input[3 * i + 2];
    __global uint *to = result + 15 * i;
    float sine, cosine;
    card_sincos(a, &sine, &cosine);
    to[0] = as_uint(a * b);
    to[1] = as_uint(fma(a, b, c));
    to[2] = as_uint(a * b + c);
    to[3] = as_uint(a + c);
    to[4] = (uint)(a > b) | (uint)(a == 0.0f) << 1 | (uint)(b >= c) << 2 | (uint)(c < 0.0f) << 3;
    to[5] = as_uint(card_recip(a));
    to[6] = as_uint(card_rsqrt(a));
    to[7] = as_uint(card_exp(a));
    to[8] = as_uint(sine);
    to[9] = as_uint(cosine);
    to[10] = as_uint(card_silu(a));
    to[11] = as_uint(card_softplus(a));
    to[12] = card_f32_to_f16(a);
    to[13] = as_uint(card_f16_to_f32((ushort)as_uint(a)));
    to[14] = as_uint((float)as_int(a));
}
