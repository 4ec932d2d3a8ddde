# SPDX-License-Identifier: Apache-2.0
"""What must be shown against llama.cpp, and the tables of RESULTS.md, from the JSON lines of compare_llama_cpp.py."""
import json

BEGIN = "<!-- from here on written by compare_llama_cpp.py --write-results -->"
END = "<!-- up to here -->"
BANDWIDTH_MUST = 0.9  # of the measured memory bandwidth: enough for decode where 1.6 is more than that

# (must, aim) of the ratio; a speed must be at least that, everything else at most
SPEEDS = {"decode": (1.6, 1.9), "prefill": (2, 4), "batch": (1.5, 3)}
COSTS = {"prefix": (0.1, None), "memory": (1.1, 1.0)}
TITLES = {"decode": "Decode, 64 tokens, one sequence, tokens/s", "prefill": "Prefill, 512 tokens, tokens/s",
          "batch": "8 sequences decoding together, 64 steps, tokens/s of all",
          "prefix": "Time to first token, 400 + 1 tokens, Sluice alone, s",
          "memory": "Peak memory (VmHWM), context 4096, F16 KV, MiB", "load": "Load, file in the page cache, s",
          "load, packed": "The same, Sluice from a packed file, s",
          "load to first token": "Load and first token of a one-token prompt, s",
          "load to first token, packed": "The same, Sluice from a packed file, s"}


def judge(line):
    """Adds must, aim and whether the ratio is met: null if it was disturbed. Nothing where nothing is asked."""
    name, ratio = line["name"], line["ratio"]
    if name in SPEEDS:
        line["must"], line["aim"] = SPEEDS[name]
        line["met"] = ratio >= line["must"] or line.get("sluice_bandwidth_share", 0) >= BANDWIDTH_MUST
    elif name in COSTS:
        line["must"], line["aim"] = COSTS[name]
        line["met"] = ratio <= line["must"]
    if "met" in line and line["disturbed"]:
        line["met"] = None


def figure(summary):
    digits = 3 if summary["median"] < 10 else 1
    shown = lambda value: f"{value:.{digits}f}"
    if len(summary["samples"]) == 1:
        return shown(summary["median"])
    return f"{shown(summary['median'])} [{shown(summary['min'])}–{shown(summary['max'])}]"


def row(line):
    ours, theirs = ("cached", "computed") if line["name"] == "prefix" else ("sluice", "llama_cpp")
    cells = [line["model"], str(line["threads"]), figure(line[ours]), figure(line[theirs]), f"{line['ratio']:.2f}"]
    if line["name"] == "decode":
        cells += [f"{line['membw_gb_per_s']:.1f}", f"{line['sluice_bandwidth_share']:.0%}", f"{line['llama_cpp_bandwidth_share']:.0%}"]
    if "met" in line:
        cells.append({True: "yes", False: "no", None: "not known"}[line["met"]])
    if line["disturbed"]:
        cells[4] += " (disturbed)"
    return "| " + " | ".join(cells) + " |"


def table(name, lines):
    heads = ["model", "threads", *(("cached", "computed") if name == "prefix" else ("Sluice", "llama.cpp")), "ratio"]
    if name == "decode":
        heads += ["memory, GB/s", "Sluice's share", "llama.cpp's share"]
    if "met" in lines[0]:
        must, aim = lines[0]["must"], lines[0]["aim"]
        sign = "≥" if name in SPEEDS else "≤"
        heads.append(f"{sign} {must}" + (" or ≥ 90 % of memory" if name == "decode" else "") + (f" (aim {aim})" if aim else ""))
    return [f"### {TITLES[name]}", "", "| " + " | ".join(heads) + " |", "|" + "---|" * len(heads), *map(row, lines), ""]


def render(lines):
    run, machine = lines[0], lines[0]["machine"]
    disturbed = sum(line.get("disturbed", 0) > 0 for line in lines)
    measured = sum("ratio" in line for line in lines)
    text = [f"Measured on {run['date']}, revision {run['revision']}, llama.cpp {run['llama_cpp']}.",
            f"Machine: {machine['processor']} ({', '.join(machine['vectors'])}), {machine['cores']} cores, {machine['memory_gib']} GiB, "
            f"{machine['system']}, Linux {machine['kernel']}.",
            f"{run['rounds']} rounds" + (", short form" if run["short"] else "") + "; medians [range].", ""]
    if disturbed:
        text += [f"**{disturbed} of {measured} comparisons are disturbed: other work ran beside them. They say nothing about either engine.**", ""]
    for name in TITLES:
        of_name = [line for line in lines if line["name"] == name]
        text += table(name, of_name) if of_name else []
    return [*text, "### All lines", "", "```", *map(json.dumps, lines), "```"]


def split(path):
    """The file's text up to the first mark and from the second one on: both people's, notes among it."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"{path}: the marks between which results go are missing: {BEGIN} and {END}")
    return before + begin, end + after


def write(path, lines):
    before, after = split(path)
    path.write_text("\n".join([before, "", *render(lines), "", after]), encoding="utf-8")
