#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Refuses in kernels/hls what an HLS tool refuses in C, and what house rules ask beyond that. Prints each breach as
file:line, and a count. The files are built by clang too, and with the tool's macro set, so that each directive expands
to one that exists.

  hls_lint.py              the tree
  hls_lint.py FILE...      these files, as if they were the whole of kernels/hls (tests/lint/hls_lint_test.py)
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEYWORDS = {"if", "for", "switch", "return", "sizeof", "while", "do", "goto", "_Static_assert", "_Pragma", "__attribute__", "case"}
BUILTINS = {"__builtin_fmaf", "__builtin_inff", "__builtin_nanf"}
INCLUDES = {"stdint.h", "stddef.h"}
DYNAMIC = {"malloc", "calloc", "realloc", "free", "alloca", "aligned_alloc"}
TYPE = r"(?:(?:const|volatile|static|unsigned|signed|struct|union|enum)\s+)*\w+(?:\s+const)?"
TYPE_IN_LINE = TYPE.replace(r"\s", r"[ \t]")
DEFINITION = re.compile(r"^(?!else\b|return\b)(?:[A-Za-z_][\w ]*?[\s*]+)(\w+)\s*\(([^;{}()]*(?:\([^()]*\)[^;{}()]*)*)\)\s*\{", re.M)
DIRECTIVES = {"interface", "aggregate", "pipeline", "unroll", "dataflow", "inline", "loop_tripcount", "array_partition",
              "stream", "bind_storage", "dependence"}


def code_of(text):
    """The text with comments, strings and preprocessor lines blanked, line numbers kept."""
    blank = lambda match: re.sub(r"[^\n]", " ", match[0])
    text = re.sub(r"/\*.*?\*/|//[^\n]*", blank, text, flags=re.S)
    text = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", blank, text, flags=re.M)


def end_of(code, start, opening, closing):
    depth = 0
    for at in range(start, len(code)):
        depth += (code[at] == opening) - (code[at] == closing)
        if depth == 0:
            return at
    return len(code)


class Source:
    def __init__(self, path, report):
        self.path, self.report = path, report
        self.text = path.read_text(encoding="utf-8")
        self.code = code_of(self.text)
        self.bodies = {}  # function: (start, end) of its body
        for match in DEFINITION.finditer(self.code):
            if match[1] not in KEYWORDS:
                start = match.end() - 1
                self.bodies[match[1]] = (start, end_of(self.code, start, "{", "}"))

    def breach(self, at, text):
        self.report(self.path, self.code.count("\n", 0, at) + 1, text)


def check_words(source):
    for match in re.finditer(r"\b(goto|while|do|asm|__asm__|setjmp|longjmp)\b", source.code):
        source.breach(match.start(), f"{match[1]}: an HLS loop is a for with a bound" if match[1] in {"while", "do"} else f"{match[1]}: refused")
    for match in re.finditer(r'^[ \t]*#[ \t]*include[ \t]+[<"]([^>"]+)[>"]', source.text, re.M):
        if match[1] not in INCLUDES and not match[1].startswith(("kernels/abi/", "kernels/hls/")):
            source.breach(match.start(), f"includes {match[1]}: no library on a card")


def check_loops(source):
    for match in re.finditer(r"\bfor\s*\(", source.code):
        opening = match.end() - 1
        end = end_of(source.code, opening, "(", ")")
        parts = source.code[opening + 1:end].split(";")
        if len(parts) != 3 or not re.search(r"<|>|!=", parts[1]):
            source.breach(match.start(), "loop without a bound")
            continue
        if not re.search(r"\b\w+\s*:\s*$", source.code[:match.start()]):
            source.breach(match.start(), "loop without a label")
        body = end + 1 + len(source.code[end + 1:]) - len(source.code[end + 1:].lstrip())
        inside = source.code[body:end_of(source.code, body, "{", "}")] if source.code[body:body + 1] == "{" else ""
        constant = re.search(r"[<>]=?\s*(\d+u?|[A-Z][A-Z0-9_]*)(\s*/\s*\d+)?\s*$", parts[1])
        if not constant and "HLS_TRIPS(" not in inside.split("for")[0]:
            source.breach(match.start(), "loop whose bound is no constant, without HLS_TRIPS")


def check_labels(sources):
    """A report of the tool names a loop by its label only: bitstreams/build compares IIs by that name."""
    first = {}
    for source in sources:
        for match in re.finditer(r"\b(\w+)\s*:\s*for\b", source.code):
            if match[1] in first:
                source.breach(match.start(), f"{match[1]}: a loop of {first[match[1]]} has this label")
            first.setdefault(match[1], source.path.name)


