// SPDX-License-Identifier: Apache-2.0
// The kernel as XRT would drive it: arguments and start through the AXI4-Lite registers, operands in a memory behind the
// AXI4 master that answers after a while, stalls at random and checks the protocol's rules that a kernel can break.
// Results against the simulated card, bit for bit; bad arguments and memory errors against the status register.
// kernel_test [SEED]
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "Vsluice_matvec_int4.h"
#include "tests/rtl/vectors.h"
#include "verilated.h"

namespace
{

constexpr uint64_t memory_base = 0x400000000ull; // an HBM address beyond 32 bits
constexpr uint64_t memory_bytes = 8u << 20;
constexpr unsigned latency = 60; // cycles from address to data, about what HBM takes

struct read_burst {
    uint64_t address;
    unsigned beats;
    uint64_t due;
};

class machine
{
  public:
    explicit machine(uint64_t seed) : memory(memory_bytes), random(seed * 2 + 1)
    {
        model.ap_rst_n = 0;
        for (int i = 0; i < 40; i++) tick();
        model.ap_rst_n = 1;
        for (int i = 0; i < 8; i++) tick();
    }
    std::vector<uint8_t> memory;
    unsigned stall = 0;         // probability of a stall in 1/256
    uint64_t error_address = 0; // reads of this word fail
    uint64_t cycle = 0, read_beats = 0, bursts = 0, write_beats = 0;
    const char *broken = nullptr; // a rule of AXI that was broken

    void write_register(uint8_t at, uint32_t value)
    {
        model.s_axi_control_awvalid = model.s_axi_control_wvalid = 1;
        model.s_axi_control_awaddr = at;
        model.s_axi_control_wdata = value;
        model.s_axi_control_wstrb = 15;
        for (bool taken = false; !taken;) {
            model.eval();
            taken = model.s_axi_control_awready && model.s_axi_control_wready;
            tick();
        }
        model.s_axi_control_awvalid = model.s_axi_control_wvalid = 0;
        model.s_axi_control_bready = 1;
        while (!model.s_axi_control_bvalid) tick();
        tick();
        model.s_axi_control_bready = 0;
    }
    uint32_t read_register(uint8_t at)
    {
        model.s_axi_control_arvalid = 1;
        model.s_axi_control_araddr = at;
        for (bool taken = false; !taken;) {
            model.eval();
            taken = model.s_axi_control_arready;
            tick();
        }
        model.s_axi_control_arvalid = 0;
        while (!model.s_axi_control_rvalid) tick();
        const uint32_t value = model.s_axi_control_rdata;
        model.s_axi_control_rready = 1;
        tick();
        model.s_axi_control_rready = 0;
        return value;
    }
    // Runs to done; cycles of it, or 0 if it never ends.
    uint64_t run(uint64_t weight, uint64_t act, uint64_t result, uint32_t rows, uint32_t cols)
    {
        const uint64_t pointer[] = {weight, act, result};
        for (unsigned i = 0; i < 3; i++) {
            write_register(static_cast<uint8_t>(0x10 + 8 * i), static_cast<uint32_t>(pointer[i]));
            write_register(static_cast<uint8_t>(0x14 + 8 * i), static_cast<uint32_t>(pointer[i] >> 32));
        }
        write_register(0x28, rows);
        write_register(0x2c, cols);
        read_beats = bursts = write_beats = 0;
        write_register(0x04, 1);
        write_register(0x08, 1);
        write_register(0x00, 1);
        const uint64_t begin = cycle;
        while (!interrupted())
            if (tick(), cycle - begin > 4000000) return 0;
        const uint64_t cycles = cycle - begin;
        if (!(read_register(0x00) & 2)) broken = "no done after the interrupt";
        if (read_register(0x00) & 3) broken = "done does not fall when it is read";
        write_register(0x0c, read_register(0x0c));
        if (interrupted()) broken = "the interrupt stays";
        return cycles;
    }

