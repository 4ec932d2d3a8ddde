// SPDX-License-Identifier: Apache-2.0
// The floating-point units against the host's fma: directed operands in all combinations, then random ones.
// units_test [RANDOM_OPERANDS [SEED]]
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "Vfp_units.h"
#include "tests/rtl/vectors.h"
#include "verilated.h"

namespace
{

struct operands {
    uint16_t half;
    uint32_t single, scale;
    int16_t dot;
    uint32_t acc;
};

constexpr unsigned product_cycles = 6, sum_cycles = 16;
constexpr int16_t largest_dot = 32 * 8 * 127;

class unit_bench
{
  public:
    void run(const operands &o)
    {
        model.half = o.half;
        model.single = o.single;
        model.scale = o.scale;
        model.dot = static_cast<uint16_t>(o.dot);
        model.acc = o.acc;
        recent[cycle % 32] = o;
        model.clk = 0;
        model.eval();
        model.clk = 1;
        model.eval();
        cycle++;
        if (cycle >= product_cycles) {
            const operands &p = recent[(cycle - product_cycles) % 32];
            expect("scale_product", p, model.product, vector_scale_product(p.half, p.single));
        }
        if (cycle >= sum_cycles) {
            const operands &p = recent[(cycle - sum_cycles) % 32];
            expect("dot_fma", p, model.sum, vector_dot_fma(p.scale, p.dot, p.acc));
        }
    }
    uint64_t passed = 0, failed = 0;

