#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the demo model on one CPU core.  The defaults reproduce demo.gguf.

  train.py [--out DIR]              the checkpoint is DIR/last.pt; DIR is build/demo of the repository if not given
  train.py [--out DIR] --resume FILE    goes on from a checkpoint

Batches depend on seed and step only, so a resumed run equals an uninterrupted one.
"""
import argparse
import os
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from batches import Chat
from model import Config, Model


# Two rounds of (first step, end, steps of falling rate, height); the second settles what the first has learnt.
ROUNDS = [(0, 2800, 1000, 1.0), (2800, 3500, 640, 0.5)]
WARMUP = 60
ROUNDED = 2320      # from this step on, the weights are rounded to Q4_0 in the forward pass


def rate(step):
    """The learning rate's share of --lr at a step: up, flat, down to nothing, twice."""
    start, end, fall, height = [r for r in ROUNDS if step >= r[0]][-1]
    return height * min((step - start + 1) / WARMUP, 1.0, (end - step) / fall)


def optimizer(model, a):
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    return torch.optim.AdamW([{"params": matrices, "weight_decay": a.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
                             lr=a.lr, betas=(0.9, 0.97), eps=1e-10, fused=True)


def save(path, model, opt, step, a):
    torch.save({"config": model.cfg.asdict(), "model": model.state_dict(), "optimizer": opt.state_dict(),
                "step": step, "args": vars(a)}, path + ".part")
    os.replace(path + ".part", path)


def load(path):
    """The model of a checkpoint, and the checkpoint."""
    ckpt = torch.load(path, weights_only=True)
    model = Model(Config(**ckpt["config"]))
    model.load_state_dict(ckpt["model"])
    return model, ckpt


def run(a):
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    chat = Chat()
    model, start, ckpt = Model(Config(vocab=chat.tokenizer.get_vocab_size())), 0, None
    if a.resume:
        model, ckpt = load(a.resume)
        start = ckpt["step"]
    opt = optimizer(model, a)
    if ckpt:
        opt.load_state_dict(ckpt["optimizer"])
    print("parameters: {} in all, {} active; {} steps".format(*model.sizes(), a.steps), flush=True)
    os.makedirs(a.out, exist_ok=True)
    begun, losses, balances, tokens = time.time(), [], [], 0
    for step in range(start, a.steps):
        ids, where, want = chat.batch(a.seed, step)
        for group in opt.param_groups:
            group["lr"] = a.lr * rate(step)
        logits, balance = model(ids, where, quant=step >= ROUNDED)
        loss = F.cross_entropy(logits, want)
        (loss + a.balance * balance).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad()
        losses.append(loss.item())
        balances.append(balance.item())
        tokens += ids.numel()
        if (step + 1) % a.log == 0:
            print(f"step {step + 1} loss {sum(losses) / len(losses):.4f} balance {sum(balances) / len(balances):.3f} "
                  f"lr {a.lr * rate(step):.1e} {tokens / (time.time() - begun):.0f} tok/s {time.time() - begun:.0f} s", flush=True)
            losses, balances = [], []
        if (step + 1) % a.save == 0 or step + 1 == a.steps:
            save(f"{a.out}/last.pt", model, opt, step + 1, a)


def main():
    p = argparse.ArgumentParser(description="train the demo model")
    p.add_argument("--out", default=str(Path(__file__).resolve().parents[3] / "build/demo"))
    p.add_argument("--resume", metavar="FILE")
    p.add_argument("--steps", type=int, default=ROUNDS[-1][1])
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--weight-decay", type=float, default=0.05)
    p.add_argument("--balance", type=float, default=0.01)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--log", type=int, default=20)
    p.add_argument("--save", type=int, default=150)
    run(p.parse_args())


if __name__ == "__main__":
    main()