  private:
    bool interrupted() { return model.__SYM__interrupt; } // Verilator's name: "interrupt" is a word of C++ code
    bool chance() { return stall && vector_random(&random) >> 56 < stall; }
    uint8_t *at(uint64_t address, const char *what)
    {
        if (address % 64 || address < memory_base || address - memory_base > memory_bytes - 64) {
            broken = what;
            return memory.data();
        }
        return memory.data() + (address - memory_base);
    }
    // Everything that is offered stays until it is taken; bursts stay inside 4 KB.
    void check_rules()
    {
        if (ar_waits && (!model.m_axi_gmem_arvalid || model.m_axi_gmem_araddr != ar_address))
            broken = "read address changed";
        if (aw_waits && (!model.m_axi_gmem_awvalid || model.m_axi_gmem_awaddr != aw_address))
            broken = "write address changed";
        if (w_waits && !model.m_axi_gmem_wvalid) broken = "write data taken back";
        if (model.m_axi_gmem_arvalid && (model.m_axi_gmem_araddr & 4095) + 64 * (model.m_axi_gmem_arlen + 1u) > 4096)
            broken = "a burst crosses 4 KB";
    }
    void take()
    {
        if (model.m_axi_gmem_arvalid && model.m_axi_gmem_arready) {
            reads.push_back({model.m_axi_gmem_araddr, model.m_axi_gmem_arlen + 1u, cycle + latency});
            bursts++;
        }
        if (model.m_axi_gmem_rvalid && model.m_axi_gmem_rready) {
            read_beats++;
            offered = false;
            reads.front().address += 64;
            if (--reads.front().beats == 0) reads.pop_front();
        }
        if (model.m_axi_gmem_awvalid && model.m_axi_gmem_awready) write_addresses.push_back(model.m_axi_gmem_awaddr);
        if (model.m_axi_gmem_wvalid && model.m_axi_gmem_wready) {
            write w;
            std::memcpy(w.data, &model.m_axi_gmem_wdata[0], 64);
            w.strobe = model.m_axi_gmem_wstrb;
            write_data.push_back(w);
        }
        if (model.m_axi_gmem_bvalid && model.m_axi_gmem_bready) answers--;
        if (!write_addresses.empty() && !write_data.empty()) {
            uint8_t *to = at(write_addresses.front(), "write outside the memory");
            for (unsigned i = 0; i < 64; i++)
                if (write_data.front().strobe >> i & 1) to[i] = write_data.front().data[i];
            write_addresses.pop_front();
            write_data.pop_front();
            answers++;
            write_beats++;
        }
    }
    void tick()
    {
        model.m_axi_gmem_arready = !chance() && reads.size() < 32;
        model.m_axi_gmem_awready = !chance();
        model.m_axi_gmem_wready = !chance();
        model.m_axi_gmem_bvalid = answers > 0;
        model.m_axi_gmem_bresp = 0;
        offered = !reads.empty() && reads.front().due <= cycle && (offered || !chance());
        model.m_axi_gmem_rvalid = offered;
        if (offered) {
            std::memcpy(&model.m_axi_gmem_rdata[0], at(reads.front().address, "read outside the memory"), 64);
            model.m_axi_gmem_rlast = reads.front().beats == 1;
            model.m_axi_gmem_rresp = reads.front().address == error_address ? 2 : 0;
        }
        model.ap_clk = 0;
        model.eval();
        check_rules();
        ar_waits = model.m_axi_gmem_arvalid && !model.m_axi_gmem_arready;
        ar_address = model.m_axi_gmem_araddr;
        aw_waits = model.m_axi_gmem_awvalid && !model.m_axi_gmem_awready;
        aw_address = model.m_axi_gmem_awaddr;
        w_waits = model.m_axi_gmem_wvalid && !model.m_axi_gmem_wready;
        if (model.ap_rst_n) take();
        model.ap_clk = 1;
        model.eval();
        cycle++;
    }
    struct write {
        uint8_t data[64];
        uint64_t strobe;
    };
    Vsluice_matvec_int4 model;
    uint64_t random;
    std::deque<read_burst> reads;
    std::deque<uint64_t> write_addresses;
    std::deque<write> write_data;
    unsigned answers = 0;
    bool offered = false, ar_waits = false, aw_waits = false, w_waits = false;
    uint64_t ar_address = 0, aw_address = 0;
};

struct totals {
    uint64_t checks = 0, failed = 0;
    void expect(bool good, const char *what, uint32_t rows, uint32_t cols)
    {
        checks++;
        if (!good && failed++ < 20) std::printf("%u x %u: %s\n", rows, cols, what);
    }
};

void run_case(machine *m, uint32_t rows, uint32_t cols, unsigned stall, uint64_t offset, uint64_t seed, bool print,
              totals *t)
{
    vector_case v = {};
    if (vector_case_make(&v, VECTOR_USUAL, rows, cols, seed) != 0) {
        t->expect(false, "no test vectors", rows, cols);
        vector_case_free(&v);
        return;
    }
    const uint64_t matrix_bytes = 576ull * v.tiles * v.blocks, act_bytes = 72ull * v.blocks;
    const uint64_t act = offset, weight = (act + act_bytes + 4095) / 4096 * 4096 + offset;
    const uint64_t result = (weight + matrix_bytes + 4095) / 4096 * 4096 + offset;
    std::memset(m->memory.data(), 0xa5, m->memory.size());
    std::memcpy(m->memory.data() + act, v.act, act_bytes);
    std::memcpy(m->memory.data() + weight, v.matrix, matrix_bytes);
    m->stall = stall;
    const uint64_t cycles = m->run(memory_base + weight, memory_base + act, memory_base + result, rows, cols);
    t->expect(cycles != 0, "never done", rows, cols);
    t->expect(m->read_register(0x30) == 0, "status is not 0", rows, cols);
    t->expect(std::memcmp(m->memory.data() + result, v.sim, 4ull * rows) == 0, "result is not the simulated card's",
              rows, cols);
    bool kept = true;
    for (uint64_t i = result + 4ull * rows; i < result + 64ull * v.tiles + 64; i++) kept = kept && m->memory[i] == 0xa5;
    t->expect(kept, "bytes behind the result were written", rows, cols);
    t->expect(m->read_beats == 9ull * v.tiles * v.blocks + v.blocks + (v.blocks + 7) / 8, "beats read", rows, cols);
    if (print)
        std::printf(
            "{\"name\":\"rtl_kernel\",\"rows\":%u,\"cols\":%u,\"memory_latency\":%u,\"stall\":%.3f,\"cycles\":%llu,"
            "\"read_beats\":%llu,\"bursts\":%llu}\n",
            rows, cols, latency, stall / 256.0, static_cast<unsigned long long>(cycles),
            static_cast<unsigned long long>(m->read_beats), static_cast<unsigned long long>(m->bursts));
    vector_case_free(&v);
}

void refused(machine *m, uint64_t weight, uint64_t act, uint64_t result, uint32_t rows, uint32_t cols, uint32_t status,
             totals *t)
{
    m->stall = 0;
    t->expect(m->run(weight, act, result, rows, cols) != 0, "never done when refused", rows, cols);
    t->expect(m->read_register(0x30) == status, "status of a refused run", rows, cols);
    t->expect(m->read_beats == 0 && m->write_beats == 0, "a refused run touched the memory", rows, cols);
}

} // namespace

