#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Virtual times, to the picosecond: what is in tests/fixtures/virtual/expected.jsonl, on any machine, with any number of threads and any tile kernel.
usage: virtual_times_test.py SLUICE [--write]
--write: the clock or a profile has changed on purpose; writes the file anew, to be looked at with git diff."""
import json
import pathlib
import subprocess
import sys

SLUICE = str(pathlib.Path(sys.argv[1]).resolve())
ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests/fixtures/virtual"
EXPECTED = FOLDER / "expected.jsonl"
PROFILES = sorted(path.stem for path in (ROOT / "bitstreams/profiles/cards").glob("*.json"))
# What a line keeps besides its name: nothing that depends on this machine or on the revision.
EXACT = ("model", "card_profile", "batch", "tokens", "picoseconds_virtual", "tokens_per_s_virtual", "j_per_token", "watts",
         "bandwidth_fraction", "limiting_resource", "utilisation", "energy_j", "counters")


def lines(card, way, *arguments):
    threads, settings = way
    command = [SLUICE, "bench", "--card", card + settings, "--no-hash", "-t", threads, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, (command, run.stderr)
    return [json.loads(line) for line in run.stdout.splitlines()]


def bench(card, way):
    found = lines(card, way, "-p", "64", "-n", "16", "-b", "4", "-r", "1")
    return [{"card": card, "name": line["name"]} | {key: line[key] for key in EXACT} for line in found]


def arrivals(card, way):
    found = lines(card, way, "--arrivals", str(FOLDER / "arrivals.csv"), "--max-seqs", "4", "--chunk", "64")
    for line in found:
        line.pop("revision", None)
        line["card"] = card
    return found


def measure(way):
    found = [line for profile in PROFILES for line in bench(f"sim:{profile}", way)]
    found += bench("sim:u55c,timing", way) + arrivals("sim:u55c", way) + arrivals("sim:u250,timing", way)
    return [json.dumps(line, sort_keys=True) for line in found]


def main():
    assert PROFILES, "no profiles"
    if sys.argv[2:] == ["--write"]:
        EXPECTED.write_text("\n".join(measure(("1", ""))) + "\n")
        return 0
    expected, passed, failed = EXPECTED.read_text().splitlines(), 0, 0
    for way in (("1", ""), ("2", ""), ("2", ",simd=generic")):
        found = measure(way)
        if len(found) != len(expected):
            failed += 1
            print(f"{len(found)} lines, {len(expected)} expected")
        for a, b in zip(found, expected):
            if a == b:
                passed += 1
                continue
            failed += 1
            was, now = json.loads(b), json.loads(a)
            for key in sorted(was.keys() | now.keys()):
                if was.get(key) != now.get(key):
                    print(f"{was['card']} {was['name']}, threads and settings {way}: {key} is {now.get(key)}, was {was.get(key)}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
