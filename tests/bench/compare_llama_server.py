#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The server beside llama.cpp's llama-server: same file, same threads, same C client (serve_speed), in turn.

Usage: compare_llama_server.py SLUICE SERVE_SPEED LLAMA_SERVER MODEL [--threads N] [--rounds N]

SLUICE and SERVE_SPEED come from build/release, LLAMA_SERVER and MODEL from build_llama_cpp.sh (add the target llama-server)
and the models of compare_llama_cpp.py. Prints JSON lines: what each measured, then the ratios that issue 11 asks for:
first token of a 16-token prompt (at most 0.5 of the peer's), 8 clients at once (at least 1.2), and what is left of the
engine's own speed after HTTP (`sluice bench` of the same run; at least 0.98), for 1 and 8 clients.
"""
import argparse
import json
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

TOKENS = 96


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Running:
    """A server process that is ready; its port."""

    def __init__(self, command, port, ready):
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.port = port
        deadline = time.monotonic() + 300
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{ready}", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{command[0]} does not serve")
            time.sleep(0.05)

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


def emit(**item):
    print(json.dumps(item), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sluice")
    parser.add_argument("serve_speed")
    parser.add_argument("llama_server")
    parser.add_argument("model")
    parser.add_argument("--threads", default="1")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()

    def speed(port, streams, prompt, tokens, rounds):
        line = subprocess.run([args.serve_speed, "127.0.0.1", str(port), str(streams), str(prompt), str(tokens), str(rounds)],
                              check=True, capture_output=True, text=True).stdout
        return json.loads(line)

    def engine(streams):
        out = subprocess.run([args.sluice, "bench", args.model, "-p", "16", "-n", str(TOKENS), "-t", args.threads, "--no-hash",
                              "-b", str(streams)], check=True, capture_output=True, text=True).stdout
        lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        decode = next(line for line in lines if line["name"] == "decode")
        return {"decode_tokens_per_s": decode["tokens_per_s_wall"], "revision": decode["revision"]}

    def sluice_server():
        port = free_port()
        return Running([args.sluice, "serve", args.model, "--port", str(port), "-t", args.threads, "--ctx", "1024"], port, "/ready")

    def llama_server():
        port = free_port()
        return Running([args.llama_server, "-m", args.model, "--port", str(port), "-t", args.threads, "-c", "8192", "-np", "8",
                        "--no-webui"], port, "/health")

    found = {}
    for turn in range(args.rounds):
        for name, start in (("sluice", sluice_server), ("llama", llama_server)):
            server = start()
            try:
                speed(server.port, 1, 16, 4, 1)  # warm
                for what, numbers in (("first", (1, 16, 1, 9)), ("one", (1, 16, TOKENS, 1)), ("eight", (8, 16, TOKENS, 1))):
                    result = speed(server.port, *numbers)
                    emit(turn=turn, server=name, what=what, **result)
                    found.setdefault((name, what), []).append(result)
            finally:
                server.stop()
        for what, streams in (("one", 1), ("eight", 8)):
            line = engine(streams)
            emit(turn=turn, engine=what, **line)
            found.setdefault(("engine", what), []).append(line)

    def median(name, what, field):
        return statistics.median(item[field] for item in found[name, what])
    emit(ratio="first token over HTTP, 16-token prompt", bar="<= 0.5",
         value=round(median("sluice", "first", "first_token_s") / median("llama", "first", "first_token_s"), 3))
    emit(ratio="8 clients at once, tokens/s", bar=">= 1.2",
         value=round(median("sluice", "eight", "tokens_per_s") / median("llama", "eight", "tokens_per_s"), 3))
    emit(ratio="1 client, decode tokens/s", bar="none", value=round(
        median("sluice", "one", "decode_tokens_per_s") / median("llama", "one", "decode_tokens_per_s"), 3))
    for what in ("one", "eight"):
        emit(ratio=f"HTTP streaming / engine, {what}", bar=">= 0.98", value=round(
            median("sluice", what, "decode_tokens_per_s") / median("engine", what, "decode_tokens_per_s"), 3))


main()
