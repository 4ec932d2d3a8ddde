#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Does the RTL engine that saturates the card's memory fit? Yosys maps one kernel to UltraScale+ and its cells are counted.

  tests/rtl/resources.py [--log FILE] [--stat FILE]

--log keeps what yosys printed; --stat reads such a file instead of running yosys. Two arrangements are judged, each
against 60 % of what the U55C leaves to kernels: as many engines as take the card's bandwidth at the clock of
kernels/rtl/cycles.json, and one engine on each pseudo-channel. One engine is also held to what bitstreams/build/promises.json says of it.
Yosys maps logic only: placement, routing and the memory's own interconnect are not in its figures.
"""
import argparse
import json
import math
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
RTL = ROOT / "kernels/rtl"
TOP = "sluice_matvec_int4"
HBM_GB_PER_S = 460.0  # UG1393: 32 pseudo-channels of 14.375
PSEUDO_CHANNELS = 32
U55C = {"LUT": 1035680, "DSP": 8204, "BRAM18": 3552, "URAM": 960}  # usable by kernels; tapa, u55c_device_config.json
SHARE = 0.60

# What a cell of yosys' UltraScale+ library occupies. LUTs used as memory or shift register count as LUTs; an inverter
# may be absorbed by a LUT, but counts here.
CELLS = {
    "DSP48E2": {"DSP": 1}, "RAMB18E2": {"BRAM18": 1}, "RAMB36E2": {"BRAM18": 2}, "URAM288": {"URAM": 1},
    "FDRE": {"FF": 1}, "FDSE": {"FF": 1}, "FDCE": {"FF": 1}, "FDPE": {"FF": 1}, "INV": {"LUT": 1},
    "RAM32M16": {"LUT": 8}, "RAM64M8": {"LUT": 8}, "RAM32M": {"LUT": 4}, "RAM64M": {"LUT": 4}, "RAM32X1D": {"LUT": 2},
    "RAM64X1D": {"LUT": 2}, "RAM128X1D": {"LUT": 4}, "RAM256X1D": {"LUT": 8}, "SRL16E": {"LUT": 1}, "SRLC32E": {"LUT": 1},
    "CARRY4": {}, "CARRY8": {}, "MUXF7": {}, "MUXF8": {}, "MUXF9": {},
    **{f"LUT{n}": {"LUT": 1} for n in range(1, 7)},
}


def synthesize():
    sources = " ".join(sorted(str(p) for p in RTL.glob("*.sv")))
    script = f"read_verilog -sv {sources}; synth_xilinx -family xcup -flatten -noiopad -noclkbuf -top {TOP}; stat -tech xilinx"
    run = subprocess.run(["yosys", "-p", script], capture_output=True, text=True)
    if run.returncode:
        sys.exit("yosys failed:\n" + run.stdout[-2000:] + run.stderr[-2000:])
    return run.stdout


def parse_stat(text):
    """Resources of the last `stat` in yosys' output. A cell that is not known here is an error, not a zero."""
    start = text.rfind("Number of cells:")
    if start < 0:
        sys.exit("no statistics in yosys' output")
    used = {"LUT": 0, "FF": 0, "DSP": 0, "BRAM18": 0, "URAM": 0}
    for line in text[start:].splitlines()[1:]:
        match = re.fullmatch(r"\s+([$\w]+)\s+(\d+)", line)
        if not match:
            break
        if match[1] not in CELLS:
            sys.exit(f"yosys used a cell that resources.py does not know: {match[1]}")
        for resource, each in CELLS[match[1]].items():
            used[resource] += each * int(match[2])
    return used


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", type=pathlib.Path)
    parser.add_argument("--stat", type=pathlib.Path)
    options = parser.parse_args()
    text = options.stat.read_text() if options.stat else synthesize()
    if options.log:
        options.log.write_text(text)
    used = parse_stat(text)
    cycles = json.loads((RTL / "cycles.json").read_text())
    promised = json.loads((ROOT / "bitstreams/build/promises.json").read_text())["kernels"][TOP]["resources"]
    each = cycles["weight_bytes_per_cycle"] * cycles["clock_mhz"] / 1000
    print(json.dumps({"name": "rtl_resources", "kernel": TOP, **used, "gb_per_s": each}))

    failed = checks = 0
    for resource, limit in promised.items():
        checks += 1
        if used[resource] > limit:
            failed += 1
            print(f"one engine: {used[resource]} {resource}, promised are at most {limit}")
    for what, engines in (("saturate", math.ceil(HBM_GB_PER_S / each)), ("one_per_channel", PSEUDO_CHANNELS)):
        share = {r: engines * used[r] / total for r, total in U55C.items()}
        print(json.dumps({"name": "rtl_budget_u55c", "arrangement": what, "engines": engines, "share_allowed": SHARE,
                          **{r: round(s, 4) for r, s in share.items()}}))
        for resource, part in share.items():
            checks += 1
            if part > SHARE:
                failed += 1
                print(f"{engines} engines take {part:.1%} of the U55C's {resource}, allowed are {SHARE:.0%}")
    if used["DSP"] == 0 or used["LUT"] == 0:
        sys.exit("an engine without multipliers or logic: the statistics are not those of the kernel")
    print(f"{checks - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
