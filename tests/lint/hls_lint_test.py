#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The lint of kernels/hls refuses each thing that HLS refuses, for the right reason, and lets a kernel through."""
import pathlib
import subprocess
import sys
import tempfile

LINT = pathlib.Path(__file__).resolve().with_name("hls_lint.py")
HEAD = '#include "kernels/hls/hls_types.h"\n'
LOOP = "static uint32_t f(uint32_t n)\n{\n    uint32_t sum = 0;\n%s\n    return sum;\n}\n"

GOOD = {
    "a constant bound": LOOP % "add:\n    for (uint32_t i = 0; i < 16; i++) {\n        HLS_UNROLL\n        sum += n;\n    }",
    "a variable bound with trips": LOOP % "add:\n    for (uint32_t i = 0; i < n; i++) {\n        HLS_TRIPS(1, 8)\n        HLS_PIPELINE(1)\n        sum += i;\n    }",
    "a local array of constant size": "static uint32_t f(void)\n{\n    struct hls_word x[HLS_CHUNK_WORDS / 2] = {{{0}}};\n    return x[1].lane[2];\n}\n",
    "an element by a variable": "static uint32_t f(const struct hls_word *x, uint32_t n)\n{\n    return x[n].lane[n];\n}\n",
    "a union": "static uint32_t f(float x)\n{\n    return card_bits(x) + (uint32_t)(int32_t)x;\n}\n",
    "a call of another function": "static int g(int x)\n{\n    return x;\n}\nstatic int f(int x)\n{\n    return g(x) + g(g(x));\n}\n",
    "words in comments and strings": "/* while malloc(1) goto */\nstatic const char *f(void)\n{\n    return \"do { malloc(1); } while (1)\";\n}\n",
}
BAD = {
    "recursion": ("static int f(int x)\n{\n    return x > 0 ? f(x - 1) : 0;\n}\n", "recursion"),
    "recursion by way of another": ("static int g(int x);\nstatic int f(int x)\n{\n    return g(x);\n}\nstatic int g(int x)\n{\n    return f(x);\n}\n", "recursion"),
    "malloc": ("#include <stdlib.h>\nstatic void *f(void)\n{\n    return malloc(4);\n}\n", "no dynamic memory"),
    "a library header": ("#include <math.h>\nstatic float f(float x)\n{\n    return x;\n}\n", "no library on a card"),
    "a library call": ("static float f(float x)\n{\n    return __builtin_sqrtf(x);\n}\n", "library call"),
    "memcpy": ("static void f(uint32_t *a, const float *b)\n{\n    __builtin_memcpy(a, b, 4);\n}\n", "library call"),
    "a function pointer": ("static int f(int (*g)(int), int x)\n{\n    return (*g)(x);\n}\n", "function pointer"),
    "a function's address": ("static int g(int x)\n{\n    return x;\n}\nstatic int f(int x)\n{\n    return x + (g == 0);\n}\n", "address of a function"),
    "a cast of a pointer": ("static uint32_t f(const float *x)\n{\n    return *(const uint32_t *)x;\n}\n", "cast of a pointer"),
    "a cast of a struct's pointer": ("static uint32_t f(uint32_t *x)\n{\n    return ((struct hls_word *)x)->lane[0];\n}\n", "cast of a pointer"),
    "a pointer to a pointer": ("static uint32_t f(uint32_t **x)\n{\n    return **x;\n}\n", "pointer to a pointer"),
    "a variable-length array": ("static uint32_t f(uint32_t n)\n{\n    uint32_t x[n];\n    x[0] = n;\n    return x[0];\n}\n", "variable-length array"),
    "the second dimension variable": ("static uint32_t f(uint32_t n)\n{\n    struct hls_word x[4][n];\n    x[0][0].lane[0] = n;\n    return x[0][0].lane[0];\n}\n", "variable-length array"),
    "while": (LOOP % "    while (sum < n) sum++;", "an HLS loop is a for"),
    "do": (LOOP % "    do sum++; while (sum < n);", "an HLS loop is a for"),
    "for without an end": (LOOP % "turn:\n    for (;;) {\n        if (sum++ > n) break;\n    }", "loop without a bound"),
    "for with half a head": (LOOP % "turn:\n    for (uint32_t i = 0;; i++) {\n        if (i > n) break;\n    }", "loop without a bound"),
    "for on a pointer's truth": (LOOP % "turn:\n    for (uint32_t i = n; i; i--) {\n        sum++;\n    }", "loop without a bound"),
    "goto": (LOOP % "again:\n    if (sum++ < n) goto again;", "goto"),
    "a loop without a label": (LOOP % "    for (uint32_t i = 0; i < 16; i++) {\n        sum += n;\n    }", "without a label"),
    "a variable bound without trips": (LOOP % "add:\n    for (uint32_t i = 0; i < n; i++) {\n        sum += i;\n    }", "without HLS_TRIPS"),
    "trips of the inner loop only": (LOOP % "add:\n    for (uint32_t i = 0; i < n; i++) {\n    in:\n        for (uint32_t k = 0; k < n; k++) {\n            HLS_TRIPS(1, 2)\n            sum += i;\n        }\n    }", "without HLS_TRIPS"),
    "a label of two loops": (LOOP % "add:\n    for (uint32_t i = 0; i < 4; i++) {\n        sum += n;\n    }" + (LOOP % "add:\n    for (uint32_t i = 0; i < 4; i++) {\n        sum += n;\n    }").replace("f(", "g("), "has this label"),
    "a pragma of its own": ("static uint32_t f(uint32_t n)\n{\n#pragma HLS inline\n    return n;\n}\n", "pragma outside"),
    "a directive that is none": ("static uint32_t f(uint32_t n)\n{\n    HLS_PRAGMA(inlin)\n    return n;\n}\n", "no HLS directive"),
    "what clang refuses": ("static uint32_t f(uint32_t n)\n{\n    return n + m;\n}\n", "clang:"),
}


def lint(text):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "kernel.c"
        path.write_text(HEAD + text)
        run = subprocess.run([sys.executable, LINT, path], capture_output=True, text=True)
    return run.returncode, run.stdout + run.stderr


def main():
    failed = []
    for name, text in GOOD.items():
        code, said = lint(text)
        if code != 0:
            failed.append(f"{name}: refused: {said}")
    for name, (text, reason) in BAD.items():
        code, said = lint(text)
        if code == 0 or reason not in said:
            failed.append(f"{name}: should be refused as \"{reason}\", the lint says: {said}")
    print("\n".join(failed))
    print(f"{len(GOOD) + len(BAD) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
