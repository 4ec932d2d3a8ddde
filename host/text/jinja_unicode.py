#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes jinja_unicode.h from the Unicode data of Python's own str. usage: jinja_unicode.py >host/text/jinja_unicode.h"""
import unicodedata



def final_sigma_skips(s):
    """What the final-sigma rule looks past (Unicode's Case_Ignorable), found by trying."""
    sigma = "\u03c2"
    return ("A" + s + "\u03a3").lower()[-1] == sigma and (s + "\u03a3").lower()[-1] != sigma


CHARACTERS = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CLASSES = {
    "printable": str.isprintable,
    "alpha": str.isalpha,
    "decimal": str.isdecimal,
    "digit": str.isdigit,
    "numeric": str.isnumeric,
    "upper": lambda s: s.isupper() and unicodedata.category(s) != "Lt",
    "lower": str.islower,
    "title": lambda s: unicodedata.category(s) == "Lt",
    "ignorable": lambda s: final_sigma_skips(s),
}


def rows(name, kind, items):
    print(f"static const {kind} {name}[] = {{")
    line = "   "
    for item in items:
        if len(line) + len(item) > 115:
            print(line)
            line = "   "
        line += " " + item + ","
    print(line)
    print("};\n")


def class_ranges(belongs):
    ranges = []
    for s in CHARACTERS:
        if belongs(s):
            if ranges and ranges[-1][1] == ord(s) - 1:
                ranges[-1][1] = ord(s)
            else:
                ranges.append([ord(s), ord(s)])
    return ranges


def mapping(convert):
    return {ord(s): [ord(c) for c in convert(s)] for s in CHARACTERS if convert(s) != s}


def simple_ranges(table):
    """Runs (first, last, step, difference) of the characters that become one."""
    runs = []
    for c in sorted(c for c in table if len(table[c]) == 1):
        difference = table[c][0] - c
        if runs and runs[-1][3] == difference:
            first, last, step, _ = runs[-1]
            if (step == 0 and c - last in (1, 2)) or (step and c - last == step):
                runs[-1] = (first, c, c - last, difference)
                continue
        runs.append((c, c, 0, difference))
    return [f"{{0x{a:x}, 0x{b:x}, {max(step, 1)}, {d}}}" for a, b, step, d in runs]


def exceptions(table, base):
    """Where table differs from base's runs: up to three characters each."""
    simple = {c: v for c, v in base.items() if len(v) == 1}
    out = []
    for c in sorted(set(table) | set(simple)):
        becomes = table.get(c, [c])
        if becomes != simple.get(c, [c]):
            out.append("{0x%x, {%s}}" % (c, ", ".join(f"0x{v:x}" for v in becomes)))
    return out


def main():
    print("/* SPDX-License-Identifier: Apache-2.0 */")
    print(f"/* Written by jinja_unicode.py from Unicode {unicodedata.unidata_version}. */")
    print("#ifndef SLUICE_TEXT_JINJA_UNICODE_H\n#define SLUICE_TEXT_JINJA_UNICODE_H\n\n#include <stdint.h>\n")
    print("// clang-format off\n")
    print("struct jinja_code_range { uint32_t first, last; };")
    print("struct jinja_case_range { uint32_t first, last; uint16_t step; int32_t difference; };")
    print("struct jinja_case_exception { uint32_t from, to[3]; };\n")
    for name, belongs in CLASSES.items():
        rows(f"jinja_{name}_ranges", "struct jinja_code_range",
             [f"{{0x{a:x}, 0x{b:x}}}" for a, b in class_ranges(belongs)])
    upper, lower = mapping(str.upper), mapping(str.lower)
    rows("jinja_upper_runs", "struct jinja_case_range", simple_ranges(upper))
    rows("jinja_lower_runs", "struct jinja_case_range", simple_ranges(lower))
    for name, convert, base in (("upper", str.upper, upper), ("lower", str.lower, lower),
                                ("title", str.title, upper), ("folded", str.casefold, lower)):
        rows(f"jinja_{name}_exceptions", "struct jinja_case_exception", exceptions(mapping(convert), base))
    print("// clang-format on\n\n#endif")


if __name__ == "__main__":
    main()
