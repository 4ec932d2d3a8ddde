#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sluice's simulated card against llama.cpp: same machine, same file, same threads, runs in turn (A B A B ...), medians and
ratios as JSON lines. What is missing is made first: the peer (build_llama_cpp.sh) and its random-weight models.

usage: compare_llama_cpp.py [--short] [--write-results] [--sluice FILE] [--peer DIR] [--models DIR] ...

Both engines run with their defaults and F16 KV. Timing windows:
  decode   64 tokens after a one-token prompt, one sequence      prefill  a prompt of 512 tokens
  batch    8 sequences together, 64 steps; tokens of all of them
  load     from opening the file until ready, and until the first token of a one-token prompt; the file is in the page cache;
           then the same with Sluice's packed file of that model
  memory   VmHWM of a process that loads, prefills 512 and decodes 64 tokens; context 4096, one sequence
  prefix   submission to first token of 400 + 1 tokens: computed, and again from the prefix cache (Sluice alone)
Ratios are such that more is better for speeds (Sluice / llama.cpp), and less is better for load, memory and prefix. Before
each run the program waits for a quiet machine; a disturbed run is repeated, and marked if it stays disturbed."""
import argparse
import datetime
import hashlib
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys

import quiet
import results

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = HERE / "RESULTS.md"
MAKE_MODELS = ROOT.parent / "shared/bench/mkmodels.py"
KINDS, FORMATS = ("dense", "moe"), ("Q4_0", "Q4_K_M")
MEASURES = ("decode", "prefill", "batch", "load", "memory", "prefix")
PROMPT, DECODE, SEQUENCES, PREFIX, CONTEXT = 512, 64, 8, 400, 4096


def note(text):
    print(text, file=sys.stderr, flush=True)


def build_peer(folder):
    if not all((folder / "build/bin" / name).is_file() for name in ("llama-bench", "llama-quantize")):
        subprocess.run([HERE / "build_llama_cpp.sh", folder], check=True, stdout=sys.stderr)
    return folder


def compile_c(source, program, *options):
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-std=gnu11", "-O2", "-o", program, HERE / source, *options], check=True)
    return program


def make_model(peer, folder, kind, quantization):
    """The path of a model; made, aside and then renamed, where it is missing. The F16 file stays for the next format."""
    model, half = folder / f"{kind}-{quantization}.gguf", folder / f"{kind}-f16.made.gguf"
    if model.is_file():
        return model
    if not half.is_file():
        if not MAKE_MODELS.is_file():
            raise SystemExit(f"{model}: missing, and so is {MAKE_MODELS} that makes it (give --models DIR)")
        note(f"making {half}")
        subprocess.run([peer / "venv/bin/python", MAKE_MODELS, kind, f"{half}.part"], check=True)
        os.replace(f"{half}.part", half)
    note(f"making {model}")
    quantized = subprocess.run([peer / "build/bin/llama-quantize", half, f"{model}.part", quantization],
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if quantized.returncode != 0:
        raise SystemExit(f"llama-quantize failed for {model}:\n{quantized.stderr[-2000:]}")
    os.replace(f"{model}.part", model)
    return model


def make_models(peer, folder, names):
    models = {}
    folder.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        for quantization in FORMATS:
            if f"{kind}-{quantization}" in names:
                models[f"{kind}-{quantization}"] = make_model(peer, folder, kind, quantization)
        (folder / f"{kind}-f16.made.gguf").unlink(missing_ok=True)
    return models


def bytes_per_token(inspected):
    """Bytes of weights that one token needs: every matrix once, of the experts those in use, of a separate embedding
    nothing to speak of (one row); an embedding that is the output matrix too is read whole."""
    metadata = {entry["key"]: entry["value"] for entry in inspected["metadata"]}
    architecture = inspected["architecture"]
    experts = metadata.get(f"{architecture}.expert_count", 1)
    used = metadata.get(f"{architecture}.expert_used_count", 1)
    tied = not any(tensor["name"] == "output.weight" for tensor in inspected["tensors"])
    total = 0
    for tensor in inspected["tensors"]:
        if tensor["name"] == "token_embd.weight" and not tied:
            continue
        total += tensor["bytes"] * used // experts if "_exps." in tensor["name"] else tensor["bytes"]
    return total


def sha256(path):
    """Piece by piece: a child's peak memory as wait4 tells it is never below its parent's. Fills the page cache, too."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def describe_machine():
    def value(path, key, separator):
        with open(path, encoding="utf-8") as lines:
            found = [line.split(separator, 1)[1].strip().strip('"') for line in lines if line.startswith(key)]
        return found[0] if found else ""
    flags = (value("/proc/cpuinfo", "flags", ":") or value("/proc/cpuinfo", "Features", ":")).split()
    vectors = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm", "sve")
    return {"processor": value("/proc/cpuinfo", "model name", ":") or platform.machine(),
            "cores": len(os.sched_getaffinity(0)), "vectors": [name for name in vectors if name in flags],
            "memory_gib": round(int(value("/proc/meminfo", "MemTotal", ":").split()[0]) / 2**20),
            "system": value("/etc/os-release", "PRETTY_NAME", "="), "kernel": platform.release()}


