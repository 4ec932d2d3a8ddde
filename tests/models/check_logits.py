#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the logits of `sluice logits` against references from outside, for every file of tests/fixtures/models.

usage: check_logits.py SLUICE [--card ref|sim|both] [WORD ...]     (WORD: only files whose name contains one)

On the ref card (float32 throughout) every logit must be within 1e-3. On the sim card (8-bit activations) the median
row's error must be at most 1.25 times that of llama.cpp on the same file, in the geometric mean over all files at most
1.0 times, and the top token as often the right one, less 0.06. On both, the reference's greedy continuation must come out, save for steps whose margin is too small.
Prints a line a file and ends with "N passed, M failed"; exit status 0 only if none failed.
"""
import argparse
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "models"
REF_LOGIT_ERROR = 1e-3
PEER_FACTOR, PEER_MEAN_FACTOR, TOP1_SLACK = 1.25, 1.0, 0.06
NO_PEER = {"nmse_median_row": 4e-4, "top1_agreement": 0.98}  # where llama.cpp does not compute the same: as in its sisters
# A greedy step counts if the reference's first token leads by more than two logits may be off. On the sim card that is
# what 8-bit activations do to these models, whose logits have a standard deviation of 2: 0.25 at most in dense ones.
GREEDY_MARGIN = {"ref": 2 * REF_LOGIT_ERROR, "sim": 0.25}


class Failure(Exception):
    pass


def run_logits(sluice, model, card, tokens, n_vocab, source=None):
    """One row of n_vocab logits for each of tokens; source: what an encoder reads, tokens being its decoder's."""
    with tempfile.NamedTemporaryFile() as out:
        command = [sluice, "logits", str(model), "--card", card, "--out", out.name]
        command += ["--tokens", ",".join(map(str, source or tokens))]
        command += ["--decoder-tokens", ",".join(map(str, tokens))] if source else []
        try:
            done = subprocess.run(command, capture_output=True, timeout=120)
        except subprocess.TimeoutExpired as late:
            raise Failure("no answer in 120 s") from late
        if done.returncode != 0:
            raise Failure(done.stderr.decode(errors="replace").strip()[-300:] or f"exit status {done.returncode}")
        rows = numpy.fromfile(out.name, "<f4")
    if rows.size != len(tokens) * n_vocab:
        raise Failure(f"{rows.size} logits, not {len(tokens)} x {n_vocab}")
    return rows.reshape(-1, n_vocab)


def check_greedy(rows, n_prompt, greedy, margins, tolerance):
    """rows are of the prompt and the reference's own continuation: each must have the next token on top, wherever the
    margin is large enough. Feeding the reference's tokens lets the steps after a close one count too."""
    counted = [step for step, margin in enumerate(margins) if margin >= tolerance]
    for step in counted:
        top = int(rows[n_prompt - 1 + step].argmax())
        if top != greedy[step]:
            raise Failure(f"greedy step {step} is token {top}, not {greedy[step]}, whose margin is {margins[step]}")
    return len(counted)


def compare(got, want, card, peer, ratios):
    if not numpy.isfinite(got).all():
        raise Failure("a logit is not finite")
    largest = float(numpy.abs(got - want).max())
    variance = ((want - want.mean(1, keepdims=True)) ** 2).sum(1)
    nmse = float(numpy.median(((got - want) ** 2).sum(1) / variance))
    top1 = float((got.argmax(1) == want.argmax(1)).mean())
    found = f"max {largest:.1e} nmse {nmse:.1e} top1 {top1:.2f}"
    if card == "sim" and peer is not NO_PEER:
        ratios.append(nmse / peer["nmse_median_row"])
        found += f" ({ratios[-1]:.3f} x llama.cpp)"
    if card == "ref":
        if largest > REF_LOGIT_ERROR:
            raise Failure(f"{found}: a logit is off by more than {REF_LOGIT_ERROR:g}")
    elif nmse > PEER_FACTOR * peer["nmse_median_row"]:
        raise Failure(f"{found}: nmse above {PEER_FACTOR} x {peer['nmse_median_row']:.1e}")
    elif top1 < peer["top1_agreement"] - TOP1_SLACK:
        raise Failure(f"{found}: top1 below {peer['top1_agreement']:.2f} - {TOP1_SLACK}")
    return found


