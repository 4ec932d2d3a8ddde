/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/channel_model.h"

#include <stdio.h>

#define MIB (UINT64_C(1) << 20)

/* 10 GB/s, 100 ns, nothing else: figures that can be reckoned by hand. */
static const struct memory_profile plain = {.kind = MEMORY_DDR,
                                            .channels = 4,
                                            .bytes_per_channel = MIB,
                                            .peak_bytes_per_s = UINT64_C(10000000000),
                                            .latency_ps = 100000,
                                            .refresh_interval_ps = 1000000};
static const struct port_profile wide_port = {
    .clock_mhz = 1000, .width_bits = 512, .burst_beats = 16, .outstanding_reads = 32};

static uint64_t stream(const struct memory_profile *memory, struct port_profile port, uint32_t masters,
                       uint32_t channels, uint64_t bytes)
{
    const struct channel_load load = {masters, channels};
    return channel_stream_ps(memory, &port, &load, bytes);
}

static void a_stream_takes_latency_and_bytes_at_the_peak(void **state)
{
    (void)state;
    assert_true(stream(&plain, wide_port, 1, 1, 10000 * 1024) == 100000 + UINT64_C(10000) * 102400);
    assert_true(stream(&plain, wide_port, 1, 1, 512) == 100000 + 51200);
    assert_true(stream(&plain, wide_port, 1, 1, 0) == 0);
}

static void bytes_in_flight_over_latency_bound_a_master(void **state)
{
    (void)state;
    struct port_profile port = wide_port;
    port.burst_beats = 4; /* 256 bytes, 25.6 ns; two of them in 125.6 ns */
    port.outstanding_reads = 2;
    assert_true(stream(&plain, port, 1, 1, 256) == 125600);
    assert_true(stream(&plain, port, 1, 1, 512) == 125600 + 25600);
    assert_true(stream(&plain, port, 1, 1, 1024) == 125600 + 125600 + 25600);
    assert_true(stream(&plain, port, 1, 1, 256 * 2000) == UINT64_C(999) * 125600 + 125600 + 25600);
}

static void a_narrow_port_is_the_bound(void **state)
{
    (void)state;
    struct port_profile port = wide_port;
    port.width_bits = 64;
    port.clock_mhz = 500; /* 4 GB/s */
    assert_true(channel_bytes_per_s(&plain, &port, 1) == UINT64_C(4000000000));
    assert_true(channel_bytes_per_s(&plain, &port, 2) == UINT64_C(8000000000));
    assert_true(channel_bytes_per_s(&plain, &port, 3) == UINT64_C(10000000000));
}

static void refresh_and_change_of_master_cost_their_share(void **state)
{
    (void)state;
    struct memory_profile memory = plain;
    memory.refresh_ps = 100000; /* a tenth */
    assert_in_range(channel_bytes_per_s(&memory, &wide_port, 1), 8999999000, 9000000000);
    memory.refresh_ps = 0;
    memory.switch_ps = 102400; /* as long as a burst: one in two of two masters' bursts */
    assert_true(channel_bytes_per_s(&memory, &wide_port, 1) == UINT64_C(10000000000));
    assert_true(channel_bytes_per_s(&memory, &wide_port, 2) / 1000000 == 6666);
}

static void a_burst_ends_at_the_border_of_4_kib(void **state)
{
    (void)state;
    struct port_profile port = wide_port;
    port.burst_beats = 256;
    port.outstanding_reads = 1;
    assert_true(stream(&plain, port, 1, 1, 8192) == 2 * (UINT64_C(100000) + 409600));
}

static void masters_spread_over_channels(void **state)
{
    (void)state;
    const uint64_t one = stream(&plain, wide_port, 1, 1, MIB);
    assert_true(stream(&plain, wide_port, 4, 4, MIB) == one);
    assert_true(stream(&plain, wide_port, 5, 4, MIB) == stream(&plain, wide_port, 2, 1, MIB));
    assert_true(stream(&plain, wide_port, 1, 4, MIB) == stream(&plain, wide_port, 1, 1, MIB / 4));
    assert_true(stream(&plain, wide_port, 2, 1, MIB) == 100000 + UINT64_C(1024) * 2 * 102400);
}

