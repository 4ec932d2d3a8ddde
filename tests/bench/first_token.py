#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Time from process start to the first byte of the answer, as a user sees it; one JSON line for each measurement.
usage: first_token.py SLUICE [--runs N] [--quickstart]
Timing window: from fork to the first byte on stdout that belongs to the answer. The page cache is warm from the first, uncounted, run."""
import argparse
import json
import pathlib
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


def seconds_to_first_byte(command):
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, bufsize=0) as process:
        process.stdout.read(1)
        elapsed = time.perf_counter() - started
        process.stdout.read()
    return elapsed


def seconds_to_quickstart_answer():
    """The answer's first character follows the line with the question."""
    started = time.perf_counter()
    with subprocess.Popen(["host/quickstart.sh"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT,
                          bufsize=0) as process:
        seen = b""
        while not (b"\n> " in b"\n" + seen and seen.split(b"> ", 1)[1].partition(b"\n")[2].strip()):
            byte = process.stdout.read(1)
            if not byte:
                raise SystemExit("the quickstart gave no answer:\n" + seen.decode(errors="replace"))
            seen += byte
        elapsed = time.perf_counter() - started
        process.stdout.read()
    return elapsed


def report(name, measure, runs, revision):
    measure()
    figures = sorted(measure() for _ in range(runs))
    print(json.dumps({"name": name, "unit": "ms", "median": round(1000 * statistics.median(figures), 1),
                      "min": round(1000 * figures[0], 1), "max": round(1000 * figures[-1], 1), "runs": runs,
                      "revision": revision}), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("sluice")
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--quickstart", action="store_true", help="measure the quickstart's second run too")
    options = parser.parse_args()
    version = subprocess.run([options.sluice, "--version"], capture_output=True, text=True, check=True).stdout
    revision = version.split("revision ")[1].split(")")[0]
    ask = [str(pathlib.Path(options.sluice).resolve()), "run", "-p", "How do I list the cards?", "-n", "1"]
    report("first token after process start, demo model", lambda: seconds_to_first_byte(ask), options.runs, revision)
    if options.quickstart:
        report("quickstart, second run, to the first character of the answer", seconds_to_quickstart_answer,
               max(3, options.runs // 3), revision)


main()
