/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read bandwidth of memory: THREADS threads, each on a core of its own, read their part of one buffer with the widest loads
 * of this processor. Prints one JSON line; a sample is one pass over the buffer, from the moment when all threads start to
 * the moment when the last one ends. Each part is written first by the thread that reads it, in huge pages where there are.
 *
 *   membw [THREADS [MIB [REPEATS]]]
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { MAX_THREADS = 1024, MAX_REPEATS = 1000, STRIDE = 512 };

/* Returns a value that depends on every byte, so that no load can be left out. n: a multiple of STRIDE. */
typedef uint64_t reader(const char *data, size_t n);

/* A reader by vectors of `bytes`, with eight accumulators: loads, and not the chain of additions, set the pace. */
#define DEFINE_READER(name, bytes, attributes)                                                                         \
    typedef uint64_t name##_vector __attribute__((vector_size(bytes)));                                                \
    attributes static uint64_t name(const char *data, size_t n)                                                        \
    {                                                                                                                  \
        const name##_vector *at = (const void *)data, *end = (const void *)(data + n);                                 \
        name##_vector a = {0}, b = a, c = a, d = a, e = a, f = a, g = a, h = a;                                        \
        for (; at < end; at += 8) {                                                                                    \
            a += at[0], b += at[1], c += at[2], d += at[3];                                                            \
            e += at[4], f += at[5], g += at[6], h += at[7];                                                            \
        }                                                                                                              \
        a += b + c + d + e + f + g + h;                                                                                \
        uint64_t sum = 0;                                                                                              \
        for (size_t i = 0; i < (bytes) / sizeof sum; i++) sum += a[i];                                                 \
        return sum;                                                                                                    \
    }

DEFINE_READER(read_generic, 16, )
#ifdef __x86_64__
DEFINE_READER(read_avx2, 32, __attribute__((target("avx2"))))
DEFINE_READER(read_avx512, 64, __attribute__((target("avx512f"))))
#endif

static reader *choose_reader(const char **name)
{
#ifdef __x86_64__
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) return *name = "avx512", read_avx512;
    if (__builtin_cpu_supports("avx2")) return *name = "avx2", read_avx2;
#endif
    return *name = "generic", read_generic;
}

struct team {
    reader *read;
    char *data;
    size_t part; /* bytes of each thread */
    unsigned repeats;
    pthread_barrier_t barrier;
    cpu_set_t cores; /* that this process may use */
};

struct member {
    struct team *team;
    unsigned index;
    pthread_t thread;
    uint64_t sum;
    double *seconds; /* of each pass; the first member's only */
};

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Threads take the cores in turn. Not being allowed to is no failure: then the system places them. */
static void stay_on_core(const struct team *team, unsigned index)
{
    unsigned turn = index % (unsigned)CPU_COUNT(&team->cores);
    for (size_t core = 0; core < CPU_SETSIZE; core++) {
        if (!CPU_ISSET(core, &team->cores) || turn-- > 0) continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(core, &one);
        (void)pthread_setaffinity_np(pthread_self(), sizeof one, &one);
        return;
    }
}

static void *run_member(void *context)
{
    struct member *member = context;
    struct team *team = member->team;
    char *part = team->data + member->index * team->part;
    stay_on_core(team, member->index);
    memset(part, (int)member->index + 1, team->part);
    for (unsigned i = 0; i < team->repeats; i++) {
        pthread_barrier_wait(&team->barrier);
        double start = seconds_now();
        member->sum += team->read(part, team->part);
        pthread_barrier_wait(&team->barrier);
        if (member->seconds) member->seconds[i] = seconds_now() - start;
    }
    return NULL;
}

static int compare_seconds(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* 1 unless every thread ran and read what it wrote. */
static int run_team(struct team *team, struct member *members, unsigned threads, double *seconds)
{
    unsigned wrong = 0;
    if (pthread_barrier_init(&team->barrier, NULL, threads) != 0) return 1;
    for (unsigned i = 0; i < threads; i++) {
        members[i] = (struct member){.team = team, .index = i, .seconds = i == 0 ? seconds : NULL};
        if (pthread_create(&members[i].thread, NULL, run_member, &members[i]) != 0) exit(1); /* others wait for it */
    }
    for (unsigned i = 0; i < threads; i++) {
        uint64_t word = UINT64_C(0x0101010101010101) * (uint8_t)(i + 1);
        pthread_join(members[i].thread, NULL);
        wrong += members[i].sum != word * (team->part / sizeof word) * team->repeats;
    }
    pthread_barrier_destroy(&team->barrier);
    return wrong > 0;
}

static unsigned long number(int argc, char **argv, int i, unsigned long otherwise, unsigned long limit)
{
    char *end = NULL;
    if (i >= argc) return otherwise;
    unsigned long value = strtoul(argv[i], &end, 10);
    if (*argv[i] >= '0' && *argv[i] <= '9' && *end == '\0' && value >= 1 && value <= limit) return value;
    fprintf(stderr, "membw: %s: a number from 1 to %lu expected\nusage: membw [THREADS [MIB [REPEATS]]]\n", argv[i],
            limit);
    exit(2);
}

int main(int argc, char **argv)
{
    static struct member members[MAX_THREADS];
    static double seconds[MAX_REPEATS];
    unsigned threads = (unsigned)number(argc, argv, 1, 1, MAX_THREADS);
    size_t mib = number(argc, argv, 2, 1024, 1u << 20);
    struct team team = {.repeats = (unsigned)number(argc, argv, 3, 15, MAX_REPEATS)};
    const char *loads;
    team.read = choose_reader(&loads);
    team.part = (mib << 20) / threads / STRIDE * STRIDE;
    if (sched_getaffinity(0, sizeof team.cores, &team.cores) != 0) return perror("membw: cores"), 1;
    void *map = mmap(NULL, mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return fprintf(stderr, "membw: no memory for %zu MiB\n", mib), 1;
    team.data = map;
    (void)madvise(map, mib << 20, MADV_HUGEPAGE);
    if (run_team(&team, members, threads, seconds)) return fprintf(stderr, "membw: a thread failed\n"), 1;
    qsort(seconds, team.repeats, sizeof *seconds, compare_seconds);
    double gigabytes = 1e-9 * (double)team.part * threads;
    printf("{\"name\":\"membw\",\"loads\":\"%s\",\"threads\":%u,\"mib\":%zu,\"repeat\":%u,\"gb_per_s\":%.2f,"
           "\"gb_per_s_min\":%.2f,\"gb_per_s_max\":%.2f}\n",
           loads, threads, mib, team.repeats, gigabytes / seconds[team.repeats / 2],
           gigabytes / seconds[team.repeats - 1], gigabytes / seconds[0]);
    munmap(map, mib << 20);
    return 0;
}
