#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes unicode_classes.h: character classes as Hugging Face tokenizers has them (Unicode 16), in terms of what this machine's PCRE2 has.
usage: unicode_classes.py >host/text/unicode_classes.h   (needs the Python package tokenizers, libpcre2-8 and libutf8proc)"""
import ctypes

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

pcre2 = ctypes.CDLL("libpcre2-8.so.0")
pcre2.pcre2_compile_8.restype = ctypes.c_void_p
pcre2.pcre2_match_data_create_from_pattern_8.restype = ctypes.c_void_p
pcre2.pcre2_get_ovector_pointer_8.restype = ctypes.POINTER(ctypes.c_size_t)
utf8proc, libc = ctypes.CDLL("libutf8proc.so.2"), ctypes.CDLL(None)
STABLE, COMPATIBLE, DECOMPOSED = 2, 4, 16
UTF, UCP, NO_UTF_CHECK = 0x80000, 0x20000, 0x40000000
POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
TEXT = "".join(map(chr, POINTS))
RAW = TEXT.encode()
BLOCK = 20000

CATEGORIES = "L Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp Cc Cf Co".split()
SCRIPTS = "Han Hiragana Katakana Hangul Latin Greek Cyrillic Arabic Hebrew Devanagari Thai".split()
SPACE = "\\t-\\r\\x{85}\\p{Z}"


def in_pcre2(members):
    error, offset = ctypes.c_int(), ctypes.c_size_t()
    pattern = f"[{members}]+".encode()
    code = ctypes.c_void_p(pcre2.pcre2_compile_8(pattern, len(pattern), UTF | UCP, ctypes.byref(error), ctypes.byref(offset), None))
    match = ctypes.c_void_p(pcre2.pcre2_match_data_create_from_pattern_8(code, None))
    found, at = set(), 0
    while pcre2.pcre2_match_8(code, RAW, ctypes.c_size_t(len(RAW)), ctypes.c_size_t(at), NO_UTF_CHECK, match, None) >= 0:
        span = pcre2.pcre2_get_ovector_pointer_8(match)
        found.update(map(ord, RAW[span[0]:span[1]].decode()))
        at = span[1]
    return found


def pieces(pre_tokenizer):
    found = set()
    for i in range(0, len(TEXT), BLOCK):
        for piece, _ in pre_tokenizer.pre_tokenize_str(TEXT[i:i + BLOCK]):
            found.update(map(ord, piece))
    return found


def in_reference(pattern):
    return pieces(pre_tokenizers.Split(Regex(pattern), "removed", invert=True))


def beside_single_word():
    """Characters that keep an added token with single_word from being one: another \\w than that of patterns."""
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    tokenizer.add_tokens([AddedToken("alone", single_word=True)])
    name, out = tokenizer.token_to_id("alone"), set()
    for i in range(0, len(POINTS), BLOCK):
        block = POINTS[i:i + BLOCK]
        out |= {c for c, found in zip(block, tokenizer.encode_batch([chr(c) + "alone" for c in block])) if name not in found.ids}
    return out


def ranges(points):
    out = []
    for c in sorted(points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def members(base, wanted):
    """base (PCRE2, inside brackets) and what it lacks."""
    missing = wanted - in_pcre2(base)
    return base + "".join("\\x{%x}" % a if a == b else "\\x{%x}-\\x{%x}" % (a, b) for a, b in ranges(missing))


def print_class(name, text):
    text = text.replace("\\", "\\\\")
    lines = [text[i:i + 90] for i in range(0, len(text), 90)]
    for i in range(len(lines) - 1):  # an escape is not cut
        while lines[i].endswith("\\"):
            lines[i], lines[i + 1] = lines[i][:-1], "\\" + lines[i + 1]
    print(f'    {{"{name}",\n     ' + "\n     ".join(f'"{line}"' for line in lines) + "},")


def print_ranges(name, points):
    print(f"static const struct unicode_range {name}[] = {{")
    line = "   "
    for a, b in ranges(points):
        item = " {0x%x, 0x%x}," % (a, b)
        if len(line) + len(item) > 118:
            print(line)
            line = "   "
        line += item
    print(line + "\n};\n")


def lower_runs():
    """Runs (first, last, step, difference) of the characters with one small letter; runs that overlap are cut."""
    lower = each_normalized(normalizers.Lowercase())
    runs = []
    for c in sorted(lower):
        small = lower[c]
        if small == chr(c) or len(small) != 1:
            continue
        difference = ord(small) - c
        if runs and runs[-1][3] == difference and c - runs[-1][1] in (1, 2) and runs[-1][2] in (0, c - runs[-1][1]):
            runs[-1][2] = c - runs[-1][1]
            runs[-1][1] = c
        else:
            runs.append([c, c, 0, difference])
    return [(a, b, step or 1, d) for a, b, step, d in runs]


def each_normalized(normalizer):
    """What each character becomes; an ideograph between keeps them apart."""
    between = "\u4e02"
    out = {}
    for i in range(0, len(POINTS), BLOCK):
        block = [chr(c) for c in POINTS[i:i + BLOCK] if chr(c) != between]
        for s, made in zip(block, normalizer.normalize_str(between.join(block)).split(between)):
            out[ord(s)] = made
    return out


def vanishing(normalizer):
    return {c for c, made in each_normalized(normalizer).items() if made == ""}


def utf8proc_form(text, options):
    out, raw = ctypes.c_void_p(), text.encode()
    n = utf8proc.utf8proc_map(raw, ctypes.c_ssize_t(len(raw)), ctypes.byref(out), STABLE | DECOMPOSED | options)
    made = ctypes.string_at(out.value, n).decode()
    libc.free(out)
    return made


def unknown_to_forms():
    """Characters that the reference's tables of normal forms are too old for, and so leave alone where utf8proc does not."""
    nfd, nfkd, unknown = normalizers.NFD(), normalizers.NFKD(), set()
    for c in POINTS:
        s = chr(c)
        around = [s, "a\u0301" + s, "a" + s + "\u0316", "a" + s + "\u0334", "a\u0345" + s]
        if any(nfd.normalize_str(t) != utf8proc_form(t, 0) for t in around) or nfkd.normalize_str(s) != utf8proc_form(s, COMPATIBLE):
            unknown.add(c)
    return unknown | {0x11a7}  # the place before the first final of Hangul: utf8proc joins it to a syllable, where it vanishes


