#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The logits of whole models are the same bytes on two cards, with any chunk and with other sequences beside.

usage: same_bits.py SLUICE [--cards sim,opencl] [MODEL ...]     (no MODEL: every file of tests/fixtures/models, the demo model)

Prompts have 75 tokens: two whole pages and a tail. Prints a line a file and ends with "N passed, M failed".
"""
import argparse
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
WAYS = [[], ["--chunk", "7"], ["--chunk", "1"], ["--beside", "2"]]
TOKENS = ",".join(str((i * 37 + 5) % 200) for i in range(75))


def logits(sluice, model, card, way):
    done = subprocess.run([sluice, "logits", str(model), "--card", card, "--tokens", TOKENS, "--out", "-", *way],
                          capture_output=True, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(f"{card} {' '.join(way)}: " + done.stderr.decode(errors="replace").strip()[-300:])
    return done.stdout


def compare(sluice, model, cards):
    want = logits(sluice, model, cards[0], [])
    if len(want) < 75 * 4:
        raise RuntimeError(f"{cards[0]}: {len(want)} bytes of logits")
    for card in cards[1:]:
        for way in WAYS:
            if logits(sluice, model, card, way) != want:
                raise RuntimeError(f"{card} {' '.join(way)}: other bytes than {cards[0]}")
    return len(want)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("sluice")
    p.add_argument("--cards", default="sim,opencl")
    p.add_argument("models", nargs="*")
    args = p.parse_args()
    models = [pathlib.Path(m) for m in args.models] or [
        *sorted((ROOT / "tests/fixtures/models").glob("*/model-*.gguf")), ROOT / "host/model/demo/demo.gguf"]
    failed = 0
    for model in models:
        name = f"{model.parent.name}/{model.name}"
        try:
            print(f"ok {name}: {compare(args.sluice, model, args.cards.split(','))} bytes", flush=True)
        except (RuntimeError, subprocess.TimeoutExpired) as why:
            failed += 1
            print(f"FAILED {name}: {why}", flush=True)
    print(f"{len(models) - failed} passed, {failed} failed")
    return 1 if failed or not models else 0


if __name__ == "__main__":
    sys.exit(main())