def check_types(source):
    # A cast is a parenthesis with a type that ends in *, before an operand.
    for match in re.finditer(rf"\(\s*{TYPE}\s*\*+\s*(?:const\s*)?\)\s*[\w(&*]", source.code):
        source.breach(match.start(), "cast of a pointer: move bits by a union")
    for match in re.finditer(r"\(\s*\*\s*(?:const\s+)?\w*\s*(?:\[[^\]]*\])?\s*\)\s*\(", source.code):
        source.breach(match.start(), "function pointer")
    for match in re.finditer(r"\w\s*\*\s*(?:const\s*)?\*", source.code):
        source.breach(match.start(), "pointer to a pointer")
    for match in re.finditer(rf"^[ \t]*(?!return\b|case\b|else\b)({TYPE_IN_LINE})[ \t]+\*?\w+((?:\[[^\]]*\])+)", source.code, re.M):
        if any(re.search(r"\b[a-z_]\w*", re.sub(r"\bsizeof\b", "", size)) or not size.strip() for size in re.findall(r"\[([^\]]*)\]", match[2])):
            source.breach(match.start(1), "variable-length array")


def check_calls(sources, known):
    calls = {}
    for source in sources:
        for name, (start, end) in source.bodies.items():
            for match in re.finditer(r"\b([A-Za-z_]\w*)\s*\(", source.code[start:end]):
                callee = match[1]
                if callee in KEYWORDS or callee in BUILTINS or re.match(r"(HLS|CARD)_[A-Z0-9_]+$", callee):
                    continue
                if callee in DYNAMIC:
                    source.breach(start + match.start(), f"{callee}: no dynamic memory")
                elif callee not in known:
                    source.breach(start + match.start(), f"{callee}: library call, or a pointer to a function")
                calls.setdefault(name, {}).setdefault(callee, (source, start + match.start()))
            for match in re.finditer(r"\b(\w+)\b(?!\s*\()", source.code[start:end]):
                if match[1] in source.bodies and match[1] != name:
                    before = source.code[:start + match.start()].rstrip()
                    after = source.code[start + match.end():].lstrip()
                    if not before.endswith((".", "->")) and not after.startswith(":"):  # a field, or a loop's label
                        source.breach(start + match.start(), f"{match[1]}: address of a function")
    for name in sorted(calls):
        seen, todo = set(), [name]
        while todo:
            for callee in calls.get(todo.pop(), {}):
                if callee == name:
                    source, at = calls[name].get(name) or next(iter(calls[name].values()))
                    source.breach(at, f"{name}: recursion")
                    todo, seen = [], None
                    break
                if callee not in seen:
                    seen.add(callee)
                    todo.append(callee)
            if seen is None:
                break


def check_by_clang(paths, report):
    flags = ["-std=gnu11", f"-I{ROOT}", "-fsyntax-only", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wvla", "-Werror",
             "-Wno-unused-function", "-ffp-contract=off"]
    for path in paths:
        run = subprocess.run(["clang", *flags, "-x", "c", str(path)], capture_output=True, text=True)
        if run.returncode == 0:  # again as the tool reads it, with every directive in its place
            run = subprocess.run(["clang", *flags, "-D__VITIS_HLS__", "-Wno-unknown-pragmas", "-Wno-unused-label", "-x", "c", str(path)], capture_output=True, text=True)
        if run.returncode:
            report(path, 0, "clang: " + (run.stderr.strip().splitlines() or ["fails"])[0])
        expanded = subprocess.run(["clang", "-E", "-P", "-std=gnu11", f"-I{ROOT}", "-D__VITIS_HLS__", "-x", "c", str(path)],
                                  capture_output=True, text=True)
        for line in expanded.stdout.splitlines():
            words = line.split()
            wrong = words[:2] == ["#pragma", "HLS"] and (words[2] not in DIRECTIVES or (words[2] == "interface" and words[4:6] != ["port", "="]))
            if wrong:
                report(path, 0, f"no HLS directive: {line}")
        raw = [n for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if re.match(r"\s*#\s*pragma\b", line)]
        for number in raw:
            report(path, number, "pragma outside hls_pragmas.h")


def main(arguments):
    breaches = []
    report = lambda path, line, text: breaches.append(f"{path.name}:{line}: {text}")
    folder = ROOT / "kernels/hls"
    paths = [pathlib.Path(a) for a in arguments] or sorted(folder.glob("*.[ch]"))
    sources = [Source(path, report) for path in paths]
    abi = [Source(path, report) for path in sorted((ROOT / "kernels/abi").glob("*.h"))]
    known = {name for source in sources + abi for name in source.bodies}
    known |= {m[1] for s in sources for m in re.finditer(r"^[A-Za-z_][\w ]*?[\s*]+(\w+)\s*\([^;{}]*\)\s*;", s.code, re.M)}
    for source in sources:
        check_words(source)
        check_loops(source)
        check_types(source)
    check_labels(sources)
    check_calls(sources, known)
    check_by_clang([p for p in paths if p.suffix == ".c"], report)
    print("\n".join(breaches))
    print(f"{len(paths) - len({b.split(':')[0] for b in breaches})} passed, {len(breaches)} failed")
    return 1 if breaches or not paths else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
