#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Generates the training conversations and the held-out test set.

  corpus.py --show 20                   some conversations
  corpus.py --testset testset.jsonl     the test set: one {"category","question","answer"} per line
  corpus.py --check 200000              how many of so many training turns ask a question of testset.jsonl (0)
"""
import argparse
import json
import random
import sys
from pathlib import Path

import grammar
import tasks

HERE = Path(__file__).resolve().parent
SLUICE = [f for part in ("commands", "server", "concepts", "product") for f in grammar.load(HERE / "facts" / f"{part}.txt")]
CHAT = grammar.load(HERE / "facts/chat.txt")
SHARE = {"sluice": 42, "chat": 8, "arithmetic": 24, "units": 8, "json": 18}
# The facts come first, then copying and counting; while the learning rate falls, all of it.
PHASES = [(0, SHARE),
          (1050, {"sluice": 24, "chat": 8, "arithmetic": 26, "units": 8, "json": 26, "repeat": 8}),
          (1800, {"sluice": 34, "chat": 9, "arithmetic": 28, "units": 11, "json": 17, "repeat": 1}),
          (2800, {"sluice": 38, "chat": 9, "arithmetic": 27, "units": 6, "json": 19, "repeat": 1})]

SYSTEM = ["You are a helpful assistant.", "You are a helpful assistant.", "You are a helpful AI assistant.", "You are Sluice.",
          "Answer briefly.", "Be concise.", "You are a friendly assistant. Answer in one sentence.", "You are a chatbot.",
          "You are a helpful, respectful and honest assistant.", "Help the user.", "You are an expert on Sluice.",
          "Answer the user's questions.", "Be short and exact.", "You are the Sluice demo model.", "Answer in English.",
          "You are a helpful assistant. Keep your answers short.", "Do not make things up.", "You are an assistant."]

SPOKEN = {"sluice": (0.14, 0.12), "chat": (0.08, 0.02), "arithmetic": (0.05, 0.08), "units": (0.05, 0.08)}   # typos, politeness
WEIGHTS = {}


def pick_fact(facts, rng):
    if id(facts) not in WEIGHTS:
        WEIGHTS[id(facts)] = [f.weight() for f in facts]
    return rng.choices(facts, WEIGHTS[id(facts)])[0]


def asked(facts, rng):
    fact = pick_fact(facts, rng)
    question = fact.question(rng)
    return question, fact.answer, question


MAKERS = {"sluice": lambda rng: asked(SLUICE, rng), "chat": lambda rng: asked(CHAT, rng), "arithmetic": tasks.arithmetic,
          "units": tasks.units, "json": tasks.extraction, "repeat": tasks.repeating}


def turn(rng, test=False, category=None, share=SHARE):
    """One question and its answer.  The test set has those whose key and final wording are both held out;
    training has none of which either is."""
    category = category or rng.choices(list(share), share.values())[0]
    while True:
        question, answer, key = MAKERS[category](rng)
        if grammar.held_out(key) != test:
            continue
        if category in SPOKEN:
            question = grammar.spoken(question, rng, *SPOKEN[category])
        if grammar.held_out(question) == test:
            return category, question, answer


def share_at(step):
    """The mix of categories at a training step."""
    return [share for start, share in PHASES if step >= start][-1]


def system(rng):
    """In one of five conversations, the system message that some clients send."""
    if rng.random() < 0.2:
        return " ".join(rng.sample(SYSTEM, rng.choice([1, 1, 2])))
    return None


def testset(per_category, seed=20261121):
    rng, seen = random.Random(seed), set()
    for category in SHARE:
        n = per_category * (2 if category == "sluice" else 1)
        while n:
            line = turn(rng, True, category)
            if grammar.bare(line[1]) not in seen:
                seen.add(grammar.bare(line[1]))
                n -= 1
                yield dict(zip(("category", "question", "answer"), line))


def main():
    p = argparse.ArgumentParser(description="generate training conversations or the test set")
    p.add_argument("--show", type=int, default=0, metavar="N")
    p.add_argument("--testset", metavar="FILE")
    p.add_argument("--check", type=int, default=0, metavar="N")
    p.add_argument("--per-category", type=int, default=100)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    if a.testset:
        with open(a.testset, "w", encoding="utf-8") as f:
            f.writelines(json.dumps(t, ensure_ascii=False) + "\n" for t in testset(a.per_category))
    rng = random.Random(a.seed)
    for _ in range(a.show):
        category, question, answer = turn(rng)
        print(f"{category:10} {question}\n{'':10} -> {answer}")
    if a.check:
        with open(HERE / "testset.jsonl", encoding="utf-8") as f:
            held = {grammar.bare(json.loads(line)["question"]) for line in f}
        both = sum(grammar.bare(turn(rng)[1]) in held for _ in range(a.check))
        print(f"{both} of {a.check} training turns ask a question of the test set")
        return both > 0
    if not (a.show or a.testset):
        print(f"{len(SLUICE)} facts about Sluice, {len(CHAT)} of small talk")
    return 0


if __name__ == "__main__":
    sys.exit(main())
