#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Exact-match accuracy on the held-out questions, greedy, per category and in all.

  evaluate.py --torch CHECKPOINT                 F32, in PyTorch
  evaluate.py --torch CHECKPOINT --int4          the same with weights rounded to Q4_0
  evaluate.py --gguf FILE                        a GGUF's own (dequantized) weights, in PyTorch
  evaluate.py --sluice PATH [--card sim|ref] [--model FILE]     through `sluice serve` and its chat endpoint

Prints a table on the error output and one JSON line per run on the standard output; --wrong N shows failures.
"""
import argparse
import json
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent


# ---------------------------------------------------------------- in PyTorch

def from_gguf(path):
    """A Model with a GGUF file's weights, dequantized."""
    import gguf
    import torch
    from model import Config, Model
    r = gguf.GGUFReader(path)

    def key(name):
        return r.get_field("qwen3moe." + name).contents()

    cfg = Config(vocab=key("vocab_size"), dim=key("embedding_length"), layers=key("block_count"), heads=key("attention.head_count"),
                 kv_heads=key("attention.head_count_kv"), head_dim=key("attention.key_length"), experts=key("expert_count"),
                 top_k=key("expert_used_count"), expert_ffn=key("expert_feed_forward_length"), context=key("context_length"),
                 rope_base=key("rope.freq_base"), eps=key("attention.layer_norm_rms_epsilon"))
    model = Model(cfg)
    model.load_state_dict({t.name.removesuffix(".weight"): torch.from_numpy(gguf.quants.dequantize(t.data, t.tensor_type).copy())
                           for t in r.tensors})
    return model


def round_weights(model):
    from model import fake_q4_0, fake_q8_0
    for name, p in model.named_parameters():
        if p.dim() > 1 and "gate_inp" not in name:
            p.copy_(fake_q8_0(p) if name == "token_embd" else fake_q4_0(p))


def most_likely(model, chat, rows, tail):
    """The most likely next tokens at the last `tail[i]` positions of each row.  Padding on the right does not matter to a causal model."""
    import torch
    width = max(map(len, rows))
    ids = torch.tensor([row + [chat.pad] * (width - len(row)) for row in rows])
    where = torch.tensor([n * width + len(row) - k for n, row in enumerate(rows) for k in range(tail[n], 0, -1)])
    best = iter(model(ids, where)[0].argmax(-1).tolist())
    return [[next(best) for _ in range(tail[n])] for n in range(len(rows))]


def torch_answers(model, conversations, wanted, batch=24, limit=96):
    """Greedy answers.  A wanted answer that is the greedy one shows in a single pass; only the others are generated."""
    import torch
    from batches import Chat
    torch.set_num_threads(1)
    chat, answers = Chat(), list(wanted)
    prompts = [chat.prompt(c) for c in conversations]
    targets = [chat.encode(w) + [chat.end] if w else [] for w in wanted]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]) + len(targets[i]))
    groups = [order[i:i + batch] for i in range(0, len(order), batch)]
    for group in groups:
        best = most_likely(model, chat, [prompts[i] + targets[i][:-1] for i in group], [max(1, len(targets[i])) for i in group])
        rows = {i: list(prompts[i]) for i, b in zip(group, best) if b != targets[i]}
        live = list(rows)
        for _ in range(limit):
            if not live:
                break
            for i, token in zip(live, most_likely(model, chat, [rows[i] for i in live], [1] * len(live))):
                rows[i] += token
            live = [i for i in live if rows[i][-1] != chat.end]
        for i, row in rows.items():
            answers[i] = chat.tokenizer.decode([t for t in row[len(prompts[i]):] if t != chat.end], skip_special_tokens=False)
    return answers


# ---------------------------------------------------------------- through sluice

def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as reply:
        return json.load(reply)


def wait_ready(base, server, seconds=300):
    for _ in range(seconds * 5):
        if server.poll() is not None:
            sys.exit(f"evaluate.py: sluice serve ended with status {server.returncode}")
        try:
            with urllib.request.urlopen(base + "/ready", timeout=10):
                return
        except OSError:
            time.sleep(0.2)
    sys.exit("evaluate.py: the server did not become ready")


