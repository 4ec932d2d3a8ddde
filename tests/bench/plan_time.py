#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Seconds that `sluice plan` takes for each built-in name: wall and processor, least of three; a JSON line each, slowest last.
usage: plan_time.py SLUICE [CARD]"""
import json
import os
import subprocess
import sys
import time

sluice, card = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "u55c"
names = subprocess.run([sluice, "plan", "--list"], capture_output=True, text=True, check=True).stdout.splitlines()
lines = []
for name in (line.split()[0] for line in names if " missing: " not in line):
    runs = []
    for _ in range(3):
        before, start = os.times(), time.monotonic()
        subprocess.run([sluice, "plan", "--arch", name, "--card", card], stdout=subprocess.DEVNULL, check=True)
        after = os.times()
        runs.append((time.monotonic() - start, after.children_user + after.children_system - before.children_user -
                     before.children_system))
    wall, processor = min(runs)
    lines.append({"name": "plan", "model": name, "card": card, "seconds": round(wall, 3), "processor_seconds": round(processor, 3)})
for line in sorted(lines, key=lambda line: line["seconds"]):
    print(json.dumps(line))
