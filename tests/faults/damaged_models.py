#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Damaged copies of a model file: an error or a result each time, never a crash, a hang or a silent failure.

    damaged_models.py SLUICE MODEL.gguf [--count 300] [--seed N] [--commands inspect,run] [--keep DIR]

Each copy is damaged in one of eight ways (truncated in the header or anywhere, bytes flipped in the header or in the data,
counts and lengths made huge, types changed, offsets changed, hyperparameters made absurd) and given to `sluice inspect COPY` and to
`sluice run COPY -p hi --max-tokens 4`. A run passes if it exits 0 with output, or 1 or 2 with exactly one line on stderr
that starts with "sluice: ", within 20 seconds. Ends with "N passed, M failed"; exit status 1 if any failed.
"""
import argparse
import collections
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

TIMEOUT_S = 20
SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
FLOATS = {6: "f", 12: "d"}
STRING, ARRAY = 8, 9


class Fields:
    """Where the header keeps its counts and lengths (u64), types (u32) and offsets (u64)."""

    def __init__(self, data):
        self.data, self.at = data, 8
        self.lengths, self.types, self.offsets, self.scalars = [8, 16], [], [], []
        n_tensors, n_keys = self.u64(), self.u64()
        for _ in range(n_keys):
            self.string()
            self.value(self.type())
        for _ in range(n_tensors):
            self.string()
            self.types.append(self.at)
            for _ in range(self.u32()):
                self.lengths.append(self.at)
                self.at += 8
            self.type()
            self.offsets.append(self.at)
            self.at += 8
        self.end = self.at

    def u32(self):
        self.at += 4
        return struct.unpack_from("<I", self.data, self.at - 4)[0]

    def u64(self):
        self.at += 8
        return struct.unpack_from("<Q", self.data, self.at - 8)[0]

    def length(self):
        self.lengths.append(self.at)
        return self.u64()

    def type(self):
        self.types.append(self.at)
        return self.u32()

    def string(self, note=True):
        n = self.length() if note else self.u64()
        self.at += n

    def value(self, kind):
        if kind == STRING:
            self.string()
        elif kind == ARRAY:
            element, count = self.type(), self.length()
            if element in SCALAR_BYTES:
                self.at += count * SCALAR_BYTES[element]
            else:
                for i in range(count):
                    # A few strings of a vocabulary are enough: else nearly all damage would hit token lengths.
                    self.string(note=i < 4) if element == STRING else self.value(element)
        else:
            self.scalars.append((self.at, kind))
            self.at += SCALAR_BYTES[kind]


def huge(rng):
    return rng.choice([2**16, 2**31, 2**32 - 1, 2**40, 2**62, 2**63, 2**64 - 1, 2**64 - 32, rng.getrandbits(64)])


def flip(rng, data, start, end):
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        data[rng.randrange(start, end)] ^= rng.choice([1, 0x80, 0xFF, rng.randrange(1, 256)])


def truncate_header(rng, data, fields):
    del data[rng.randrange(0, fields.end):]


def truncate_anywhere(rng, data, fields):
    del data[rng.randrange(0, len(data)):]


def flip_header(rng, data, fields):
    flip(rng, data, 0, fields.end)


def flip_data(rng, data, fields):
    flip(rng, data, min(fields.end, len(data) - 1), len(data))


def huge_length(rng, data, fields):
    struct.pack_into("<Q", data, rng.choice(fields.lengths), huge(rng))


def change_type(rng, data, fields):
    struct.pack_into("<I", data, rng.choice(fields.types), rng.choice([rng.randrange(16), rng.randrange(64), 2**32 - 1]))


def change_offset(rng, data, fields):
    at = rng.choice(fields.offsets or fields.lengths)
    old = struct.unpack_from("<Q", data, at)[0]
    new = rng.choice([0, old + 32, old + 1, len(data) // 32 * 32, huge(rng), huge(rng) // 32 * 32])
    struct.pack_into("<Q", data, at, new % 2**64)


def absurd_value(rng, data, fields):
    at, kind = rng.choice(fields.scalars)
    n = SCALAR_BYTES[kind]
    if kind in FLOATS:
        value = rng.choice([0.0, -1.0, 1e-38, 1e38, float("inf"), float("nan")])
        struct.pack_into("<" + FLOATS[kind], data, at, value)
    else:
        old = int.from_bytes(data[at:at + n], "little")
        value = rng.choice([0, 1, 2, old + 1, old * 2, old * 256, 2**16, 2**31 - 1, 2**31, 2**64 - 1, old - 1])
        data[at:at + n] = (value % 2**(8 * n)).to_bytes(n, "little")


WAYS = [truncate_header, truncate_anywhere, flip_header, flip_data, huge_length, change_type, change_offset, absurd_value]


def judge(command):
    """Runs command; returns (verdict, detail), verdict being "result", "error" or "failed"."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return "failed", f"no answer within {TIMEOUT_S} s"
    lines = done.stderr.decode("utf-8", "replace").splitlines()
    if any("Sanitizer" in line or "runtime error:" in line for line in lines):
        return "failed", "sanitizer: " + next(line for line in lines if "anitizer" in line or "runtime error:" in line)
    if done.returncode < 0:
        return "failed", f"killed by signal {-done.returncode}"
    if done.returncode == 0:
        return ("result", "") if done.stdout else ("failed", "exit status 0 without output")
    errors = [line for line in lines if line.startswith("sluice: ")]
    if done.returncode in (1, 2) and len(errors) == 1 and lines[-1:] == errors:
        return "error", errors[0]
    return "failed", f"exit status {done.returncode}, stderr: {lines}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sluice")
    parser.add_argument("model")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--commands", default="inspect,run")
    parser.add_argument("--keep", metavar="DIR", help="keep the copies that failed in DIR")
    options = parser.parse_args()
    if not os.access(options.sluice, os.X_OK):
        sys.exit(f"damaged_models.py: {options.sluice}: no such program (build it first)")
    with open(options.model, "rb") as file:
        original = file.read()
    fields = Fields(original)
    commands = {"inspect": lambda copy: [options.sluice, "inspect", copy],
                "run": lambda copy: [options.sluice, "run", copy, "-p", "hi", "--max-tokens", "4"]}
    chosen = [name for name in options.commands.split(",") if name]

    tally, failed_copies = collections.Counter(), 0
    with tempfile.TemporaryDirectory(prefix="sluice-damaged-") as folder:
        copy = os.path.join(folder, "damaged.gguf")
        for name in chosen:  # the undamaged file must work, or a refusal of everything would pass
            verdict, detail = judge(commands[name](options.model))
            if verdict != "result":
                sys.exit(f"damaged_models.py: the undamaged file fails: {name}: {detail}")
        for number in range(options.count):
            rng = random.Random(options.seed * 1000003 + number)
            way = WAYS[number % len(WAYS)]
            data = bytearray(original)
            way(rng, data, fields)
            with open(copy, "wb") as file:
                file.write(data)
            bad = False
            for name in chosen:
                verdict, detail = judge(commands[name](copy))
                tally[way.__name__, name, verdict] += 1
                if verdict == "failed":
                    bad = True
                    print(f"FAILED copy {number} ({way.__name__}, seed {options.seed}): {name}: {detail}")
            failed_copies += bad
            if bad and options.keep:
                os.makedirs(options.keep, exist_ok=True)
                shutil.copy(copy, os.path.join(options.keep, f"damaged-{options.seed}-{number}.gguf"))
    for way in WAYS:
        counts = ", ".join(f"{name}: {tally[way.__name__, name, 'result']} results "
                           f"{tally[way.__name__, name, 'error']} errors {tally[way.__name__, name, 'failed']} failed"
                           for name in chosen)
        print(f"{way.__name__:18} {counts}")
    print(f"{options.count - failed_copies} passed, {failed_copies} failed")
    return 1 if failed_copies else 0


if __name__ == "__main__":
    sys.exit(main())
