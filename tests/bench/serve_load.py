#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Small requests beside streams.  Usage: serve_load.py SLUICE SERVE_SPEED MODEL [--rounds N] [--seconds N]   (needs wrk)

The engine has one thread, on core 0; the event loop, serve_speed and wrk are on core 1. In turn: four streams alone, and
four streams while wrk asks for /health, then /v1/models, over 64 connections. Prints JSON lines: each measurement, then
requests a second (at least 20,000), what the streams lose (less than 5 %) and how their longest gap between tokens grows
(less than twice).
"""
import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request


def emit(**item):
    print(json.dumps({"bench": "serve_load", **item}), flush=True)


def pin(process, loops):
    """The engine's threads to core 0, the others (named in loops) to core 1."""
    for task in os.listdir(f"/proc/{process.pid}/task"):
        name = open(f"/proc/{process.pid}/task/{task}/comm", encoding="ascii").read().strip()
        os.sched_setaffinity(int(task), {1 if name in loops else 0})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sluice")
    parser.add_argument("serve_speed")
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=200)
    args = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is missing: apt-get install wrk")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([args.sluice, "serve", args.model, "--port", str(port), "-t", "1", "--ctx", "1024"],
                              stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                if urllib.request.urlopen(url + "/ready", timeout=5).status == 200:
                    break
            except OSError:
                time.sleep(0.05)
            if server.poll() is not None:
                sys.exit("the server does not start")
        pin(server, {"sluice", "sluice-intake"})

        def streams():
            return subprocess.Popen(["taskset", "-c", "1", args.serve_speed, "127.0.0.1", str(port), "4", "16",
                                     str(args.tokens), "1"], stdout=subprocess.PIPE, text=True)

        def wrk(path):
            return subprocess.Popen(["taskset", "-c", "1", "wrk", "-t", "1", "-c", "64", "-d", "3600", url + path],
                                    stdout=subprocess.PIPE, text=True)

        found = {}
        streams().communicate()  # warm
        for turn in range(args.rounds):
            for path in (None, "/health", "/v1/models"):
                load = wrk(path) if path else None
                time.sleep(0.5 if path else 0)
                result = json.loads(streams().communicate()[0])
                rate = None
                if load:
                    load.send_signal(2)
                    rate = float(re.search(r"Requests/sec: +([0-9.]+)", load.communicate()[0])[1])
                emit(turn=turn, beside=path, requests_per_s=rate, decode_tokens_per_s=result["decode_tokens_per_s"],
                     longest_gap_s=result["longest_gap_s"])
                found.setdefault(path, []).append((rate, result["decode_tokens_per_s"], result["longest_gap_s"]))

        def median(path, field):
            return statistics.median(item[field] for item in found[path])
        for path in ("/health", "/v1/models"):
            emit(result=path, requests_per_s=median(path, 0), bar=">= 20000",
                 streams_keep=round(median(path, 1) / median(None, 1), 4), keep_bar="> 0.95",
                 gap_ratio=round(median(path, 2) / median(None, 2), 3), gap_bar="< 2")
    finally:
        server.terminate()
        server.wait(60)


main()
