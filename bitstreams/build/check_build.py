#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""After a build: do timing, II and resources keep what was promised? Writes the manifest, the record of a bitstream.

  check_build.py --card u55c --design engine --platform P --tools VERSION --clock MHZ --reports FOLDER --xclbin FILE
                 --manifest FILE [--promises FILE] [--hls FOLDER]

Looks below FOLDER for the reports that v++ --save-temps leaves:
  *timing_summary*.rpt      of the routed design ("Design Timing Summary"): worst setup and hold slack, in ns
  *kernel_util_routed.rpt   resources of each kernel and of the platform ("User Budget")
  *_csynth.rpt              of Vitis HLS (design engine): II of each loop

Promised are: slack of at least worst_slack_ns; all kernels together within card_share of the user budget; one compute
unit within its kernel's numbers, where promises.json has them; every labelled loop of the HLS sources with HLS_PIPELINE(n)
pipelined with that II or less. A report that is missing breaks the promise too. Exit status: 0 kept, 1 broken.
"""
import argparse
import hashlib
import json
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
KERNEL = {"engine": "sluice_engine", "matvec": "sluice_matvec_int4"}
COLUMNS = {"LUT": "LUT", "REG": "FF", "BRAM": "BRAM18", "URAM": "URAM", "DSP": "DSP"}


def newest(folder, pattern):
    found = sorted(folder.rglob(pattern), key=lambda p: p.stat().st_mtime)
    return found[-1] if found else None


def parse_timing(text):
    """{"setup_ns", "hold_ns"} of report_timing_summary, or None."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        names = line.split()
        if names[:1] != ["WNS(ns)"]:
            continue
        # Column names have one word or more; the values in order are WNS TNS failing total WHS ...
        for row in lines[number + 1:number + 4]:
            values = row.split()
            if len(values) >= 5 and re.fullmatch(r"-?\d+\.\d+", values[0]) and re.fullmatch(r"-?\d+\.\d+", values[4]):
                return {"setup_ns": float(values[0]), "hold_ns": float(values[4])}
        return None
    return None


def parse_utilization(text):
    """{name: {"LUT": n, ...}} of the rows of kernel_util_routed.rpt; BRAM tiles count as two BRAM18."""
    table, columns = {}, None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if cells[0] == "Name" and "LUT" in cells:
            columns = cells
        elif columns and line.lstrip().startswith("|") and len(cells) == len(columns):
            numbers = {}
            for column, cell in zip(columns[1:], cells[1:]):
                match = re.match(r"(\d+(?:\.\d+)?)", cell)
                if column in COLUMNS and match:
                    numbers[COLUMNS[column]] = round(float(match[1]) * (2 if column == "BRAM" else 1))
            if numbers:
                table[cells[0]] = numbers
    return table


def parse_loops(text):
    """{loop name: II or None when not pipelined} of a csynth report."""
    loops = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        match = re.fullmatch(r"[-+ ]+([A-Za-z_]\w*)", cells[0])
        if match and len(cells) == 8 and cells[7] in {"yes", "no"}:
            loops[match[1]] = int(cells[4]) if cells[7] == "yes" and cells[4].isdigit() else None
    return loops


def promised_loops(folder):
    """{label: II} of the loops in the HLS sources that are to be pipelined: LABEL:, then for (...) {, then HLS_PIPELINE(n)
    among the first lines of the body; n may be a macro of the folder's headers. A pragma without a label is an error."""
    numbers, loops = {}, {}
    for path in sorted(folder.glob("*.h")):
        numbers.update(re.findall(r"^#define (\w+) (\d+)u?\b", path.read_text(), re.M))
    for path in sorted(folder.glob("*.c")):
        text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), path.read_text(), flags=re.S)
        label = None
        for number, line in enumerate(text.splitlines(), 1):
            stripped = line.strip()
            pragma = re.fullmatch(r"HLS_PIPELINE\((\w+)\)", stripped)
            if pragma:
                ii = numbers.get(pragma[1], pragma[1])
                if label is None or not ii.isdigit() or label in loops:
                    sys.exit(f"{path}:{number}: HLS_PIPELINE({pragma[1]}) needs a labelled loop of its own and a number")
                loops[label] = int(ii)
                label = None
            elif re.fullmatch(r"\w+:", stripped) and stripped != "default:":
                label = stripped[:-1]
            elif stripped and not re.match(r"for \(|HLS_", stripped) and not line_continues(stripped):
                label = None
    return loops


