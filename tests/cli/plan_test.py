#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sluice plan as a user types it: what fits, that it agrees with the simulated run, its files, wrong input.
usage: plan_test.py SLUICE"""
import csv
import html.parser
import json
import pathlib
import subprocess
import sys
import tempfile
import traceback

SLUICE = str(pathlib.Path(sys.argv[1]).resolve())
ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "host/model/demo/demo.gguf"
MOE = ROOT / "tests/fixtures/models/qwen3_moe/model-q4_0.gguf"
TESTS = []


def test(function):
    TESTS.append(function)
    return function


def sluice(*arguments):
    return subprocess.run([SLUICE, *map(str, arguments)], capture_output=True, text=True, timeout=300)


def done(*arguments):
    result = sluice(*arguments)
    assert result.returncode == 0, (arguments, result.returncode, result.stderr)
    return result.stdout


def plan(*arguments):
    return json.loads(done("plan", *arguments, "--json"))


def refused(status, words, *arguments):
    result = sluice("plan", *arguments)
    assert result.returncode == status and result.stdout == "", (arguments, result)
    assert result.stderr.startswith("sluice: ") and result.stderr.count("sluice: ") == 1, result.stderr
    for word in words:
        assert word in result.stderr, (word, result.stderr)


def near(value, expected, within, what):
    assert abs(value / expected - 1) <= within, (what, value, expected)


@test
def agrees_with_the_simulated_run():
    """Within 3 %: the engine computing on sim:u55c, and the plan of the same shapes."""
    for model in (DEMO, MOE):
        for batch in (1, 8):
            lines = done("bench", model, "--card", "sim:u55c", "-p", 256, "-n", 64, "-b", batch, "-r", 1, "--no-hash",
                         "--ctx", 512)
            run = {line["name"]: line for line in map(json.loads, lines.splitlines())}
            # Decoding goes from 1 token to 65 in each sequence, so its mean is that of 33.
            made = plan(model, "--card", "u55c", "--ctx", 512, "--depth", 33, "--prompt", 256, "-b", batch)
            decode = next(d for d in made["decode"] if d["batch"] == batch)
            near(decode["tokens_per_s"], run["decode"]["tokens_per_s_virtual"], 0.03, (model, batch))
            near(decode["j_per_token"], run["decode"]["j_per_token"], 0.03, (model, batch))
            near(made["prefill"][0]["tokens_per_s"], run["prefill"]["tokens_per_s_virtual"], 0.03, (model, batch))
            near(made["prefill"][0]["j_per_token"], run["prefill"]["j_per_token"], 0.03, (model, batch))


@test
def every_built_in_name_has_a_plan():
    names = [line.split()[0] for line in done("plan", "--list").splitlines() if " missing: " not in line]
    assert len(names) >= 20, names
    for name in names:
        made = plan("--arch", name, "--card", "u55c")
        memory = made["memory"]
        if memory["fits"]:
            assert made["decode"][0]["tokens_per_s"] > 0 and made["prefill"][0]["first_token_ps"] > 0, name
        else:
            assert "The smallest set" in made["smallest_cards"] or "No set" in made["smallest_cards"], name
        for row in memory["rows"]:
            assert min([*row["card"].values(), row["host"], row["nvme"]]) >= 0, (name, row)


@test
def the_issue_s_examples():
    made = plan("--arch", "Qwen3-30B-A3B", "--quant", "q4_0", "--card", "u55c")
    assert "leaves no room for KV" in made["memory"]["reason"], made["memory"]["reason"]
    assert made["memory"]["experts"] == "host" and made["memory"]["hit_rate"] < 1
    made = plan("--arch", "Qwen3-30B-A3B", "--quant", "q4_0", "--card", "u55c", "--experts", "resident")
    assert not made["memory"]["fits"] and made["smallest_cards"].startswith("The smallest set that holds it: 1 x v80")
    text = done("plan", "--arch", "Llama-3.1-405B", "--card", "u55c")
    assert text.startswith("DOES NOT FIT: the weights take "), text[:100]
    made = plan("--arch", "gpt-oss-20b", "--card", "u55c")
    assert made["memory"]["fits"] and made["memory"]["experts"] == "resident" and made["memory"]["reason"] is None


@test
def the_smallest_set_holds_it():
    for name in ("DeepSeek-R1", "Llama-3.1-405B", "Mistral-Large-3"):
        words = plan("--arch", name, "--card", "kv260")["smallest_cards"].replace(",", " ").split()
        cards, card = int(words[6]), words[8]
        assert plan("--arch", name, "--card", card, "--cards", cards)["memory"]["fits"], (name, cards, card)
        if cards > 1:
            assert not plan("--arch", name, "--card", card, "--cards", cards - 1)["memory"]["fits"], (name, cards, card)


@test
def the_same_twice():
    ask = ("plan", "--arch", "gpt-oss-120b", "--card", "u55c", "--cards", 2, "--json")
    assert done(*ask) == done(*ask)


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.text, self.tags = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        assert not {"src", "href", "xlink:href", "onload", "onclick"} & {name for name, _ in attributes}, tag
        if tag not in ("meta", "rect", "line", "circle", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("rect", "line", "circle", "path"):
            assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.text.append(data)


@test
def page_and_sweep():
    with tempfile.TemporaryDirectory() as folder:
        page, table = folder + "/plan.html", folder + "/sweep.csv"
        done("plan", "--arch", "gpt-oss-20b", "--card", "u55c", "--html", page, "--csv", table,
             "--sweep", "batch=1,8;quant=q4_0,q8_0;experts=resident,host;cards=1,2;ctx=2048,4096")
        parser = Page()
        parser.feed(pathlib.Path(page).read_text(encoding="utf-8"))
        assert not parser.open and "script" not in parser.tags and parser.tags.count("svg") > 20
        text = " ".join(parser.text)
        for words in ("gpt-oss-20b on 1 × AMD Alveo U55C", "What lies where", "Tokens per second", "Where the time goes",
                      "Energy of a token", "No card of ours stands behind these figures yet", "Sweep", "UG1393"):
            assert words in text, words
        rows = list(csv.DictReader(open(table, newline="", encoding="utf-8")))
        assert len(rows) == 32 and {row["batch"] for row in rows} == {"1", "8"}
        for row in rows:
            assert row["fits"] in ("yes", "no") and (row["fits"] == "no") == (row["tokens_per_s"] == ""), row
        one = next(row for row in rows if row["quant"] == "INT4" and row["batch"] == "1" and row["context"] == "4096"
                   and row["cards"] == "1" and row["experts"] == "resident")
        made = plan("--arch", "gpt-oss-20b", "--quant", "q4_0", "--card", "u55c")
        near(float(one["tokens_per_s"]), made["decode"][0]["tokens_per_s"], 1e-5, "sweep against plan")


@test
def wrong_input():
    refused(2, ["--card"], "--arch", "gpt-oss-20b")
    refused(2, ["--experts", "resident"], "--arch", "gpt-oss-20b", "--card", "u55c", "--experts", "warm")
    refused(2, ["--quant", "mxfp4"], "--arch", "gpt-oss-20b", "--card", "u55c", "--quant", "q9")
    refused(2, ["--kv", "int8"], "--arch", "gpt-oss-20b", "--card", "u55c", "--kv", "q9")
    refused(2, ["one of them"], DEMO, "--arch", "gpt-oss-20b", "--card", "u55c")
    refused(2, ["--sweep"], "--arch", "gpt-oss-20b", "--card", "u55c", "--csv", "x")
    refused(2, ["--csv"], "--arch", "gpt-oss-20b", "--card", "u55c", "--sweep", "batch=1")
    refused(2, ["batch=0", "1 to 1024"], "--arch", "gpt-oss-20b", "--card", "u55c", "--sweep", "batch=0", "--csv", "x")
    refused(1, ["u99", "u55c"], "--arch", "gpt-oss-20b", "--card", "u99")
    refused(1, ["gpt-oss-20b"], "--arch", "gpt-5", "--card", "u55c")
    refused(1, ["gen9"], "--arch", "gpt-oss-20b", "--card", "u55c", "--host", "gen9")
    refused(1, ["--ctx"], "--arch", "gpt-oss-20b", "--card", "u55c", "--ctx", "4000000")
    refused(1, ["/nonexistent"], "/nonexistent/config.json", "--card", "u55c")
    refused(1, ["cannot write"], "--arch", "gpt-oss-20b", "--card", "u55c", "--html", "/nonexistent/x.html")
    run = subprocess.run(["sh", "-c", 'exec "$1" plan --card u55c > /dev/full', "sh", SLUICE], capture_output=True, text=True)
    assert run.returncode == 1 and "cannot write" in run.stderr, run


failed = 0
for function in TESTS:
    try:
        function()
        print("ok", function.__name__)
    except Exception:  # noqa: BLE001
        failed += 1
        print("FAILED", function.__name__)
        traceback.print_exc()
sys.exit(failed > 0)