def sluice_answers(path, model, card, conversations):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    server = subprocess.Popen([path, "serve", *([model] if model else []), "--port", str(port), "--card", card])
    base = f"http://127.0.0.1:{port}"

    def answer(messages):
        body = {"messages": [{"role": r, "content": c} for r, c in messages], "temperature": 0, "max_tokens": 96}
        return post(base + "/v1/chat/completions", body)["choices"][0]["message"]["content"]

    try:
        wait_ready(base, server)
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(answer, conversations))
    finally:
        server.terminate()
        server.wait()


# ---------------------------------------------------------------- the score

def history(tests, i, turns):
    """The turns before question i: other questions of the set with their right answers."""
    before = [tests[(i + 37 * n) % len(tests)] for n in range(1, turns)]
    return [m for t in before for m in (("user", t["question"]), ("assistant", t["answer"]))]


def score(what, tests, answers, seconds, wrong):
    right, total = {}, {}
    for t, a in zip(tests, answers):
        for c in (t["category"], "total"):
            total[c] = total.get(c, 0) + 1
            right[c] = right.get(c, 0) + (a == t["answer"])
        if a != t["answer"] and wrong > 0:
            wrong -= 1
            print(f"{t['category']}: {t['question']!r}\n  want {t['answer']!r}\n  got  {a!r}", file=sys.stderr)
    for c in sorted(total, key="total".__eq__):
        print(f"{c:12} {right[c]:4} of {total[c]:4}  {100 * right[c] / total[c]:6.2f} %", file=sys.stderr)
    print(json.dumps({"what": what, "questions": total["total"], "exact_match": {c: round(right[c] / total[c], 4) for c in total},
                      "seconds": round(seconds, 1)}))
    return right["total"] / total["total"]


def main():
    p = argparse.ArgumentParser(description="exact-match accuracy on held-out questions")
    p.add_argument("--torch", metavar="CHECKPOINT")
    p.add_argument("--int4", action="store_true")
    p.add_argument("--gguf", metavar="FILE")
    p.add_argument("--sluice", metavar="PATH")
    p.add_argument("--card", default="sim")
    p.add_argument("--model", metavar="FILE", help="for --sluice; left out, the demo model in the program")
    p.add_argument("--testset", default=str(HERE / "testset.jsonl"))
    p.add_argument("--every", type=int, default=1, metavar="N", help="only each Nth question")
    p.add_argument("--at-least", type=float, default=0.0, metavar="SHARE", help="fail below this share of right answers")
    p.add_argument("--wrong", type=int, default=0, metavar="N")
    p.add_argument("--turns", type=int, default=1, metavar="N", help="ask as the Nth turn, after other questions of the set")
    p.add_argument("--system", metavar="TEXT", help="put this system message in front")
    p.add_argument("--ask", action="append", metavar="TEXT", help="just answer this (may be repeated); not with --sluice")
    a = p.parse_args()
    if not (a.torch or a.gguf or a.sluice):
        p.error("one of --torch, --gguf and --sluice is needed")
    with open(a.testset, encoding="utf-8") as f:
        tests = [json.loads(line) for line in f][::a.every]
    system = [("system", a.system)] if a.system else []
    conversations = [system + history(tests, i, a.turns) + [("user", t["question"])] for i, t in enumerate(tests)]
    if a.ask:
        conversations = [[("user", q)] for q in a.ask]
    begun = time.time()
    if a.sluice:
        what, answers = f"sluice {a.card}", sluice_answers(a.sluice, a.model, a.card, conversations)
    else:
        import torch
        from train import load
        with torch.inference_mode():
            model = from_gguf(a.gguf) if a.gguf else load(a.torch)[0]
            if a.int4:
                round_weights(model)
            what = "gguf in torch" if a.gguf else "torch int4" if a.int4 else "torch f32"
            wanted = [None] * len(a.ask) if a.ask else [t["answer"] for t in tests]
            answers = torch_answers(model, conversations, wanted)
    if a.ask:
        print("\n".join(f"{q}\n  {x}" for q, x in zip(a.ask, answers)))
    elif score(what, tests, answers, time.time() - begun, a.wrong) < a.at_least:
        sys.exit(f"evaluate.py: fewer than {a.at_least:.0%} right")


if __name__ == "__main__":
    main()