def kind_of(model):
    """Of a folder of safetensors: f32, as what its weights are rounded to is no format of a file."""
    return "f32" if model.is_dir() else model.stem.removeprefix("model-")


def check_file(sluice, model, card, ratios):
    reference = json.loads((model.parent / "reference.json").read_text())
    kind, n_vocab = kind_of(model), reference["n_vocab"]
    want = numpy.fromfile(model.parent / f"logits-{kind}.bin", "<f4").reshape(-1, n_vocab)
    rows, steps = [], 0
    for i, prompt in enumerate(reference["prompts"]):
        source, decoder = None, reference.get("decoder_inputs")
        if decoder:
            source, prompt = prompt, decoder[i]
        got = run_logits(sluice, model, card, prompt, n_vocab, source)
        rows.append(got)
        # What follows a decoder's inputs was made from its start token; steps count where 8-bit activations turn no choice.
        greedy, margins = reference["greedy"][kind][i], reference["greedy_margins"][kind][i]
        start = prompt[:1] if decoder else prompt
        if card == "ref" or not reference.get("choices_turn"):
            got = run_logits(sluice, model, card, start + greedy[:-1], n_vocab, source)
            steps += check_greedy(got, len(start), greedy, margins, GREEDY_MARGIN[card])
    return f"{compare(numpy.concatenate(rows), want, card, reference['llama_cpp'][kind] or NO_PEER, ratios)}, {steps} greedy steps"


def check_demo(sluice, ratios):
    """The demo model on sim against ref, beside what llama.cpp was measured to be off on the same file and prompts."""
    peer = json.loads((FIXTURES / "demo-peer.json").read_text())
    demo = FIXTURES.parents[2] / "host/model/demo/demo.gguf"
    if hashlib.sha256(demo.read_bytes()).hexdigest() != peer["file_sha256"]:
        raise Failure("demo-peer.json was measured on another demo.gguf")
    n_vocab = peer["n_vocab"]
    got, want = (numpy.concatenate([run_logits(sluice, demo, card, prompt, n_vocab) for prompt in peer["prompts"]])
                 for card in ("sim", "ref"))
    return compare(got, want, "sim", peer["llama_cpp"], ratios)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sluice")
    parser.add_argument("--card", choices=["ref", "sim", "both"], default="both")
    parser.add_argument("word", nargs="*")
    options = parser.parse_args()
    passed = failed = 0
    ratios = []
    for card in ["ref", "sim"] if options.card == "both" else [options.card]:
        for model in sorted([*FIXTURES.glob("*/model-*.gguf"), *FIXTURES.glob("*/hf")]):
            name = f"{model.parent.name} {kind_of(model)}"
            if card != "ref" and name.endswith(" f32"):
                continue  # the references of f32 files do not round weights; the int8 ones have files of their own
            if options.word and not any(word in name for word in options.word):
                continue
            try:
                print(f"ok     {card} {name}: {check_file(options.sluice, model, card, ratios)}")
                passed += 1
            except Failure as why:
                print(f"FAILED {card} {name}: {why}")
                failed += 1
    if options.card != "ref" and not options.word:
        try:
            print(f"ok     sim demo: {check_demo(options.sluice, ratios)}")
            passed += 1
        except Failure as why:
            print(f"FAILED sim demo: {why}")
            failed += 1
    if ratios:
        mean = float(numpy.exp(numpy.log(ratios).mean()))
        verdict = "ok    " if mean <= PEER_MEAN_FACTOR else "FAILED"
        print(f"{verdict} sim: geometric mean of nmse over llama.cpp's {mean:.3f}, of {len(ratios)} files")
        passed, failed = passed + (mean <= PEER_MEAN_FACTOR), failed + (mean > PEER_MEAN_FACTOR)
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