int main(int argc, char **argv)
{
    Verilated::randReset(2); // registers start with random bits
    const uint64_t seed = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 20261121;
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    auto m = std::make_unique<machine>(seed);
    totals t;
    uint64_t n = seed;
    const uint32_t shapes[][2] = {{1, 1},   {16, 64},    {17, 96},   {33, 640},
                                  {64, 64}, {100, 1000}, {129, 257}, {250, 2048}};
    for (unsigned stall : {0u, 80u, 200u})
        for (const auto &shape : shapes)
            for (uint64_t offset : {0u, 64u, 1984u})
                run_case(m.get(), shape[0], shape[1], stall, offset, n++, false, &t);
    for (const auto &shape : {std::pair<uint32_t, uint32_t>{256, 4096}, {1024, 1024}, {1024, 4096}, {176, 4096}})
        run_case(m.get(), shape.first, shape.second, 0, 0, n++, true, &t);

    const uint64_t at = memory_base;
    refused(m.get(), at, at + 4096, at + 8192, 0, 64, 1, &t);
    refused(m.get(), at, at + 4096, at + 8192, 16, 0, 1, &t);
    refused(m.get(), at, at + 4096, at + 8192, 16, 32769, 1, &t);
    refused(m.get(), at, at + 4096, at + 8192, 0xfffffff8u, 64, 1, &t);
    refused(m.get(), at + 32, at + 4096, at + 8192, 16, 64, 2, &t);
    refused(m.get(), at, at + 4100, at + 8192, 16, 64, 2, &t);
    refused(m.get(), at, at + 4096, at + 8193, 16, 64, 2, &t);
    m->error_address = at + 64;
    t.expect(m->run(at, at + 4096, at + 8192, 16, 64) != 0, "never done after a read error", 16, 64);
    t.expect(m->read_register(0x30) == 4, "status after a read error", 16, 64);
    m->error_address = 0;
    run_case(m.get(), 40, 320, 30, 64, n++, false, &t); // and it works again

    t.expect(m->broken == nullptr, m->broken ? m->broken : "", 0, 0);
    std::printf("%llu checks of the kernel right, %llu wrong\n", static_cast<unsigned long long>(t.checks - t.failed),
                static_cast<unsigned long long>(t.failed));
    return t.failed != 0 || t.checks == 0;
}
