#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""House rules that a program can check. Prints each breach as file:line, and a count."""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# What each folder may include; its own folder, host/base and the generated revision header are always allowed.
ARROWS = {
    "kernels/abi": set(),
    "kernels/hls": {"kernels/abi"},
    "host/base": set(),
    "bitstreams/profiles": {"kernels/abi"},
    "bitstreams": {"kernels/abi", "bitstreams/profiles"},
    "sim": {"kernels/abi", "bitstreams/profiles"},
    "driver": set(),
    "sim/xrt": {"kernels/abi", "kernels/hls", "sim", "bitstreams/profiles"},
    "host/card": {"kernels/abi", "sim", "bitstreams", "bitstreams/profiles"},
    "host/card/xrt": {"kernels/abi", "host/card", "sim"},
    "host/model": {"kernels/abi", "host/card"},
    "host/model/families": {"kernels/abi", "host/card", "host/model"},
    "host/model/hf": {"kernels/abi", "host/model"},
    "host/plan": {"kernels/abi", "host/card", "host/model", "host/text", "bitstreams/profiles"},
    "host/text": {"host/model"},
    "host/text/grammar": {"host/model", "host/text"},
    "host/experts": {"kernels/abi", "host/card", "host/model"},
    "host/engine": {"kernels/abi", "host/card", "host/model", "host/text", "host/text/grammar", "host/experts"},
    "host/serve": {"client", "host/card", "host/model", "host/text", "host/text/grammar", "host/experts", "host/engine"},
    "host/cli": {"kernels/abi", "host/card", "host/model", "host/text", "host/text/grammar", "host/experts", "host/engine", "host/serve", "host/plan", "driver", "bitstreams", "bitstreams/profiles", "sim"},
}
# Folders of programs of their own, which may leave their process.
PROGRAMS = {"host/cli", "host/card/xrt", "sim/xrt"}
FORBIDDEN = re.compile(r"\b(strcpy|strcat|sprintf|vsprintf|strtok|atoi|atol|atof|gets|alloca|system)\s*\(")
# Where time is virtual on a card that keeps a clock, and the places in it that may read a wall clock all the same.
VIRTUAL_TIME = {"sim", "host/experts", "host/engine", "host/model", "host/text", "host/text/grammar", "host/plan"}
WALL_CLOCK = re.compile(r"\b(clock_gettime|clock_nanosleep|gettimeofday|time|times|clock|ftime|timespec_get|getrusage|nanosleep|usleep|sleep|"
                        r"\w*timedwait|\w*clockwait|\w*rdtscp?|__builtin_readcyclecounter|event_base_gettime\w*|evutil_gettime\w*|seconds_now)\(")
WALL_CLOCK_PLACES = {
    "host/text/jinja.c",  # the day that a chat template writes into a prompt (strftime_now)
    "host/engine/engine_clock.c",  # arrivals, and all times on a card without a clock
    "host/experts/copier.c",  # how long copies take and programs wait in real time, for the counters; and the delays of tests
    "sim/mailbox.c",  # how long a program waits for a thread of the host that may have died: ends a run, times nothing
}
LEAVES = re.compile(r"\b(exit|_exit|abort|quick_exit)\s*\(")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
MACHINE_PATH = re.compile(r"(^|[^A-Za-z0-9_.])/(work|farm|root|home)/")
SOURCE = {".c", ".h", ".S", ".py", ".sh", ".cmake", ".cpp", ".sv", ".tcl", ".cfg"}


def tracked():
    names = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                           capture_output=True, check=True).stdout
    return [ROOT / n.decode() for n in names.split(b"\0") if n and (ROOT / n.decode()).is_file()]


def folder_of(path):
    return path.relative_to(ROOT).parent.as_posix()


def check_includes(path, lines, report):
    allowed = ARROWS.get(folder_of(path))
    if allowed is None:
        return
    own = {folder_of(path), "host/base"}
    for number, line in enumerate(lines, 1):
        match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not match or match[1] == "sluice_revision.h":
            continue
        target = pathlib.PurePosixPath(match[1]).parent.as_posix()
        if target not in own | allowed:
            report(path, number, f"{folder_of(path)} may not include {match[1]}")


def check_source(path, lines, report):
    if not any("SPDX-License-Identifier: Apache-2.0" in line for line in lines[:3]):
        report(path, 1, "no SPDX line")
    if path.suffix in {".c", ".h"}:
        check_includes(path, lines, report)
        library = folder_of(path) in ARROWS and folder_of(path) not in PROGRAMS
        for number, line in enumerate(lines, 1):
            code = re.sub(r'"(\\.|[^"\\])*"', '""', line).split("//")[0]
            if FORBIDDEN.search(code):
                report(path, number, "forbidden function: " + code.strip())
            if folder_of(path) in VIRTUAL_TIME and path.relative_to(ROOT).as_posix() not in WALL_CLOCK_PLACES and WALL_CLOCK.search(code):
                report(path, number, "wall clock where time is virtual (host/engine/engine_clock.h): " + code.strip())
            if library and LEAVES.search(code) and not code.lstrip().startswith("*"):
                report(path, number, "library code does not leave the process")
            if len(line.expandtabs()) > 140:
                report(path, number, "line longer than 140 characters")
    for number, line in enumerate(lines, 1):
        if path != pathlib.Path(__file__).resolve() and UNFINISHED.search(line):
            report(path, number, "unfinished work: " + line.strip())


def check_house(report):
    folders = ["kernels", "kernels/hls", "kernels/opencl", "kernels/rtl", "bitstreams", "bitstreams/build", "tests"]
    for folder in sorted(ARROWS) + folders:
        if not (ROOT / folder / "README.md").is_file():
            report(ROOT / folder, 0, "no README.md")


def check_format(paths, report):
    run = subprocess.run(["clang-format", "--dry-run", "-Werror", *map(str, paths)], capture_output=True, text=True)
    places = re.findall(r"^(.*?):(\d+):\d+: error: ", run.stderr, re.M)
    for name in sorted({name for name, _ in places}):
        report(pathlib.Path(name), min(int(n) for p, n in places if p == name), "not as clang-format writes it")


def main():
    breaches, files = [], tracked()
    report = lambda path, number, text: breaches.append(f"{path.relative_to(ROOT)}:{number}: {text}")
    for path in files:
        size = path.stat().st_size
        if size > 12 << 20:
            report(path, 0, "larger than 12 MB")
        if path.suffix not in SOURCE | {".md", ".txt", ".json"} and path.name not in {"run", "CMakeLists.txt"}:
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            if MACHINE_PATH.search(line) and path != pathlib.Path(__file__).resolve():
                report(path, number, "path of one machine: " + line.strip()[:80])
        if path.suffix in SOURCE or path.name in {"run", "CMakeLists.txt"}:
            check_source(path, lines, report)
    if sum(p.stat().st_size for p in files) > 60 << 20:
        report(ROOT, 0, "the tree is larger than 60 MB")
    check_house(report)
    check_format([p for p in files if p.suffix in {".c", ".h"}], report)
    print("\n".join(breaches))
    print(f"{len(files)} files")
    print(f"{len(files) - len({b.split(':')[0] for b in breaches})} passed, {len(breaches)} failed")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
