// SPDX-License-Identifier: Apache-2.0
// The dot-product engine against the simulated card, bit for bit, with and without stalls of its streams, and its
// cycles: one JSON line for each shape that is timed.
// engine_test [SEED]
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "Vsluice_dot_engine.h"
#include "tests/rtl/vectors.h"
#include "verilated.h"

namespace
{

struct word {
    uint32_t part[16];
};

// Probability of a stall in 1/256 per cycle of each stream.
struct stalls {
    unsigned act, weight, result;
};

struct timing {
    uint64_t total = 0;  // from start to done
    uint64_t begin = 0;  // start to the first word of weights taken
    uint64_t stream = 0; // first to last word of weights, both counted
    uint64_t end = 0;    // last word of weights to done
};

std::vector<word> words(const uint8_t *bytes, size_t n)
{
    std::vector<word> list((n + 63) / 64, word{});
    std::memcpy(list.data(), bytes, n);
    return list;
}

// Four tiles at a time, block by block.
std::vector<word> weight_stream(const vector_case &v)
{
    std::vector<word> stream;
    for (uint32_t first = 0; first < v.tiles; first += 4)
        for (uint32_t b = 0; b < v.blocks; b++)
            for (uint32_t t = first; t < v.tiles && t < first + 4; t++) {
                const uint8_t *block = v.matrix + (static_cast<size_t>(t) * v.blocks + b) * 576;
                for (const word &w : words(block, 576)) stream.push_back(w);
            }
    return stream;
}

class engine
{
  public:
    engine()
    {
        model.rst = 1;
        for (int i = 0; i < 40; i++) tick();
        model.rst = 0;
        tick();
    }

    // False if the engine does not finish.
    bool run(const vector_case &v, const stalls &stall, uint64_t *random, std::vector<uint32_t> *result, timing *time)
    {
        const std::vector<word> act = words(v.act, 64 * v.blocks + 8 * v.blocks), weight = weight_stream(v);
        size_t act_at = 0, weight_at = 0;
        const uint64_t begin = cycle, limit = 1000 + 40 * (act.size() + 32ull * v.blocks * v.tiles);
        uint64_t first_weight = 0, last_weight = 0;
        result->clear();
        model.blocks = static_cast<uint16_t>(v.blocks);
        model.tiles = v.tiles;
        model.start = 1;
        bool act_holds = false, weight_holds = false;
        while (!model.done || cycle == begin) {
            if (cycle - begin > limit) return false;
            // A word that was offered stays until it is taken (AXI4-Stream).
            act_holds = act_at < act.size() && (act_holds || !chance(random, stall.act));
            weight_holds = weight_at < weight.size() && (weight_holds || !chance(random, stall.weight));
            model.act_valid = act_holds;
            model.weight_valid = weight_holds;
            if (act_holds) std::memcpy(&model.act_data[0], &act[act_at], 64);
            if (weight_holds) std::memcpy(&model.weight_data[0], &weight[weight_at], 64);
            model.result_ready = !chance(random, stall.result);
            model.eval();
            const bool act_taken = model.act_valid && model.act_ready;
            const bool weight_taken = model.weight_valid && model.weight_ready;
            const bool result_taken = model.result_valid && model.result_ready;
            if (result_taken) {
                for (int i = 0; i < 16; i++) result->push_back(model.result_data[i]);
                if (model.result_last != (result->size() == 16ull * v.tiles)) return false;
            }
            if (weight_taken) {
                if (weight_at == 0) first_weight = cycle;
                last_weight = cycle;
            }
            tick();
            model.start = 0;
            if (act_taken) act_at++, act_holds = false;
            if (weight_taken) weight_at++, weight_holds = false;
        }
        *time = {cycle - begin, first_weight - begin, last_weight - first_weight + 1, cycle - last_weight - 1};
        return act_at == act.size() && weight_at == weight.size();
    }

