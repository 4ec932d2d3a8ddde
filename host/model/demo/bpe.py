#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the byte-level BPE on generated conversations and writes tokenizer.json.

The pre-tokenizer is Qwen2's, so GGUF readers know it as tokenizer.ggml.pre = "qwen2".
"""
import argparse
import random
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

import corpus
import names

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
FILE = Path(__file__).resolve().parent / "tokenizer.json"


def text(turns, seed):
    """Mostly questions about Sluice; fewer JSON sentences, so that names stay in pieces that can be copied."""
    rng = random.Random(seed)
    for _ in range(turns):
        category, question, answer = corpus.turn(rng)
        if category == "json" and rng.random() < 0.7:
            continue
        yield f"system\n{rng.choice(corpus.SYSTEM)}"
        yield "user\n" + question
        yield "assistant\n" + answer
        yield " " + names.made_up(rng)


def train(vocab, turns, seed):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN2), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(text(turns, seed), trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=SPECIAL, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    return t


def main():
    p = argparse.ArgumentParser(description="train the tokenizer")
    p.add_argument("--vocab", type=int, default=2048)
    p.add_argument("--turns", type=int, default=40000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--out", default=str(FILE))
    a = p.parse_args()
    t = train(a.vocab, a.turns, a.seed)
    t.save(a.out)
    print(f"{a.out}: {t.get_vocab_size()} tokens")


if __name__ == "__main__":
    main()
