# SPDX-License-Identifier: Apache-2.0
"""The question grammar of facts/*.txt.

    # comment
    > the answer
    do: verb phrases; put into frames such as "how do I ..." or "which command do I use to ..."
    is: noun phrases; put into frames such as "what is ..." or "explain ..."
    q:  whole questions

Phrases are separated by ';'.  {a|b|c} stands for one of its parts, which may be empty or hold braces.
Questions are written in lower case; `spoken` gives them case, punctuation, politeness and typing errors.
"""
import math
import re
import zlib
from pathlib import Path

DO_FRAMES = ["how do i"] * 8 + ["how can i"] * 4 + ["how to"] * 4 + [
    "how do you", "how would i", "how does one", "how should i", "how can we", "how do we", "how could i",
    "what is the command to", "which command do i use to", "what command do i run to", "command to",
    "what do i type to", "what do i run to", "what should i type to", "what is the way to", "which command is there to",
    "i want to", "i need to", "i would like to", "i'd like to", "i am trying to", "help me",
    "can you tell me how to", "tell me how to", "tell me how i can", "explain how to", "show me how to",
    "show me the command to", "is there a command to", "is there a way to", "give me the command to",
    "what is the best way to", "can i", "could you tell me how to", "", "", ""]

IS_FRAMES = ["what is"] * 6 + ["what's"] * 3 + ["whats", "explain", "explain", "define", "tell me about",
    "can you explain", "what do you mean by", "describe", "what exactly is", "please explain what is meant by",
    "what is meant by", "", "", "meaning of", "i do not know what is meant by", "could you explain",
    "tell me what is meant by", "what does the word {bare} mean", "what does {bare} mean", "what does {bare} mean",
    "what are", "definition of", "give a definition of", "in simple words what is", "can you tell me what is"]

BEFORE = ["hi, ", "hello, ", "hey, ", "please ", "ok, ", "so ", "and ", "quick question: ", "excuse me, ", "sorry, ",
          "hello! ", "hi! ", "one question: ", "well, ", "now ", "also, ", "i have a question: ", "um, "]
AFTER = [" please", " thanks", ", please", " in sluice", " with sluice", " here", " exactly", " then", " actually"]
SMALL_WORDS = {"the", "a", "an", "my", "do", "i", "to", "of", "is", "are", "does", "it", "you", "me"}
NEAR = dict(zip("abcdefghijklmnopqrstuvwxyz", ["sq", "vn", "xv", "sf", "wr", "dg", "fh", "gj", "uo", "hk", "jl", "k", "n",
            "bm", "ip", "o", "wa", "et", "ad", "ry", "yi", "cb", "qe", "zc", "tu", "xa"]))


def split_top(text, mark):
    """Split at `mark` outside of braces."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c == "{") - (c == "}")
        if c == mark and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return parts + [text[start:]]


def parse(text):
    """A phrase as a list: strings, and tuples of alternatives, each again such a list."""
    out, i = [], 0
    while i < len(text):
        if text[i] != "{":
            j = text.find("{", i)
            j = len(text) if j < 0 else j
            out.append(text[i:j])
        else:
            depth, j = 1, i + 1
            while depth:
                depth += (text[j] == "{") - (text[j] == "}")
                j += 1
            out.append(tuple(parse(p) for p in split_top(text[i + 1:j - 1], "|")))
        i = j
    return out


def variants(tree):
    return math.prod(sum(variants(t) for t in part) if isinstance(part, tuple) else 1 for part in tree)


def expand(tree, rng):
    return "".join(expand(rng.choice(p), rng) if isinstance(p, tuple) else p for p in tree)


class Fact:
    def __init__(self, answer):
        self.answer, self.phrases = answer, []      # phrases: (kind, tree)

    def weight(self):
        frames = {"do": 20, "is": 12, "q": 2}
        n = sum(frames[kind] * variants(tree) for kind, tree in self.phrases)
        return min(max(math.log2(n), 5), 13)

    def question(self, rng):
        kind, tree = rng.choice(self.phrases)
        text = re.sub(" +", " ", expand(tree, rng)).strip()
        if kind == "do":
            text = rng.choice(DO_FRAMES) + " " + text
        elif kind == "is":
            frame, bare = rng.choice(IS_FRAMES), re.sub("^(an?|the) ", "", text)
            text = frame.replace("{bare}", bare) if "{bare}" in frame else frame + " " + text
        return text.strip()


def load(path):
    facts = []
    for n, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        kind, _, rest = line.partition(" ")
        if kind == ">":
            facts.append(Fact(rest.strip()))
        elif kind in ("do:", "is:", "q:"):
            facts[-1].phrases += [(kind[:-1], parse(p.strip())) for p in split_top(rest, ";") if p.strip()]
        else:
            raise ValueError(f"{path}:{n}: what is {kind!r}?")
    return facts


def bare(text):
    """A question without case and punctuation: what decides whether two questions are the same."""
    return " ".join(re.findall(r"[a-z0-9+*/_-]+", text.lower()))


def held_out(key, one_in=25):
    """Whether a question, or the operands that it asks about, belongs to the test set."""
    return zlib.crc32(bare(key).encode()) % one_in == 0


def typo(text, rng):
    """One typing error in a word of four or more letters outside of code."""
    spots = [m for m in re.finditer(r"(?<![`/\w-])[A-Za-z]{4,}(?![`/\w])", text)]
    if not spots:
        return text
    m = rng.choice(spots)
    w, i, kind = m.group(), rng.randrange(1, len(m.group()) - 1), rng.randrange(4)
    if kind == 0:
        w = w[:i] + w[i + 1] + w[i] + w[i + 2:]
    elif kind == 1:
        w = w[:i] + w[i + 1:]
    elif kind == 2:
        w = w[:i] + w[i] + w[i:]
    else:
        w = w[:i] + rng.choice(NEAR.get(w[i].lower(), w[i])) + w[i + 1:]
    return text[:m.start()] + w + text[m.end():]


def spoken(text, rng, typos=0.14, polite=0.12):
    """The question as people type it."""
    if rng.random() < 0.06:
        words = text.split()
        spots = [i for i, w in enumerate(words) if w in SMALL_WORDS]
        if spots and len(words) > 3:
            del words[rng.choice(spots)]
            text = " ".join(words)
    if rng.random() < polite:
        text = rng.choice(BEFORE) + text
    elif rng.random() < polite / 2:
        text = text + rng.choice(AFTER)
    if rng.random() < typos:
        text = typo(text, rng)
        if rng.random() < 0.25:
            text = typo(text, rng)
    if rng.random() < 0.55:
        text = re.sub(r"\bi\b", "I", text[:1].upper() + text[1:])
        if rng.random() < 0.7:
            for word in ("Sluice", "OpenAI", "FPGA", "KV", "GGUF", "LLM", "HTTP", "API", "Linux", "JSON"):
                text = re.sub(rf"(?<![`/\w]){word.lower()}(?= [^`]|$|[?,.])(?! (?:run|serve|cards|inspect|bench|"
                              rf"tokenize|detokenize|logits)\b)", word, text)
    if rng.random() < 0.6:
        text += "?" if rng.random() < 0.85 else "."
    elif rng.random() < 0.03:
        text += "!"
    return text