  private:
    void tick()
    {
        model.clk = 0;
        model.eval();
        model.clk = 1;
        model.eval();
        cycle++;
    }
    static bool chance(uint64_t *random, unsigned of256) { return of256 && vector_random(random) >> 56 < of256; }
    Vsluice_dot_engine model;
    uint64_t cycle = 0;
};

struct totals {
    uint64_t values = 0, wrong = 0, cases = 0;
};

void compare(const vector_case &v, vector_kind kind, const std::vector<uint32_t> &got, totals *t)
{
    for (uint32_t r = 0; r < 16 * v.tiles; r++) {
        const bool inside = r < v.rows;
        t->values++;
        const bool good = got[r] == v.expected[r] && (!inside || got[r] == v.sim[r]);
        if (!good && t->wrong++ < 20)
            std::printf("%s %u x %u, row %u: %08x, contract %08x, simulated card %08x\n", vector_kind_name[kind],
                        v.rows, v.cols, r, got[r], v.expected[r], inside ? v.sim[r] : 0u);
    }
}

void run_case(engine *e, vector_kind kind, uint32_t rows, uint32_t cols, const stalls &stall, uint64_t seed, totals *t,
              timing *time)
{
    vector_case v = {};
    std::vector<uint32_t> result;
    uint64_t random = seed * 2 + 1;
    t->cases++;
    if (vector_case_make(&v, kind, rows, cols, seed) != 0) {
        t->wrong++;
    } else if (!e->run(v, stall, &random, &result, time) || result.size() != 16ull * v.tiles) {
        std::printf("%s %u x %u: the engine did not finish, or lost words\n", vector_kind_name[kind], rows, cols);
        t->wrong++;
    } else {
        compare(v, kind, result, t);
    }
    vector_case_free(&v);
}

// The cycle model of kernels/rtl/cycles.json (run.sh passes its numbers): exact where tiles come by fours, at most
// `slack` below it otherwise.
bool as_promised(uint32_t rows, uint32_t cols, uint64_t measured)
{
    const uint64_t tiles = (rows + 15) / 16, blocks = (cols + 63) / 64, rest = tiles % 4;
    const uint64_t promised = CYCLES_START + blocks + (blocks + 7) / 8 + tiles / 4 * blocks * CYCLES_FULL_ROUND +
                              (rest ? blocks * CYCLES_PART_ROUND : 0) + CYCLES_END;
    const bool good = measured <= promised && measured + (rest ? CYCLES_PART_SLACK : 0) >= promised;
    if (!good)
        std::printf("%u x %u: %llu cycles, kernels/rtl/cycles.json promises %llu\n", rows, cols,
                    static_cast<unsigned long long>(measured), static_cast<unsigned long long>(promised));
    return good;
}

} // namespace

int main(int argc, char **argv)
{
    Verilated::randReset(2); // registers start with random bits
    const uint64_t seed = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 20261121;
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    auto e = std::make_unique<engine>();
    totals t;
    timing time;
    uint64_t n = seed;

    // Edges: one row, one tile, one group, odd tails of rows and columns, 1 to 9 tiles.
    const uint32_t shapes[][2] = {{1, 32},   {1, 64},     {16, 64},  {17, 33},  {15, 1},
                                  {33, 65},  {48, 100},   {64, 64},  {65, 640}, {100, 257},
                                  {144, 31}, {128, 1024}, {5, 4097}, {80, 576}, {640, 40}};
    const stalls patterns[] = {{0, 0, 0}, {64, 0, 0}, {0, 128, 0}, {0, 0, 200}, {100, 30, 250}, {200, 240, 64}};
    for (int kind = 0; kind < VECTOR_KINDS; kind++)
        for (const auto &shape : shapes)
            for (const stalls &stall : patterns)
                run_case(e.get(), static_cast<vector_kind>(kind), shape[0], shape[1], stall, n++, &t, &time);

    // Cycles: what kernels/rtl/cycles.json says, with and without a last round of fewer than four tiles, and stalls.
    const struct {
        uint32_t rows, cols;
        stalls stall;
    } timed[] = {{256, 1024, {0, 0, 0}},  {256, 4096, {0, 0, 0}},   {1024, 1024, {0, 0, 0}}, {16, 4096, {0, 0, 0}},
                 {32, 4096, {0, 0, 0}},   {48, 4096, {0, 0, 0}},    {64, 4096, {0, 0, 0}},   {64, 64, {0, 0, 0}},
                 {80, 4096, {0, 0, 0}},   {176, 2048, {0, 0, 0}},   {16, 32768, {0, 0, 0}},  {256, 4096, {0, 26, 0}},
                 {256, 4096, {0, 64, 0}}, {256, 4096, {0, 0, 128}}, {256, 4096, {0, 128, 0}}};
    for (const auto &c : timed) {
        run_case(e.get(), VECTOR_USUAL, c.rows, c.cols, c.stall, n++, &t, &time);
        const uint64_t sent = 9ull * ((c.rows + 15) / 16) * ((c.cols + 63) / 64);
        std::printf("{\"name\":\"rtl_dot_engine\",\"rows\":%u,\"cols\":%u,\"weight_stall\":%.3f,\"result_stall\":%.3f,"
                    "\"cycles\":%llu,\"begin_cycles\":%llu,\"stream_cycles\":%llu,\"end_cycles\":%llu,\"words\":%llu,"
                    "\"words_per_cycle\":%.4f}\n",
                    c.rows, c.cols, c.stall.weight / 256.0, c.stall.result / 256.0,
                    static_cast<unsigned long long>(time.total), static_cast<unsigned long long>(time.begin),
                    static_cast<unsigned long long>(time.stream), static_cast<unsigned long long>(time.end),
                    static_cast<unsigned long long>(sent),
                    static_cast<double>(sent) / static_cast<double>(time.stream));
        if (c.stall.weight == 0 && c.stall.result == 0 && !as_promised(c.rows, c.cols, time.total)) t.wrong++;
    }
    std::printf("%llu values of %llu matrices compared, %llu wrong\n", static_cast<unsigned long long>(t.values),
                static_cast<unsigned long long>(t.cases), static_cast<unsigned long long>(t.wrong));
    return t.wrong != 0 || t.values == 0;
}
