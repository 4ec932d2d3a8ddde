#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What --chunk, the prompt tokens that a step may carry beside the tokens that decode, does to waiting users, in virtual time:
time to first token against time between tokens, for the same requests. Prints a table; the same one on any machine.

usage: serving_policy.py SLUICE MODEL [--card sim:u55c,timing] [--requests N] [--per-second X] [--prompt N] [--output N] [--chunks 16,32,...]

Requests arrive at random moments (exponential gaps, seed 1), with prompts and outputs of half to one and a half times the
given lengths. Greedy, no prefix is shared."""
import argparse
import json
import pathlib
import random
import subprocess
import tempfile


def arrivals(options):
    rng, at, lines = random.Random(1), 0.0, ["at_ms,prompt_tokens,output_tokens"]
    for _ in range(options.requests):
        at += rng.expovariate(options.per_second) * 1000
        length = lambda n: max(1, round(n * rng.uniform(0.5, 1.5)))
        lines.append(f"{at:.6f},{length(options.prompt)},{length(options.output)}")
    return "\n".join(lines) + "\n"


def measure(options, path, chunk):
    command = [options.sluice, "bench", options.model, "--card", options.card, "--arrivals", path, "--chunk", str(chunk), "--no-hash",
               "--ctx", str(2 * (options.prompt + options.output))]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise SystemExit(run.stderr.strip())
    return json.loads(run.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sluice")
    parser.add_argument("model")
    parser.add_argument("--card", default="sim:u55c,timing")
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--per-second", type=float, default=4)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--output", type=int, default=128)
    parser.add_argument("--chunks", default="16,32,64,128,256,512,1024")
    options = parser.parse_args()
    print(f"{options.requests} requests at {options.per_second:g} a second, prompts of about {options.prompt} and outputs of about "
          f"{options.output} tokens, {pathlib.Path(options.model).name} on {options.card}\n")
    print("| chunk | TTFT p50 ms | p95 | between tokens p50 ms | p95 | max | tokens/s | J/token |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "arrivals.csv"
        path.write_text(arrivals(options))
        for chunk in map(int, options.chunks.split(",")):
            line = measure(options, path, chunk)
            first, gaps = line["ttft_ms"], line["inter_token_ms"]
            print(f"| {chunk} | {first['p50']:.1f} | {first['p95']:.1f} | {gaps['p50']:.2f} | {gaps['p95']:.2f} | {gaps['max']:.2f} | "
                  f"{line['tokens_per_s_virtual']:.1f} | {line['j_per_token']:.3f} |", flush=True)


if __name__ == "__main__":
    main()
