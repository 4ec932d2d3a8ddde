#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: tokenizer_differential.py TOKENIZER_LINES [--strings N] [--seed S] VOCABULARY...
Random strings through tests/text/tokenizer_lines and through the Python package tokenizers: ids must be equal. A vocabulary is a
tokenizer.json, or a GGUF file of a style below, which is rebuilt as its makers' tokenizer.json has it. What comes back from the ids
must be the text where the style has no normalizer. Needs the Python packages gguf and tokenizers."""
import argparse
import pathlib
import random
import subprocess
import sys
import unicodedata

import gguf
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

SUFFIXES = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT4 = SUFFIXES + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*" + REST
CASED = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+%s"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*%s|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n/]*" + REST)
KIMI = (r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+" + SUFFIXES
        + r"?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*" + SUFFIXES
        + r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + REST)
CJK_HANGUL = "[一-龥ࠀ-一가-퟿]+"
DEEPSEEK = [r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
            r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*" + REST]


def letters_of_deepseek_llm():
    """The list is long: from our own source, so a wrong letter in it would not show; the vectors in shared/ hold it."""
    source = (pathlib.Path(__file__).parents[2] / "host/text/tokenizer_styles.c").read_text()
    lines = source.split("#define CASED_LETTERS")[1].split("\n\n")[0]
    return "".join(part.strip().strip('"') for part in lines.replace("\\\n", "\n").split("\n")).replace("\\\\", "\\")


PATTERNS = {
    "llama-bpe": [GPT4 % "{1,3}"], "qwen2": [GPT4 % ""], "deepseek-r1-qwen": [GPT4 % ""],
    "chatglm-bpe": [GPT4 % "{1,3}"], "glm4": [GPT4 % "{1,3}"],
    "qwen35": [SUFFIXES + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + REST],
    "gpt-4o": [CASED % (SUFFIXES + "?", SUFFIXES + "?", "{1,3}")], "llama4": [CASED % (SUFFIXES + "?", SUFFIXES + "?", "{1,3}")],
    "tekken": [CASED % ("", "", "")], "kimi-k2": [KIMI], "deepseek-v3": DEEPSEEK, "gpt-2": [], "gpt-neox": [],
    "command-r": ["digits"], "smollm": ["digits"],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK_HANGUL, "digits"],
    "deepseek-llm": [r"[\r\n]", "letters", "\\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", CJK_HANGUL, "digits"],
}
WHOLE_WORDS = {"llama-bpe", "glm4", "tekken", "kimi-k2"}


def rebuild(path, style):
    """The GGUF file's vocabulary in the reference, and whether its ids give the text back."""
    reader = gguf.GGUFReader(path)
    field = lambda key: reader.fields[key].contents() if key in reader.fields else None
    kind, tokens = field("tokenizer.ggml.model"), field("tokenizer.ggml.tokens")
    style = style or field("tokenizer.ggml.pre") or "gpt-2"
    vocab = {text: i for i, text in reversed(list(enumerate(tokens)))}
    if kind == "gpt2":
        merges = [tuple(m.split(" ", 1)) for m in field("tokenizer.ggml.merges")]
        made = Tokenizer(models.BPE(vocab, merges, ignore_merges=style in WHOLE_WORDS))
        steps = []
        for pattern in PATTERNS[style]:
            if pattern == "letters":
                pattern = r"\s?[" + letters_of_deepseek_llm() + "]+"
            steps.append(pre_tokenizers.Digits(individual_digits=True) if pattern == "digits"
                         else pre_tokenizers.Split(Regex(pattern), "isolated"))
        regex = style in ("gpt-2", "gpt-neox", "command-r", "smollm")
        steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex))
        made.pre_tokenizer = pre_tokenizers.Sequence(steps)
    elif kind == "gemma4":
        merges = [tuple(m.split(" ", 1)) for m in field("tokenizer.ggml.merges")]
        made = Tokenizer(models.BPE(vocab, merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
        made.normalizer = normalizers.Replace(" ", "▁")
    elif kind == "llama":
        scores, types = field("tokenizer.ggml.scores"), field("tokenizer.ggml.token_type")
        # As transformers makes merges of scores: every way to cut a token in two, best scores first.
        plain = {t: i for i, t in enumerate(tokens) if types[i] in (1, 4)}
        merges = [(-scores[i], plain[t[:k]], plain[t[k:]], t[:k], t[k:]) for t, i in plain.items() if types[i] == 1
                  for k in range(1, len(t)) if t[:k] in plain and t[k:] in plain]
        merges = [(a, b) for *_, a, b in sorted(merges)]
        made = Tokenizer(models.BPE(vocab, merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
        prefix = field("tokenizer.ggml.add_space_prefix") is not False
        made.normalizer = normalizers.Sequence(([normalizers.Prepend("▁")] if prefix else []) + [normalizers.Replace(" ", "▁")])
    else:
        sys.exit(f"{path}: no rebuilding of {kind}")
    types = field("tokenizer.ggml.token_type")
    made.add_tokens([AddedToken(t, normalized=False) for t, kind in zip(tokens, types) if kind == 4])
    return made


POOLS = [
    lambda r: r.choice(" \t\n\r\x0b\x0c\x1c\x85\xa0\u1680\u180e\u2003\u2028\u3000\u200b\ufeff"),
    lambda r: " " * r.randrange(1, 12),
    lambda r: r.choice(["\r\n", "\n\n", "\r\n\r\n", "\n \n", "\t\t"]),
    lambda r: r.choice(["'s", "'T", "'re", "'VE", "'ll", "n't", "\u2019s", "'\u017f", "'", "\u212a", "\u0130", "\u0131", "\u00df", "\u01c5"]),
    lambda r: chr(r.randrange(0x20, 0x7f)),
    lambda r: chr(r.randrange(0x20, 0x7f)),
    lambda r: "".join(r.choice("etaoinshrdlu") for _ in range(r.randrange(1, 9))),
    lambda r: r.choice(["the", " and", "Hello", "WORLD", "camelCase", "snake_case", "HTTPServer", "don't", "1st", "x=1;", "->", "===", "/*", "//"]),
    lambda r: "".join(r.choice("0123456789") for _ in range(r.randrange(1, 8))),
    lambda r: r.choice("٣٤۱०๑１𝟘½Ⅷ①²〇"),
    lambda r: chr(r.randrange(0x300, 0x370)),
    lambda r: r.choice("eaou") + chr(r.randrange(0x300, 0x320)),
    lambda r: chr(r.randrange(0xa0, 0x600)),
    lambda r: chr(r.randrange(0x900, 0x1000)),
    lambda r: chr(r.randrange(0x3040, 0x3100)),
    lambda r: chr(r.randrange(0x4e00, 0x9fa6)),
    lambda r: r.choice("中文字。，！、「」々〻⺀⼀㐀𠀀"),
    lambda r: chr(r.randrange(0xac00, 0xd7a4)),
    lambda r: chr(r.randrange(0x1f300, 0x1fa00)),
    lambda r: r.choice(["\u200d", "👨‍👩‍👧", "🇩🇪", "👍🏽", "❤\ufe0f", "1\ufe0f\u20e3"]),
    lambda r: r.choice("\u2581\ufffd\x00\x01\x7f\u202e\u2066\ue000\uffff\U0010ffff"),
    lambda r: chr(r.choice([0x2EBF0, 0x31350, 0x13460, 0x1C89, 0x1E4D0, 0x1E4F0, 0x1CCF0, 0x11F50, 0xa7cb, 0x897]) + r.randrange(9)),
    lambda r: chr(r.choice([r.randrange(0x80, 0xd800), r.randrange(0xe000, 0x110000)])),
    lambda r: r.choice("!?.,;:-_()[]{}<>@#$%^&*+=~`|\\/\"'"),
    lambda r: r.choice("ﬁ㍿①ⅨﷺｱÅΩ"),
]


def random_text(r, names):
    parts = []
    few = r.sample(POOLS, r.randrange(1, 6))
    for _ in range(r.randrange(0, 16)):
        parts.append(r.choice(few if r.random() < 0.8 else POOLS)(r))
    if names and r.random() < 0.15:
        name = r.choice(names)
        parts.insert(r.randrange(len(parts) + 1), name if r.random() < 0.6 else name[:r.randrange(1, len(name) + 1)])
    return "".join(parts)


def compare(lines, path, reference, options, parse):
    """parse: names of special tokens are those tokens."""
    r = random.Random(options.seed)
    names = [t.content for t in reference.get_added_tokens_decoder().values()]
    reference.encode_special_tokens = not parse
    texts = [random_text(r, names) for _ in range(options.strings)]
    given = "".join(f"{2 if parse else 0} {t.encode().hex()}\n" for t in texts)
    made = subprocess.run([lines, str(path)], input=given, capture_output=True, text=True, check=True).stdout.split("\n")
    wrong = 0
    plain = reference.normalizer is None and not path.endswith(".json")
    for text, line in zip(texts, made):
        ids = reference.encode(text, add_special_tokens=False).ids
        ours = line.split("\t")
        back = plain and not parse and len(ours) > 1 and bytes.fromhex(ours[1]) != text.encode()
        if ours[0] == " ".join(map(str, ids)) and not back:
            continue
        wrong += 1
        if wrong <= options.show:
            print(f"  {text!r}\n    reference {ids}\n    ours      {line[:200]}")
    print(f"{path}{' with names' if parse else ''}: {len(texts) - wrong} of {len(texts)} equal (seed {options.seed})", flush=True)
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("lines")
    parser.add_argument("vocabularies", nargs="+")
    parser.add_argument("--strings", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--style", help="of GGUF files, where the reference is to have another than the file says")
    parser.add_argument("--show", type=int, default=3)
    options = parser.parse_args()
    wrong = 0
    for path in options.vocabularies:
        if path.endswith(".json"):
            reference = Tokenizer.from_file(path)
            wrong += compare(options.lines, path, reference, options, False) + compare(options.lines, path, reference, options, True)
        else:
            wrong += compare(options.lines, path, rebuild(path, options.style), options, False)
    sys.exit(wrong != 0)


if __name__ == "__main__":
    main()