class Side:
    """The samples of one engine (or of membw) in one comparison, by name of the figure."""

    def __init__(self):
        self.samples, self.other_cores, self.disturbed, self.peaks = {}, [], 0, []

    def add(self, run, figures):
        self.other_cores.append(run.other_cores)
        self.disturbed += run.disturbed
        self.peaks.append(run.peak_bytes)
        for name, value in figures.items():
            self.samples.setdefault(name, []).append(value)

    def summary(self, name):
        values = self.samples[name]
        return {"median": round(statistics.median(values), 4), "min": round(min(values), 4), "max": round(max(values), 4),
                "samples": [round(value, 4) for value in values], "other_cores": round(max(self.other_cores), 3)}


def json_lines(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


class Comparison:
    def __init__(self, options, peer, membw, llama_cpp):
        self.options, self.peer, self.membw_program, self.llama_cpp_program = options, peer, membw, llama_cpp
        self.lines = []

    def print(self, line):
        self.lines.append(line)
        print(json.dumps(line), flush=True)

    # What each program prints, as {figure: value}.

    def sluice(self, model, threads, *words):
        command = [self.options.sluice, "bench", model, "-t", threads, "--no-hash", *words]
        return command, lambda out: {
            key: value for line in json_lines(out) for key, value in
            ({line["name"]: line["tokens_per_s_wall"],
              f"{line['name']} weight bytes": line["counters"]["weight_bytes"] / line["counters"]["steps"]}
             if "tokens_per_s_wall" in line else line).items()}

    def llama_bench(self, model, threads):
        command = [self.peer / "build/bin/llama-bench", "-m", model, "-t", threads, "-p", PROMPT, "-n", DECODE, "-r", 1,
                   "-ctk", "f16", "-ctv", "f16", "-o", "jsonl"]
        return command, lambda out: {"prefill" if line["n_prompt"] else "decode": line["avg_ts"] for line in json_lines(out)}

    def llama_cpp(self, model, threads, context, sequences, prompt, decode):
        command = [self.llama_cpp_program, model, threads, context, sequences, prompt, decode]
        return command, lambda out: {
            key: value for line in json_lines(out) for key, value in
            ({line["name"]: line["tokens_per_s_wall"]} if "tokens_per_s_wall" in line else line).items()}

    def membw(self, threads):
        return [self.membw_program, threads], lambda out: {"membw": json_lines(out)[0]["gb_per_s"]}

    def in_turn(self, *programs, rounds=None):
        sides = [Side() for _ in programs]
        for _ in range(rounds or self.options.rounds):
            for side, (command, parse) in zip(sides, programs):
                run = quiet.run_quiet(command, self.options.wait)
                side.add(run, parse(run.out))
        return sides

    def print_comparison(self, name, model, unit, sides, figure, **more):
        ours, theirs = sides[0].summary(figure), sides[1].summary(figure)
        line = {"name": name, "model": model, **more.pop("first", {}), "unit": unit, "rounds": len(ours["samples"]),
                "sluice": ours, "llama_cpp": theirs, "ratio": round(ours["median"] / theirs["median"], 4),
                "ratio_of_rounds": [round(a / b, 4) for a, b in zip(ours["samples"], theirs["samples"])], **more,
                "disturbed": sum(side.disturbed for side in sides)}
        results.judge(line)
        self.print(line)

    def share(self, name, sides, weight_bytes):
        """How much of the memory bandwidth the weights of one token at a time take."""
        bandwidth = sides[2].summary("membw")["median"]
        fraction = lambda side: round(side.summary(name)["median"] * weight_bytes / 1e9 / bandwidth, 4)
        return {"membw_gb_per_s": bandwidth, "weight_bytes_per_token": weight_bytes,
                "sluice_bandwidth_share": fraction(sides[0]), "llama_cpp_bandwidth_share": fraction(sides[1])}

    # The measures. Each wants the whole machine to itself.

    def speeds(self, name, model, threads, weight_bytes):
        wanted = [measure for measure in ("decode", "prefill") if measure in self.options.measures]
        if not wanted:
            return
        sides = self.in_turn(
            self.sluice(model, threads, "-p", PROMPT, "-n", DECODE, "-r", 1, "-c", 2 * PROMPT, "--max-seqs", 1),
            self.llama_bench(model, threads), self.membw(threads))
        for measure in wanted:
            self.print_comparison(measure, name, "tokens/s", sides, measure, first={"threads": threads},
                                  **(self.share(measure, sides, weight_bytes) if measure == "decode" else {}))

    def batch(self, name, model, threads):
        sides = self.in_turn(
            self.sluice(model, threads, "-p", 0, "-n", DECODE, "-b", SEQUENCES, "-r", 1, "-c", 2 * DECODE),
            self.llama_cpp(model, threads, 2 * DECODE, SEQUENCES, 0, DECODE))
        self.print_comparison("batch", name, "tokens/s", sides, "decode", first={"threads": threads, "sequences": SEQUENCES},
                              sluice_weight_bytes_per_step=round(statistics.median(sides[0].samples["decode weight bytes"])))

    def load(self, name, model, threads):
        packed = model.with_suffix(".slc")
        pack = quiet.run_quiet([self.options.sluice, "pack", model, packed, "-t", threads, "-q"], self.options.wait)
        words = (threads, "--load", "-p", 0, "-n", 0, "-c", 1024, "--max-seqs", 1)
        sides = self.in_turn(self.sluice(model, *words), self.llama_cpp(model, threads, 1024, 1, 0, 0),
                             self.sluice(packed, *words))
        gigabytes = model.stat().st_size / 1e9
        for figure, label in (("seconds", "load"), ("seconds_first_token", "load to first token")):
            self.print_comparison(label, name, "s", sides[:2], figure, first={"threads": threads},
                                  sluice_gb_per_s=round(gigabytes / sides[0].summary(figure)["median"], 3))
            self.print_comparison(f"{label}, packed", name, "s", [sides[2], sides[1]], figure, first={"threads": threads},
                                  pack_seconds=round(pack.seconds, 2), packed_bytes=packed.stat().st_size)
        packed.unlink()

    def memory(self, name, model, threads):
        sides = self.in_turn(
            self.sluice(model, threads, "-p", PROMPT, "-n", DECODE, "-r", 1, "-c", CONTEXT, "--max-seqs", 1),
            self.llama_cpp(model, threads, CONTEXT, 1, PROMPT, DECODE), rounds=1)
        for side in sides:
            side.samples, side.disturbed = {"peak": [peak / 2**20 for peak in side.peaks]}, 0  # load does not change it
        self.print_comparison("memory", name, "MiB", sides, "peak", first={"threads": threads, "context": CONTEXT, "kv": "f16"})

    def prefix(self, name, model, threads):
        side, = self.in_turn(self.sluice(model, threads, "--prefix", PREFIX, "-p", 0, "-n", 0, "-r", 3, "-c", 512,
                                         "--max-seqs", 2))
        computed, cached = side.summary("seconds_computed"), side.summary("seconds_cached")
        line = {"name": "prefix", "model": name, "threads": threads, "unit": "s", "rounds": len(cached["samples"]),
                "prompt_tokens": side.samples["prompt_tokens"][0], "cached_tokens": side.samples["cached_tokens"][0],
                "computed": computed, "cached": cached, "ratio": round(cached["median"] / computed["median"], 4),
                "disturbed": side.disturbed}
        results.judge(line)
        self.print(line)

    def describe(self, models):
        version = subprocess.run([self.options.sluice, "--version"], capture_output=True, text=True, check=True).stdout
        peer = subprocess.run([self.peer / "build/bin/llama-bench", "--version"], capture_output=True, text=True)
        self.print({"name": "run", "date": datetime.date.today().isoformat(), "machine": describe_machine(),
                    "revision": version.split("revision ")[1].split(")")[0],
                    "llama_cpp": (peer.stdout + peer.stderr).split("version: ")[-1].splitlines()[0],
                    "rounds": self.options.rounds, "short": self.options.short})
        needs = {}
        for name, model in models.items():
            inspected = json.loads(subprocess.run([self.options.sluice, "inspect", "--json", model], capture_output=True,
                                                  text=True, check=True).stdout)
            needs[name] = bytes_per_token(inspected)
            self.print({"name": "file", "model": name, "bytes": model.stat().st_size, "sha256": sha256(model),
                        "architecture": inspected["architecture"], "weight_bytes_per_token": needs[name]})
        return needs

    def run(self, models):
        needs, most = self.describe(models), max(self.options.threads)
        for name, model in models.items():
            for threads in self.options.threads:
                note(f"{name}, {threads} thread{'s' if threads > 1 else ''}")
                self.speeds(name, model, threads, needs[name])
                if "batch" in self.options.measures:
                    self.batch(name, model, threads)
                if "prefix" in self.options.measures and name.startswith("dense"):
                    self.prefix(name, model, threads)
            if "load" in self.options.measures:
                self.load(name, model, most)
            if "memory" in self.options.measures:
                self.memory(name, model, most)


def parse_options():
    listed = lambda text: text.split(",")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sluice", type=pathlib.Path, default=ROOT / "build/release/sluice", help="the program to measure")
    parser.add_argument("--peer", type=pathlib.Path, default=ROOT / "build/llama.cpp", metavar="DIR",
                        help="where build_llama_cpp.sh built the peer, or shall build it")
    parser.add_argument("--models", type=pathlib.Path, default=ROOT / "build/bench-models", metavar="DIR",
                        help="where the models are, or shall be made (2.5 GB; 8 GB while they are made)")
    parser.add_argument("--files", type=listed, default=[f"{k}-{f}" for k in KINDS for f in FORMATS], metavar="NAME,...")
    parser.add_argument("--measures", type=listed, default=list(MEASURES), metavar="NAME,...")
    parser.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")], default=None, metavar="N,...")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="runs of each engine in a comparison")
    parser.add_argument("--wait", type=float, default=60, metavar="S",
                        help="longest wait for a quiet machine before a run; 0: neither wait nor repeat")
    parser.add_argument("--short", action="store_true", help="a quick look: one file, one thread count, one round")
    parser.add_argument("--write-results", action="store_true", help="write the tables into RESULTS.md, too")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    if options.short:
        options.files, options.rounds = options.files[:1], 1
    options.threads = options.threads or ([min(2, cores)] if options.short else [1, 2][:cores])
    known = {"--files": ({f"{k}-{f}" for k in KINDS for f in FORMATS}, options.files), "--measures": (set(MEASURES), options.measures)}
    for option, (allowed, given) in known.items():
        if not set(given) <= allowed:
            parser.error(f"{option}: {', '.join(sorted(set(given) - allowed))}: one of {', '.join(sorted(allowed))} expected")
    return options


def main():
    options = parse_options()
    if not shutil.which(options.sluice):
        raise SystemExit(f"{options.sluice}: no such program (build it, or give --sluice FILE)")
    if options.write_results:
        results.split(RESULTS)  # before an hour's work, not after
    peer = build_peer(options.peer.resolve())
    models = make_models(peer, options.models.resolve(), options.files)
    libraries, programs = peer / "build/bin", ROOT / "build/bench"
    programs.mkdir(parents=True, exist_ok=True)
    membw = compile_c("membw.c", programs / "membw", "-pthread")
    llama_cpp = compile_c("llama_cpp.c", programs / "llama_cpp", "-I", peer / "src/include", "-I", peer / "src/ggml/include",
                          "-L", libraries, f"-Wl,-rpath,{libraries}", "-lllama", "-lggml", "-lggml-base")
    comparison = Comparison(options, peer, membw, llama_cpp)
    comparison.run(models)
    if options.write_results:
        results.write(RESULTS, comparison.lines)
        note(f"wrote {RESULTS}")


if __name__ == "__main__":
    main()
