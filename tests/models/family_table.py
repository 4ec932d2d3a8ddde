#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The table of families in host/model/README.md: which formats were compared with what, and how far off the logits are.

usage: family_table.py SLUICE FIXTURES [--write README]

FIXTURES has a folder for each model: reference.json, logits-KIND.bin (Hugging Face in float32, with the weights of that very file), model-KIND.gguf
and hf/ (tests/fixtures/models has some). README: the lines between the two marks are replaced. Prints the table, what ended with an error,
and exits with 1 if a logit on ref is off by more than 1e-3.

sim: the median row's squared error over its variance: of quantized files as a multiple of llama.cpp's (peer_nmse.json beside the folders),
where that computes the same; of the others and of folders, whose weights are rounded too, as it is.
"""
import argparse
import collections
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy

MARKS = "<!-- families: tests/models/family_table.py -->", "<!-- end -->"
REF_LOGIT_ERROR = 1e-3
# Headers that lack what the variant needs: the window, the chunk, the rounding of YaRN's range. Their folders have it.
ONLY_FOLDERS = {"mistral_swa", "llama4_chunk", "gpt_oss_trunc"}
# The experts of hf-mxfp4/ are those of hf/ in another format, value by value, and all else is the same: so is the reference. (logits-mxfp4.bin
# is of model-mxfp4.gguf, whose other matrices are Q8_0.)
REFERENCE = {"hf": "f32", "hf-mxfp4": "f32"}


def logits(sluice, model, card, reference):
    rows = []
    for i, prompt in enumerate(reference["prompts"]):
        with tempfile.NamedTemporaryFile() as out:
            command = [sluice, "logits", str(model), "--card", card, "--tokens", ",".join(map(str, prompt)), "--out", out.name]
            if reference.get("decoder_inputs"):
                command += ["--decoder-tokens", ",".join(map(str, reference["decoder_inputs"][i]))]
            done = subprocess.run(command, capture_output=True, timeout=300)
            if done.returncode != 0:
                raise RuntimeError(done.stderr.decode(errors="replace").strip()[-200:])
            rows.append(numpy.fromfile(out.name, "<f4"))
    return numpy.concatenate(rows).reshape(-1, reference["n_vocab"])


def files_of(folder):
    """(file, name for the table, reference's kind)"""
    found = [] if folder.name in ONLY_FOLDERS else [(m, m.stem[6:].upper(), m.stem[6:]) for m in sorted(folder.glob("model-*.gguf"))]
    return found + [(folder / name, "folder" if name == "hf" else "folder in MXFP4", kind)
                    for name, kind in REFERENCE.items() if (folder / name).exists()]


def measure(sluice, folder, peers, row, failures):
    reference = json.loads((folder / "reference.json").read_text())
    agrees = reference.get("status", "HF+llama.cpp").startswith("HF+llama.cpp")
    for model, name, kind in files_of(folder):
        want = numpy.fromfile(folder / f"logits-{kind}.bin", "<f4").reshape(-1, reference["n_vocab"])
        try:
            row["ref"].append(float(numpy.abs(logits(sluice, model, "ref", reference) - want).max()))
            row["formats"].add(name)
            if name == "F32":
                continue
            got = logits(sluice, model, "sim", reference)
        except (RuntimeError, subprocess.TimeoutExpired) as why:
            failures.append(f"{folder.name} {name}: {why}")
            continue
        variance = ((want - want.mean(1, keepdims=True)) ** 2).sum(1)
        error = float(numpy.median(((got - want) ** 2).sum(1) / variance))
        peer = (peers.get(folder.name) or {}).get(kind) if agrees and model.suffix == ".gguf" else None
        row["peer" if peer else "alone"].append(error / (peer["nmse_median_row"] if peer else 1))


def order(formats):
    return ", ".join(sorted(formats, key=lambda name: (name.startswith("folder"), name)))


def table(rows):
    lines = ["| architecture | models | formats | `ref`: largest difference | `sim`: x llama.cpp's | `sim`: without it |", "|---|---|---|---|---|---|"]
    for architecture, row in sorted(rows.items()):
        if not row["ref"]:
            continue
        peer = f"{min(row['peer']):.2f} to {max(row['peer']):.2f}" if row["peer"] else "-"
        alone = f"{max(row['alone']):.1e}" if row["alone"] else "-"
        lines.append(f"| {architecture} | {', '.join(row['folders'])} | {order(row['formats'])} | {max(row['ref']):.1e} | {peer} | {alone} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sluice")
    parser.add_argument("fixtures", type=pathlib.Path)
    parser.add_argument("--write", type=pathlib.Path)
    options = parser.parse_args()
    peer_file = options.fixtures / "peer_nmse.json"
    peers = json.loads(peer_file.read_text()) if peer_file.exists() else {}
    rows = collections.defaultdict(lambda: {"folders": [], "formats": set(), "ref": [], "peer": [], "alone": []})
    failures = []
    for folder in sorted(p.parent for p in options.fixtures.glob("*/reference.json")):
        reference = json.loads((folder / "reference.json").read_text())
        architecture = reference.get("gguf_arch", folder.name)
        row = rows[folder.name if architecture == "(none)" else architecture]
        row["folders"].append(folder.name)
        measure(options.sluice, folder, peers, row, failures)
    text = table(rows)
    print(text)
    for failure in failures:
        print(f"not compared: {failure}")
    if options.write:
        readme = options.write.read_text()
        first, rest = readme.split(MARKS[0])
        options.write.write_text(f"{first}{MARKS[0]}\n{text}\n{MARKS[1]}{rest.split(MARKS[1])[1]}")
    return 1 if max(value for row in rows.values() for value in row["ref"]) > REF_LOGIT_ERROR else 0


if __name__ == "__main__":
    sys.exit(main())