static uint64_t random_of(uint64_t *seed, uint64_t n) /* splitmix64 */
{
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % n;
}

/* More of anything that helps never takes longer; more of what burdens never less; no rate above the pins'. */
static void the_model_is_monotone_on_every_card(void **state)
{
    (void)state;
    uint64_t seed = 20261121;
    printf("seed %llu\n", (unsigned long long)seed);
    for (const char *const *name = card_profile_names(); *name; name++) {
        struct card_profile card;
        assert_int_equal(card_profile_open(*name, &card, NULL), 0);
        for (int i = 0; i < 4000; i++) {
            const struct memory_profile *memory = &card.memory[random_of(&seed, card.n_memories)];
            struct port_profile port = {.clock_mhz = (uint32_t)(50 + random_of(&seed, 400)),
                                        .width_bits = 32u << random_of(&seed, 5),
                                        .burst_beats = (uint32_t)(1 + random_of(&seed, 64)),
                                        .outstanding_reads = (uint32_t)(1 + random_of(&seed, 64))};
            struct port_profile better = port;
            uint32_t masters = (uint32_t)(1 + random_of(&seed, 8)),
                     channels = (uint32_t)(1 + random_of(&seed, memory->channels));
            uint64_t bytes = 1 + random_of(&seed, MIB);
            uint64_t ps = stream(memory, port, masters, channels, bytes);
            better.outstanding_reads++;
            assert_true(stream(memory, better, masters, channels, bytes) <= ps);
            better = port;
            better.clock_mhz++;
            assert_true(stream(memory, better, masters, channels, bytes) <= ps);
            assert_true(stream(memory, port, masters, channels, bytes + 1) >= ps);
            assert_true(stream(memory, port, masters + 1, channels, bytes) >= ps);
            assert_true((double)bytes * masters / (double)ps * 1e12 <= (double)memory->peak_bytes_per_s * channels);
        }
    }
}

static void the_largest_numbers_do_not_overflow(void **state)
{
    (void)state;
    struct memory_profile slow = plain;
    slow.peak_bytes_per_s = 1000000;
    slow.refresh_ps = 500000;
    const struct port_profile port = {.clock_mhz = 1, .width_bits = 32, .burst_beats = 1, .outstanding_reads = 1};
    assert_true(stream(&slow, port, 4096, 1, UINT64_C(1) << 50) == UINT64_MAX);
    assert_true(stream(&plain, wide_port, 1, 1, UINT64_C(1) << 40) > UINT64_C(100000000000000));
}

static void streams_of_a_channel_follow_each_other(void **state)
{
    (void)state;
    struct channel channel = {0};
    uint64_t begin, end;
    const uint64_t rate = channel_ps_per_mib(&plain, &wide_port, 1);
    channel_occupy(&channel, 500, MIB, rate, &begin, &end);
    assert_true(begin == 500 && end == 500 + rate);
    channel_occupy(&channel, 0, MIB, rate, &begin, &end);
    assert_true(begin == 500 + rate && end == 500 + 2 * rate && channel.busy_until == end);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_takes_latency_and_bytes_at_the_peak),
        cmocka_unit_test(bytes_in_flight_over_latency_bound_a_master),
        cmocka_unit_test(a_narrow_port_is_the_bound),
        cmocka_unit_test(refresh_and_change_of_master_cost_their_share),
        cmocka_unit_test(a_burst_ends_at_the_border_of_4_kib),
        cmocka_unit_test(masters_spread_over_channels),
        cmocka_unit_test(the_model_is_monotone_on_every_card),
        cmocka_unit_test(the_largest_numbers_do_not_overflow),
        cmocka_unit_test(streams_of_a_channel_follow_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