  private:
    void expect(const char *unit, const operands &o, uint32_t got, uint32_t want)
    {
        if (got == want) {
            passed++;
        } else if (failed++ < 20) {
            std::printf("%s: half %04x single %08x scale %08x dot %d acc %08x: %08x, expected %08x\n", unit, o.half,
                        o.single, o.scale, o.dot, o.acc, got, want);
        }
    }
    Vfp_units model;
    operands recent[32] = {};
    uint64_t cycle = 0;
};

// Zero, infinity, NaN, the borders of the normal range, powers of two and their neighbours. No subnormals: sums and
// scales are never subnormal.
std::vector<uint32_t> directed_floats()
{
    std::vector<uint32_t> list;
    const uint32_t magnitudes[] = {0x00000000, 0x00800000, 0x00800001, 0x00ffffff, 0x01000000, 0x0c000000, 0x3f800000,
                                   0x3f800001, 0x3f7fffff, 0x40000000, 0x40400000, 0x4b7fffff, 0x4b800000, 0x4b800001,
                                   0x7effffff, 0x7f000000, 0x7f7ffffe, 0x7f7fffff, 0x7f800000, 0x7fc00000};
    for (uint32_t m : magnitudes) {
        list.push_back(m);
        if (m != 0x7fc00000) list.push_back(m | 0x80000000u);
    }
    return list;
}

void directed(unit_bench &bench)
{
    const std::vector<uint32_t> floats = directed_floats();
    const int16_t dots[] = {0, 1, -1, 2, 3, -7, 1016, 4095, -4096, 16383, 16384, -16385, largest_dot, -largest_dot};
    operands o = {};
    uint32_t half = 0;
    for (uint32_t scale : floats)
        for (int16_t dot : dots)
            for (uint32_t acc : floats) {
                // Every half meets every special float32, subnormal ones too, over the course of these.
                o = {static_cast<uint16_t>(half), (half / 65536) % 3 ? floats[half % floats.size()] : half % 0x900000u,
                     scale, dot, acc};
                half += 7;
                bench.run(o);
            }
    for (uint32_t h = 0; h < 65536; h++) {
        o.half = static_cast<uint16_t>(h);
        for (uint32_t single : {0x00000001u, 0x3f800000u, 0x00800000u, 0x80ffffffu, 0x7f7fffffu}) {
            o.single = single;
            bench.run(o);
        }
    }
}

// Products at 2^-126: every normal half with the single that leads there and its neighbours. Returns how many of the
// exact products lie below 2^-126 and are rounded up to it: these tell the contract's rule from its neighbours.
uint64_t border_products(unit_bench &bench)
{
    uint64_t rounded_up = 0;
    for (uint32_t h = 0x0400; h < 0x7c00; h++) {
        const uint32_t single = vector_border_single(static_cast<uint16_t>(h));
        for (uint32_t step = 0; step < 10; step++) {
            operands o = {};
            o.half = static_cast<uint16_t>(step & 1 ? h | 0x8000 : h);
            o.single = single + step / 2 - 2;
            float value;
            std::memcpy(&value, &o.single, 4);
            const double exact = std::ldexp(1024 + (h & 1023), static_cast<int>(h >> 10) - 25) * value;
            if ((vector_scale_product(o.half, o.single) & 0x7fffffff) == 0x00800000 && exact < 0x1p-126) rounded_up++;
            bench.run(o);
        }
    }
    return rounded_up;
}

uint32_t random_float(uint64_t *state)
{
    uint32_t bits = static_cast<uint32_t>(vector_random(state) >> 32);
    return (bits & 0x7f800000u) == 0 || (bits & 0x7f800000u) == 0x7f800000u ? bits & 0x80000000u : bits;
}

// Three quarters with the addends close to each other, or the result close to the end of the range.
void random_operands(unit_bench &bench, uint64_t n, uint64_t seed)
{
    uint64_t state = seed * 2 + 1;
    for (uint64_t i = 0; i < n; i++) {
        operands o = {
            static_cast<uint16_t>(vector_random(&state) >> 48), random_float(&state), random_float(&state),
            static_cast<int16_t>(static_cast<int>(vector_random(&state) >> 48) % (2 * largest_dot + 1) - largest_dot),
            random_float(&state)};
        if (i % 4 != 0) {
            const uint32_t near = vector_dot_fma(o.scale, o.dot, 0);
            const uint32_t exponent = near >> 23 & 255;
            const uint32_t spread = static_cast<uint32_t>(vector_random(&state) >> 58); // 0..63
            uint32_t to = exponent + spread > 32 ? exponent + spread - 32 : 1;
            if (i % 4 == 1) to = exponent;
            if (to > 254) to = 254;
            o.acc = (o.acc & 0x807fffffu) | to << 23;
            if (i % 4 == 2 && to > 0) o.acc = near ^ 0x80000000u ^ (spread & 1);
            if (i % 4 == 3)
                o.half = static_cast<uint16_t>(o.half & 0x9fff), o.single = (o.single & 0x807fffffu) | (spread % 24 + 1)
                                                                                                           << 23;
        }
        if ((o.acc & 0x7f800000u) == 0) o.acc &= 0x80000000u;
        bench.run(o);
    }
    for (unsigned i = 0; i < sum_cycles; i++) bench.run({});
}

// Around 2^-126: what is flushed and what is not.
void border_operands(unit_bench &bench, uint64_t n, uint64_t seed)
{
    uint64_t state = seed * 2 + 1;
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t r = vector_random(&state);
        operands o = {};
        o.half = static_cast<uint16_t>((r & 0x8000) | (r >> 16 & 0x0fff));
        o.single = static_cast<uint32_t>((r >> 32 & 0x807fffff) | ((r >> 8 & 31) + 1) << 23);
        o.scale = static_cast<uint32_t>((r >> 24 & 0x807fffff) | ((r >> 3 & 3) + 1) << 23);
        o.dot = static_cast<int16_t>(static_cast<int>(r >> 50 & 15) - 8);
        const uint32_t near = vector_dot_fma(o.scale, o.dot, 0);
        o.acc = near == 0 ? 0x00800000u : (near ^ 0x80000000u) + static_cast<uint32_t>(r >> 60) - 8;
        if ((o.acc & 0x7f800000u) == 0) o.acc &= 0x80000000u;
        bench.run(o);
    }
    for (unsigned i = 0; i < sum_cycles; i++) bench.run({});
}

} // namespace

int main(int argc, char **argv)
{
    Verilated::randReset(2); // registers start with random bits
    const uint64_t n = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 400000;
    const uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 20261121;
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    auto bench = std::make_unique<unit_bench>();
    directed(*bench);
    const uint64_t rounded_up = border_products(*bench);
    random_operands(*bench, n, seed);
    border_operands(*bench, n / 4, seed + 1);
    std::printf("%llu results of the floating-point units right, %llu wrong; %llu products rounded up to 2^-126\n",
                static_cast<unsigned long long>(bench->passed), static_cast<unsigned long long>(bench->failed),
                static_cast<unsigned long long>(rounded_up));
    return bench->failed != 0 || bench->passed == 0 || rounded_up < 1000;
}
