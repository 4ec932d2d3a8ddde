#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The logits of whole models are the same bytes on every card, alone and in batches of 2, 7, 16 and 64, with any chunk, 1
and 2 threads, with the prefix from the cache, and for KV pages of each format; and on the simulated card with the tile
kernels of each instruction set, and with matrices and page pools dealt over 1, 2, 4 and 32 banks. Of models with experts also
with as few slots as a token needs, one more, a tenth, half and all of them. And divided over 2, 3 and 4 cards, as far as there
are layers: of one kind, of profiles, and of two backends.

usage: same_bits.py SLUICE [--cards sim,opencl] [--every] [MODEL ...]

Without MODEL: the files of FULL_FOLDERS in tests/fixtures/models and the demo model in all those ways; of every other family a few,
unless --every is given.

Prompts have 75 tokens: two whole pages and a tail. Prints a line a file and ends with "N passed, M failed"; an instruction set
that the processor lacks is named and counted as skipped.
"""
import argparse
import json
import pathlib
import platform
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BESIDE = [["--beside", str(n - 1)] for n in (2, 7, 16, 64)]
# On the first card, whose plain run is what all others are held against; and on the others.
FIRST_WAYS = [*BESIDE, ["--chunk", "1"], ["--chunk", "7"], ["--chunk", "32"], ["--chunk", "33"], ["--threads", "1"],
              ["--threads", "2", "--chunk", "5", "--beside", "3"], ["--cached"], ["--cached", "--beside", "2"]]
OTHER_WAYS = [[], ["--chunk", "7"], ["--chunk", "1"], ["--beside", "6"], ["--cached"]]
# Tile kernels of the simulated card: only matrix products differ.
SIMD = ["generic", "neon"] if platform.machine() in ("aarch64", "arm64") else ["generic", "avx2", "avx512"]
SIMD_WAYS = [[], ["--beside", "6"], ["--chunk", "1"]]
# Banks of the simulated card: matrices and KV pages are dealt over them.
BANKS = ["sim:banks=1", "sim:banks=2", "sim:banks=4", "sim:banks=32"]
BANK_WAYS = [[], ["--chunk", "7", "--beside", "3"], ["--cached"]]
# Ways to run with a number of slots through which experts stream.
SLOT_WAYS = [[], ["--chunk", "7", "--beside", "3"], ["--chunk", "1", "--expert-guess", "both"], ["--cached", "--expert-guess", "none"]]
SLOT_CARDS = ["sim:banks=4", "sim:u55c", "ref"]
# The model divided over several cards (--cards), each list with these ways; the last ones with as few slots as a token needs.
LISTS = [("sim*2", 2), ("sim*3", 3), ("sim*4", 4), ("sim:u55c,sim:u50", 2)]
LIST_WAYS = [[], ["--chunk", "7", "--beside", "3"], ["--cached"]]
LIST_SLOT_WAYS = [["--expert-guess", "both"], ["--chunk", "1", "--expert-guess", "router"]]
KV_FORMATS = [[], ["--kv", "int8"], ["--kv", "int4"]]
FULL_FOLDERS = {"llama", "llama_k256", "llama_window", "qwen2", "qwen3", "qwen3_moe"}
BRIEF_FIRST_WAYS = [["--chunk", "1"], ["--chunk", "7", "--beside", "3"]]
BRIEF_OTHER_WAYS = [[], ["--chunk", "7", "--beside", "3"]]
BRIEF_KV = ["--kv", "int8"]
# Prefixes do not carry these on: they have states, or an encoder.
# Not to be cut anywhere, or not at as many places as there are cards: an encoder, layers that share pages or an index.
UNDIVIDED = {"t5", "mistral-large4", "deepseek32", "glm-dsa"}
WITHOUT_PREFIXES = {"kimi-linear", "qwen3next", "qwen35", "qwen35moe", "t5"}
TOKENS = ",".join(str((i * 37 + 5) % 200) for i in range(75))


def logits(sluice, model, card, way):
    several = ["--cards", card[1]] if isinstance(card, tuple) else ["--card", card]
    way = [*way, "--decoder-tokens", TOKENS] if "t5" in model.parent.name else way
    done = subprocess.run([sluice, "logits", str(model), *several, "--tokens", TOKENS, "--out", "-", *way],
                          capture_output=True, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(several)} {' '.join(way)}: " + done.stderr.decode(errors="replace").strip()[-300:])
    return done.stdout


def present_simd(sluice, model, cards):
    """The cards sim:simd=NAME that this processor can be, and what the others said."""
    present, absent = [], []
    for card in [f"sim:simd={name}" for name in SIMD] if cards[0] == "sim" else []:
        try:
            logits(sluice, model, card, [])
        except RuntimeError as why:
            if "in this build or processor" in str(why):
                absent.append(str(why))
                continue
        present.append(card)
    return present, absent


def inspected(sluice, model):
    done = subprocess.run([sluice, "inspect", str(model), "--json"], capture_output=True, timeout=600, check=True)
    return json.loads(done.stdout)


def expert_slots(sluice, model):
    """Numbers of slots for the model's experts; none if it has no experts."""
    values = inspected(sluice, model)["hyperparameters"]
    experts, used = values.get("expert_count", 0), values.get("expert_used_count", 0)
    everything = experts * values["block_count"]
    few = {used, used + 1, max(everything // 10, used), everything // 2, everything}
    return sorted(few) if experts else []


def compare_lists(sluice, model, cards, no_prefixes):
    n, slots = 0, expert_slots(sluice, model)
    want = logits(sluice, model, cards[0], [])
    lists = LISTS if cards[0] == "sim" else []
    lists = lists + [(f"{cards[0]},{card}", 2) for card in cards[1:]] + [(f"{card}*2", 2) for card in cards[1:]]
    for list_, n_cards in lists:
        if n_cards > inspected(sluice, model)["hyperparameters"]["block_count"]:
            continue
        ways = LIST_WAYS if "sim" in list_.split(",")[0] else [[]]
        ways = [way for way in ways if not (no_prefixes and "--cached" in way)]
        ways = ways + [["--expert-slots", str(few), *way] for few in slots[:2] for way in LIST_SLOT_WAYS]
        for way in ways:
            n += 1
            if logits(sluice, model, ("--cards", list_), way) != want:
                raise RuntimeError(f"--cards {list_} {' '.join(way)}: other bytes than {cards[0]}")
    return n


def compare_slots(sluice, model, cards, no_prefixes):
    n, slots = 0, expert_slots(sluice, model)
    slot_ways = [way for way in SLOT_WAYS if "--cached" not in way] if no_prefixes else SLOT_WAYS
    for card in [*cards, *(SLOT_CARDS if cards[0] == "sim" else [])] if slots else []:
        want = logits(sluice, model, card, [])
        for way in [["--expert-slots", str(few), *way] for few in slots for way in slot_ways]:
            n += 1
            if logits(sluice, model, card, way) != want:
                raise RuntimeError(f"{card} {' '.join(way)}: other bytes than with all experts resident")
    return n


def compare_briefly(sluice, model, cards):
    n = 0
    for kv in [[], BRIEF_KV]:
        want = logits(sluice, model, cards[0], kv)
        ways = [(cards[0], way) for way in (BRIEF_FIRST_WAYS if not kv else [])]
        ways += [(card, way) for card in cards[1:] for way in (BRIEF_OTHER_WAYS if not kv else BRIEF_OTHER_WAYS[:1])]
        for card, way in ways:
            n += 1
            if logits(sluice, model, card, kv + way) != want:
                raise RuntimeError(f"{card} {' '.join(kv + way)}: other bytes than {cards[0]}")
    return n


def compare(sluice, model, cards, simd):
    n = 0
    no_prefixes = inspected(sluice, model)["architecture"] in WITHOUT_PREFIXES
    for kv in KV_FORMATS:
        want = logits(sluice, model, cards[0], kv)
        if len(want) < 75 * 4:
            raise RuntimeError(f"{cards[0]}: {len(want)} bytes of logits")
        ways = [(cards[0], way) for way in (FIRST_WAYS if not kv else OTHER_WAYS[1:])]
        ways += [(card, way) for card in cards[1:] for way in (OTHER_WAYS if not kv else OTHER_WAYS[:2])]
        ways += [(card, way) for card in simd for way in SIMD_WAYS if not kv]
        ways += [(card, way) for card in BANKS for way in BANK_WAYS if cards[0] == "sim"]
        ways = [(card, way) for card, way in ways if not (no_prefixes and "--cached" in way)]
        for card, way in ways:
            n += 1
            if logits(sluice, model, card, kv + way) != want:
                raise RuntimeError(f"{card} {' '.join(kv + way)}: other bytes than {cards[0]}")
    if inspected(sluice, model)["architecture"] not in UNDIVIDED:
        n += compare_lists(sluice, model, cards, no_prefixes)
    return n + compare_slots(sluice, model, cards, no_prefixes)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("sluice")
    p.add_argument("--cards", default="sim,opencl")
    p.add_argument("--every", action="store_true")
    p.add_argument("models", nargs="*")
    args = p.parse_args()
    models = [pathlib.Path(m) for m in args.models] or [
        *sorted((ROOT / "tests/fixtures/models").glob("*/model-*.gguf")), *sorted((ROOT / "tests/fixtures/models").glob("*/hf")), ROOT / "host/model/demo/demo.gguf"]
    cards, failed = args.cards.split(","), 0
    simd, absent = present_simd(args.sluice, models[0], cards)
    for why in absent:
        print(f"skip {why}", flush=True)
    for model in models:
        name = f"{model.parent.name}/{model.name}"
        brief = not args.every and not args.models and model.parent.name not in FULL_FOLDERS | {"demo"}
        try:
            n = compare_briefly(args.sluice, model, cards) if brief else compare(args.sluice, model, cards, simd)
            print(f"ok {name}: {n} runs alike", flush=True)
        except (RuntimeError, subprocess.TimeoutExpired) as why:
            failed += 1
            print(f"FAILED {name}: {why}", flush=True)
    print(f"{len(models) - failed} passed, {failed} failed" + (f", {len(absent)} skipped" if absent else ""))
    return 1 if failed or not models else 0


if __name__ == "__main__":
    sys.exit(main())