def line_continues(stripped):
    """The later lines of a for (...) { that was broken in two."""
    return stripped.endswith("{") and ";" in stripped and not stripped.startswith(("if", "while", "switch"))


def check_timing(found, promises, clock, broken):
    if found is None:
        broken.append("no timing summary of the routed design was found")
        return
    period = 1000.0 / clock
    for what, slack in found.items():
        if slack < promises["worst_slack_ns"]:
            reached = f", which {1000.0 / (period - slack):.0f} MHz would meet" if what == "setup_ns" else ""
            broken.append(f"{what.split('_')[0]} slack is {slack} ns at {clock:g} MHz, promised is {promises['worst_slack_ns']}{reached}")


def check_resources(table, promises, kernel, broken):
    """Returns {compute unit: resources}."""
    budget = table.get("User Budget")
    if not budget or kernel not in table:
        broken.append(f"no utilisation of {kernel} and of the user budget was found")
        return {}
    for resource, used in table[kernel].items():
        if used > promises["card_share"] * budget[resource]:
            broken.append(f"the kernels take {used} {resource} of {budget[resource]}, promised are {promises['card_share']:.0%}")
    names = list(table)
    units = {}
    for name in names[names.index(kernel) + 1:]:
        units[name] = table[name]
        for resource, limit in promises["kernels"].get(kernel, {}).get("resources", {}).items():
            if table[name].get(resource, 0) > limit:
                broken.append(f"{name} takes {table[name][resource]} {resource}, promised are {limit}")
    if not units:
        broken.append(f"no compute unit of {kernel} was found")
    return units


def check_loops(found, promised, broken):
    """Flattened loops are named outer_inner, so a label is looked for at the end of the name."""
    for label, ii in promised.items():
        rows = [got for name, got in found.items() if name == label or name.endswith("_" + label)]
        if not rows:
            broken.append(f"no report names the loop {label}, which promises II {ii}")
        elif any(got is None or got > ii for got in rows):
            got = "none: it is not pipelined" if None in rows else max(rows)
            broken.append(f"the loop {label} promises II {ii}, reached is {got}")


def abi_version():
    """Of the card contract that this source speaks: what the host compares before it loads the bitstream."""
    match = re.search(r"^#define CARD_ABI_VERSION (\d+)u?$", (ROOT / "kernels/abi/card_program.h").read_text(), re.M)
    return int(match[1]) if match else sys.exit("check_build.py: kernels/abi/card_program.h says no CARD_ABI_VERSION")


def main():
    parser = argparse.ArgumentParser()
    for name in ("card", "design", "platform", "tools"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--clock", type=float, required=True)
    for name in ("reports", "xclbin", "manifest"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--promises", type=pathlib.Path, default=HERE / "promises.json")
    parser.add_argument("--hls", type=pathlib.Path, default=ROOT / "kernels/hls")
    options = parser.parse_args()
    if options.design not in KERNEL:
        parser.error(f"--design is one of: {' '.join(KERNEL)}")
    if not options.xclbin.is_file():
        sys.exit(f"check_build.py: {options.xclbin} is not there: the link has not ended")
    kernel, broken = KERNEL[options.design], []
    promises = json.loads(options.promises.read_text())

    path = newest(options.reports, "*timing_summary*.rpt")
    timing = parse_timing(path.read_text()) if path else None
    check_timing(timing, promises, options.clock, broken)
    path = newest(options.reports, "*kernel_util_routed.rpt")
    units = check_resources(parse_utilization(path.read_text()) if path else {}, promises, kernel, broken)
    loops = {}
    if options.design == "engine":
        for path in sorted(options.reports.rglob("*_csynth.rpt")):
            loops.update(parse_loops(path.read_text()))
        check_loops(loops, promised_loops(options.hls), broken)

    revision = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
                              capture_output=True, text=True).stdout.strip()
    content = options.xclbin.read_bytes()
    manifest = {
        "schema": 2, "abi_version": abi_version(), "file": options.xclbin.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(),
        "card": options.card, "design": options.design, "platform": options.platform, "tools": options.tools, "revision": revision,
        "clock_mhz": options.clock, "timing": timing, "compute_units": units, "loops": loops,
        "promises_kept": not broken, "broken": broken,
    }
    options.manifest.write_text(json.dumps(manifest, indent=2) + "\n")
    for line in broken:
        print(f"broken: {line}")
    print(f"{options.manifest}: {'every promise is kept' if not broken else f'{len(broken)} promises are broken'}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
