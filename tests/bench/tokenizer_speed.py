#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: tokenizer_speed.py TOKENIZER_LINES VOCABULARY... [--megabytes N]
Megabytes of text that a core tokenizes in a second, here and in the Python package tokenizers (one thread), in one run: a JSON object
per vocabulary and text. Vocabularies as tests/text/tokenizer_differential.py takes them; texts are made from a seed."""
import argparse
import importlib.util
import json
import os
import pathlib
import random
import subprocess
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
from tokenizers import Tokenizer

root = pathlib.Path(__file__).parents[2]
WORDS = ("the of and to in is that it for was on are with as be at this have from or by one had not but what all were when "
         "we there can an your which their said if will each about how up out them then she many some so these would other into "
         "has more her two like him see time could no make than first been its who now people my made over did down only way find "
         "use may water long little very after words called just where most know").split()


def texts(n):
    r = random.Random(1)
    def fill(make):
        parts, size = [], 0
        while size < n:
            part = make()
            parts.append(part)
            size += len(part.encode())
        return "".join(parts).encode()[:n].decode(errors="ignore")
    code = (root / "host/text/jinja_lexer.c").read_text() + (root / "host/text/grammar/schema.c").read_text()
    return {
        "english": fill(lambda: " ".join(r.choice(WORDS) for _ in range(r.randrange(4, 15))).capitalize() + r.choice([". ", ", ", ".\n", "? "])),
        "code": fill(lambda: code),
        "chinese": fill(lambda: "".join(chr(int(r.paretovariate(0.4) * 7) % 20000 + 0x4e00) for _ in range(r.randrange(3, 30))) + r.choice("，。！")),
        "emoji": fill(lambda: chr(r.randrange(0x1f300, 0x1fa00)) + r.choice(["", "\u200d", "\ufe0f", " "])),
        "spaces": fill(lambda: r.choice(" \t\n") * r.randrange(1, 400)),
        "one space run": " " * n,
        "one word of 1 MB": "".join(r.choice("etaoinshrdlucmfwypvbgkjqxz") for _ in range(1 << 20)),
        "one letter 1 MB": "a" * (1 << 20),
        "digits": fill(lambda: str(r.randrange(10 ** 12))),
        "signs": fill(lambda: r.choice("!?.,;:-_()[]{}<>@#$%^&*+=~`|\\/\"'")),
    }


def reference_speed(reference, text):
    best = 1e9
    for _ in range(2):
        start = time.process_time()
        reference.encode(text, add_special_tokens=False)
        best = min(best, time.process_time() - start)
        if best > 5:
            break
    return len(text.encode()) / best / 1e6


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("lines")
    parser.add_argument("vocabularies", nargs="+")
    parser.add_argument("--megabytes", type=float, default=10)
    parser.add_argument("--style")
    parser.add_argument("--without-reference", action="store_true")
    options = parser.parse_args()
    spec = importlib.util.spec_from_file_location("differential", root / "tests/text/tokenizer_differential.py")
    differential = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(differential)
    with tempfile.TemporaryDirectory() as folder:
        made = texts(int(options.megabytes * 1e6))
        for name, text in made.items():
            (pathlib.Path(folder) / name).write_bytes(text.encode())
        for path in options.vocabularies:
            reference = Tokenizer.from_file(path) if path.endswith(".json") else differential.rebuild(path, options.style)
            for name, text in made.items():
                out = subprocess.run([options.lines, path, "--time", str(pathlib.Path(folder) / name)], capture_output=True, text=True).stdout
                row = {**json.loads(out), "text": name, "vocabulary": path}
                if not options.without_reference:
                    row["reference_mb_per_s"] = round(reference_speed(reference, text), 2)
                    row["times_reference"] = round(row["mb_per_s"] / row["reference_mb_per_s"], 2)
                print(json.dumps(row, ensure_ascii=False), flush=True)


main()