def main():
    print("/* SPDX-License-Identifier: Apache-2.0 */")
    print("/* Written by unicode_classes.py: what characters are to Hugging Face tokenizers (Unicode 16). */")
    print("#ifndef SLUICE_TEXT_UNICODE_CLASSES_H\n#define SLUICE_TEXT_UNICODE_CLASSES_H\n")
    print("#include <stdint.h>\n")
    print("/* For use inside the brackets of a PCRE2 pattern. */")
    print("static const struct unicode_class {\n    const char *name, *members;\n} unicode_classes[] = {")
    for name in CATEGORIES:
        print_class(name, members(f"\\p{{{name}}}", in_reference(f"\\p{{{name}}}+")))
    for name in SCRIPTS:
        print_class(name, members(f"\\p{{sc:{name}}}", in_reference(f"\\p{{{name}}}+")))
    print_class("space", SPACE)
    print_class("digit", members("\\p{Nd}", in_reference("\\d+")))
    print_class("word", members("\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}", in_reference("\\w+")))
    print_class("alpha", members("\\p{L}\\p{Nl}", in_reference("[[:alpha:]]+")))
    print_class("upper", members("\\p{Lu}", in_reference("[[:upper:]]+")))
    print_class("lower", members("\\p{Ll}", in_reference("[[:lower:]]+")))
    print_class("punct", members("\\p{P}\\p{S}", in_reference("[[:punct:]]+")))
    print("};\n")
    print("struct unicode_range {\n    uint32_t first, last;\n};\n")
    print("/* BERT's punctuation, control characters that its clean-up takes out, and accents: all marks, or BERT's. */")
    everything = set(POINTS)
    print_ranges("unicode_punctuation", everything - pieces(pre_tokenizers.Punctuation("removed")))
    bert = dict(handle_chinese_chars=False, strip_accents=False, lowercase=False)
    print_ranges("unicode_control", vanishing(normalizers.BertNormalizer(clean_text=True, **bert)))
    print_ranges("unicode_accents", vanishing(normalizers.StripAccents()))
    nonspacing = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
    print_ranges("unicode_nonspacing", vanishing(nonspacing))
    digits = set()
    split = pre_tokenizers.Digits(individual_digits=True)
    for c in POINTS:
        if len(split.pre_tokenize_str("a" + chr(c) + "a")) == 3:
            digits.add(c)
    print_ranges("unicode_digits", digits)
    print("/* What single_word looks for beside a name. */")
    print_ranges("unicode_word", beside_single_word())
    print("/* Normal forms leave these alone. */")
    print_ranges("unicode_formless", unknown_to_forms())
    print("/* Small letters: from first to last in steps, this much is added. */")
    print("static const struct unicode_run {\n    uint32_t first, last, step;\n    int32_t difference;\n} unicode_lower[] = {")
    for run in lower_runs():
        print("    {0x%x, 0x%x, %d, %d}," % run)
    print("};\n\n#endif")


main()
