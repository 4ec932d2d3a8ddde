#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The lint refuses every wall clock where time is virtual, but in the places that it names, and lets other time pass."""
import sys

import lint

SPDX = "/* SPDX-License-Identifier: Apache-2.0 */"
CLOCKS = ["clock_gettime(CLOCK_MONOTONIC, &now);", "gettimeofday(&now, NULL);", "created = time(NULL);", "start = clock();", "x = __rdtsc();",
          "x = __builtin_ia32_rdtsc();", "event_base_gettimeofday_cached(base, &now);", "pthread_cond_timedwait(&wake, &mutex, &until);",
          "nanosleep(&pause, NULL);", "double start = seconds_now();"]
TIMELESS = ["uint64_t now = engine_clock_now(&engine->clock);", "card_now(card, &ps, err);", "pthread_cond_wait(&wake, &mutex);",
            "/* seconds, by the wall clock (see engine_clock.h) */", 'error_set(err, ERROR_IO, "time(NULL) is no name");']


def breaches(path, line):
    found = []
    lint.check_source(lint.ROOT / path, [SPDX, line], lambda path, number, text: found.append((number, text)))
    return [text for number, text in found if number == 2 and "wall clock" in text]


def main():
    failed = []
    for folder in ("sim", "host/engine", "host/experts"):
        failed += [f"{folder}: passes: {line}" for line in CLOCKS if not breaches(f"{folder}/new.c", line)]
        failed += [f"{folder}: refused: {line}" for line in TIMELESS if breaches(f"{folder}/new.c", line)]
    for path in sorted(lint.WALL_CLOCK_PLACES) + ["host/cli/progress.c", "host/serve/server.c"]:
        failed += [f"{path}: refused: {line}" for line in CLOCKS if breaches(path, line)]
    for path in sorted(lint.WALL_CLOCK_PLACES):
        if not any(lint.WALL_CLOCK.search(line) for line in (lint.ROOT / path).read_text().splitlines()):
            failed.append(f"{path}: reads no clock and needs no leave")
    total = 3 * (len(CLOCKS) + len(TIMELESS)) + (len(lint.WALL_CLOCK_PLACES) + 2) * len(CLOCKS) + len(lint.WALL_CLOCK_PLACES)
    print("\n".join(failed))
    print(f"{total - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
