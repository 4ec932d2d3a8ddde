# SPDX-License-Identifier: Apache-2.0
"""Conversations as token rows.  The batch of a step depends on the seed and the step alone."""
import random

import torch
from tokenizers import Tokenizer

import bpe
import corpus

# (rows, length): many short conversations, since the first question matters most, and a few that
# fill the whole context.
SHAPES = [(20, 112), (9, 256), (2, 1024)]
SHARES = [45, 45, 10]


class Chat:
    """ChatML in tokens.  The loss covers the answers and the <|im_end|> that closes them."""

    def __init__(self, path=bpe.FILE):
        self.tokenizer = Tokenizer.from_file(str(path))
        self.pad, self.start, self.end = (self.tokenizer.token_to_id(s) for s in bpe.SPECIAL)
        self.newline = self.encode("\n")
        self.roles = {r: [self.start] + self.encode(r + "\n") for r in ("system", "user", "assistant")}

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def message(self, role, content):
        return self.roles[role] + content + [self.end] + self.newline

    def prompt(self, messages):
        """Tokens of messages [(role, text)] up to where the assistant's answer starts."""
        ids = [i for role, text in messages for i in self.message(role, self.encode(text))]
        return ids + self.roles["assistant"]

    def row(self, rng, length, share):
        """One conversation of at most `length` + 1 tokens, and a mask of the tokens to predict."""
        ids, mask = [], []
        system = corpus.system(rng)
        if system:
            ids += self.message("system", self.encode(system))
            mask += [0] * len(ids)
        while True:
            _, question, answer = corpus.turn(rng, share=share)
            q = self.message("user", self.encode(question)) + self.roles["assistant"]
            a = self.encode(answer) + [self.end]
            if mask and len(ids) + len(q) + len(a) > length:
                break
            ids += q + a + self.newline
            mask += [0] * len(q) + [1] * len(a) + [0] * len(self.newline)
        pad = max(0, length + 1 - len(ids))
        return (ids + [self.pad] * pad)[:length + 1], (mask + [0] * pad)[:length + 1]

    def batch(self, seed, step):
        """(ids, flat positions that carry loss, the tokens wanted there)"""
        rng = random.Random(f"{seed} {step}")
        share = corpus.share_at(step)
        rows, length = rng.choices(SHAPES, SHARES)[0]
        ids, mask = zip(*(self.row(rng, length, share) for _ in range(rows)))
        ids, mask = torch.tensor(ids), torch.tensor(mask)
        where = mask[:, 1:].reshape(-1).nonzero().squeeze(1)
        return ids[:, :-1], where, ids[:, 1:].reshape(-1)[where]
