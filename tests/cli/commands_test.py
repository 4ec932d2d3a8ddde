#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The commands as a user types them: what they print, how they exit, what they say to wrong input.
usage: commands_test.py SLUICE"""
import array
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import traceback

SLUICE = str(pathlib.Path(sys.argv[1]).resolve())
ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = str(ROOT / "host/model/demo/demo.gguf")
MODELS = ROOT / "tests/fixtures/models"
COMMANDS = ["run", "serve", "inspect", "tokenize", "detokenize", "template", "logits", "eval", "bench", "cards", "doctor", "bitstream", "plan"]
TESTS = []


def test(function):
    TESTS.append(function)
    return function


def sluice(*arguments, text=True, stdin=""):
    return subprocess.run([SLUICE, *map(str, arguments)], capture_output=True, text=text, timeout=120,
                          input=stdin if text else stdin.encode())


def done(*arguments, **options):
    result = sluice(*arguments, **options)
    assert result.returncode == 0, (arguments, result.returncode, result.stderr)
    return result


def refused(status, *arguments, words=(), stdin=""):
    """Exits with status, and the last line on stderr, the only error, names the thing; nothing on stdout."""
    result = sluice(*arguments, stdin=stdin)
    assert result.returncode == status, (arguments, result.returncode, result.stdout, result.stderr)
    errors = [line for line in result.stderr.splitlines() if line.startswith("sluice: ")]
    assert len(errors) == 1 and result.stderr.endswith(errors[0] + "\n"), (arguments[0], result.stderr)
    assert result.stdout == "", (arguments[0], result.stdout)
    for word in words:
        assert word in errors[0], (word, errors[0])


@test
def version_names_release_abi_and_backends():
    out = done("--version").stdout
    for word in ("sluice 0.", "revision", "card ABI 3", ".slc", "backends", "sim", "ref"):
        assert word in out, (word, out)


def rows(*arguments):
    return done("logits", "--tokens", "5,42,79,116,153", "--out", "-", *arguments, text=False).stdout


@test
def several_cards_share_a_model():
    one = rows("--card", "sim:u55c")
    for cards in ("sim:u55c", "sim:u55c*4", "sim:u55c,host=gen4x8*2", "sim:u55c,sim:u50,sim:u280"):
        assert rows("--cards", cards) == one, cards
    assert rows("--cards", "sim:u55c*3", "--expert-slots", "2") == one
    refused(2, "logits", "--tokens", "1", "--out", "-", "--card", "sim", "--cards", "sim*2", words=["--card", "--cards"])
    for cards, words in (("", ["names no card"]), ("sim*0", ["0 cards"]), ("sim*x", ["a number of cards"]),
                         ("sim*40", ["16"]), ("sim,nosuch", ["card 2 of 2 (nosuch)", "sim, ref"]),
                         ("sim:u55c,sim", ["virtual time"]), ("sim*6", ["5 layers", "5 cards at most"])):
        refused(1, "logits", "--tokens", "1", "--out", "-", "--cards", cards, words=words)
    refused(1, "run", "-p", "x", "--cards", "sim*2", "--card-memory", "1", "--ctx", "1024", words=["card 1 of 2"])


@test
def reports_of_several_cards_name_each():
    result = done("run", "-p", "How do I list the cards?", "--cards", "sim:u55c*2,sim:u50", "--stats")
    assert result.stdout == done("run", "-p", "How do I list the cards?").stdout
    for card in ("card 1 of 3 (sim:u55c)", "card 2 of 3 (sim:u55c)", "card 3 of 3 (sim:u50)"):
        lines = [line for line in result.stderr.splitlines() if line.startswith(card)]
        assert len(lines) == 2, (card, result.stderr)
        assert "layers" in lines[0] and "waited for other cards" in lines[1], lines
    with tempfile.TemporaryDirectory() as folder:
        trace = pathlib.Path(folder) / "trace.json"
        line = json.loads(done("bench", "-p", "100", "-n", "0", "-r", "1", "--cards", "sim:u55c*2", "--trace", trace).stdout)
        events = json.loads(trace.read_text())["traceEvents"]
    assert [card["card"] for card in line["cards"]] == ["sim:u55c"] * 2
    assert sum(card["layers"] for card in line["cards"]) == 5
    assert line["counters"]["programs"] == sum(card["programs"] for card in line["cards"])
    for card in line["cards"]:
        assert 0 < card["waited_for_cards_s_virtual"] < line["picoseconds_virtual"] * 1e-12, line
    names = {event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert {"card 1 of 2 (sim:u55c): card memory", "card 2 of 2 (sim:u55c): card and link"} <= names, names
    assert any(event["name"] == "waits for other cards" for event in events)


@test
def help_is_everywhere():
    overview = done("--help").stdout
    for command in COMMANDS:
        assert f"  {command} " in overview
        out = done(command, "--help").stdout
        assert out.startswith(f"usage: sluice {command}") and "--help" in out


@test
def wrong_usage_is_2():
    assert sluice().returncode == 2
    refused(2, "fly", words=["fly"])
    for command in COMMANDS:
        refused(2, command, "--nonsense", words=[command, "--nonsense"])
    refused(2, "run", "-p", "x", "--temperature", "hot", words=["--temperature", "hot"])
    refused(2, "run", "-p", "x", "--threads", "0", words=["--threads"])


@test
def template_renders_a_file_or_a_models_own():
    with tempfile.TemporaryDirectory() as folder:
        variables, template = os.path.join(folder, "vars.json"), os.path.join(folder, "t.jinja")
        pathlib.Path(variables).write_text(json.dumps({"messages": [{"role": "user", "content": "Grüße"}], "add_generation_prompt": True}))
        own = "<|im_start|>user\nGrüße<|im_end|>\n<|im_start|>assistant\n"
        assert done("template", "--input", variables).stdout == own == done("template", DEMO, "--input", variables).stdout
        pathlib.Path(template).write_text("{{ messages[0].content | upper }} {{ strftime_now('%d.%m.%Y') }}\n\n")
        out = done("template", "--template-file", template, "--input", variables, "--now", "2026-01-15T12:00:00").stdout
        assert out == "GRÜSSE 15.01.2026\n", out
        pathlib.Path(template).write_text("ok\n  {{ messages.nothing.at_all }}")
        refused(1, "template", "--template-file", template, "--input", variables, words=["line 2", "column", "nothing"])
        pathlib.Path(template).write_text("{% for %}")
        refused(1, "template", "--template-file", template, "--input", variables, words=["t.jinja", "line 1"])
        pathlib.Path(template).write_text("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}")
        refused(1, "template", "--template-file", template, "--input", variables, words=["too much"])
        refused(1, "template", "--input", variables, "--now", "yesterday", words=["yesterday"])
        refused(1, "template", "--input", os.path.join(folder, "none.json"), words=["none.json"])
        pathlib.Path(variables).write_text("[1]")
        refused(1, "template", "--input", variables, words=["vars.json"])
        refused(2, "template", words=["--input"])
        refused(2, "template", DEMO, "--template-file", template, "--input", variables, words=["--template-file"])


@test
def help_in_every_form():
    assert done("-h").stdout == done("help").stdout == done("--help").stdout
    assert done("run", "-h").stdout == done("help", "run").stdout == done("run", "--help").stdout
    refused(2, "help", "fly", words=["fly"])
    refused(2, "bench", "-p", "0", "-n", "0", words=["measure"])
    refused(2, "detokenize", "--ids", "1,x", words=["--ids"])


@test
def output_that_gets_lost_is_an_error():
    for arguments in (["--version"], ["--help"], ["run", "--help"], ["cards"], ["cards", "--json"],
                      ["cards", "--watch", "-n", "1"], ["inspect", DEMO],
                      ["inspect", DEMO, "--json"], ["tokenize", DEMO, "hi"], ["run", "-p", "hi", "-n", "2"],
                      ["logits", "--tokens", "1", "--out", "-"]):
        for redirection in ("> /dev/full", ">&-"):
            run = subprocess.run(["sh", "-c", f'exec "$@" {redirection}', "sh", SLUICE, *arguments], timeout=60,
                                 stdin=subprocess.DEVNULL, capture_output=True, text=True)
            assert run.returncode == 1, (arguments, redirection, run)
            assert run.stderr.splitlines()[-1].startswith("sluice: ") and "cannot write" in run.stderr, run


@test
def a_closed_standard_input_ends_the_chat():
    run = subprocess.run(["sh", "-c", 'exec "$1" run <&-', "sh", SLUICE], capture_output=True, text=True, timeout=30)
    assert run.returncode == 1 and "sluice: run: cannot read" in run.stderr, run


@test
def a_message_is_one_line_whatever_it_names():
    refused(1, "inspect", "/nonexistent/a\nb\x1b[31m", words=["a?b?[31m"])
    refused(2, "run", "--x\ny", words=["--x?y"])


@test
def an_address_space_limit_is_respected():
    def limited(*arguments):
        return subprocess.run(["sh", "-c", 'ulimit -v 400000; exec "$@"', "sh", SLUICE, *arguments],
                              capture_output=True, text=True, timeout=60)
    if limited("--version").returncode != 0:
        return  # a build with a sanitizer, which maps terabytes
    result = limited("run", "-p", "hi", "-n", "2")
    assert result.returncode == 0 and result.stdout, result


@test
def a_killed_command_leaves_no_file():
    with tempfile.TemporaryDirectory() as folder:
        command = [SLUICE, "logits", "--tokens", ",".join(["1"] * 1000), "--out", folder + "/out", "--card", "ref"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        time.sleep(0.3)
        process.kill()
        process.communicate()
        assert process.returncode == -9 and os.listdir(folder) == [], (process.returncode, os.listdir(folder))
        limited = subprocess.run(["sh", "-c", 'ulimit -f 8; exec "$@"', "sh", SLUICE, "logits", "--tokens", "1,2",
                                  "--out", folder + "/out"], capture_output=True, text=True, timeout=60)
        assert limited.returncode == 1 and "File too large" in limited.stderr and os.listdir(folder) == [], limited


@test
def demo_answers_the_first_question():
    result = done("run", "-p", "How do I list the cards?")
    assert "sluice cards" in result.stdout, result.stdout


@test
def run_gives_the_same_answer_every_time_and_everywhere():
    ask = ("run", "-p", "What is 17 + 25?", "--temperature", "0.8", "--seed", "7")
    first = done(*ask).stdout
    assert first == done(*ask, "--threads", "1").stdout == done(*ask, "--threads", "2", "--chunk", "3").stdout


@test
def run_continues_plain_text():
    assert done("run", "--raw", "-p", "The", "-n", "5").stdout != ""


@test
def run_chats_over_a_pipe():
    out = done("run", stdin="How do I list the cards?\n").stdout
    assert "sluice cards" in out, out


@test
def run_refuses_what_cannot_be():
    refused(1, "run", "/nonexistent/model.gguf", "-p", "x", words=["/nonexistent/model.gguf"])
    refused(1, "run", __file__, "-p", "x", words=["commands_test.py", "GGUF"])
    refused(1, "run", "-p", "x", "--card", "cuda", words=["cuda", "sim", "ref"])
    refused(1, "cards", "--root", "/nonexistent", words=["/nonexistent", "No such file"])
    refused(1, "cards", "--root", __file__, words=["commands_test.py", "not a folder"])
    refused(1, "run", "-p", "word " * 5000, words=["context"])
    refused(1, "run", "-p", "x", "--ctx", "100000000", words=["100000000"])
    for command in (["run"], ["serve"], ["logits", "--tokens=1", "--out=-"], ["bench"]):
        refused(2, *command, "--kv", "int3", words=["int3", "f16, int8, int4 or f32"])
    refused(1, "run", "-p", "x", "--card-memory", "1", words=["memory"])


@test
def inspect_shows_what_is_in_the_file():
    out = done("inspect", DEMO).stdout
    for word in ("qwen3moe", "expert", "Q4_0", "token_embd.weight", "Apache-2.0"):
        assert word in out, word
    parsed = json.loads(done("inspect", DEMO, "--json").stdout)
    assert isinstance(parsed, dict) and parsed
    refused(1, "inspect", "/nonexistent", words=["/nonexistent"])
    refused(1, "inspect", ROOT, words=[str(ROOT)])
    refused(2, "inspect")


@test
def tokens_go_there_and_back():
    text = "How do I list the cards? äöü 🂡 <|im_end|>\n"
    ids = json.loads(done("tokenize", DEMO, "--raw", "--json", stdin=text).stdout)["ids"]
    assert done("detokenize", DEMO, "--ids", ",".join(map(str, ids))).stdout == text
    special = json.loads(done("tokenize", DEMO, "--raw", "--parse-special", "--json", stdin=text).stdout)["ids"]
    assert len(special) < len(ids)
    refused(1, "detokenize", DEMO, "--ids", "99999999", words=["99999999"])


@test
def logits_do_not_depend_on_how_they_were_computed():
    tokens = ",".join(str(3 + 7 * i % 200) for i in range(40))
    with tempfile.TemporaryDirectory() as folder:
        def logits(*options):
            path = os.path.join(folder, "logits")
            done("logits", DEMO, "--tokens", tokens, "--out", path, *options)
            return pathlib.Path(path).read_bytes()
        base = logits()
        vocabulary = len(base) // 4 // 40
        assert len(base) == 40 * vocabulary * 4 and vocabulary > 500
        for options in (["--chunk", "1"], ["--chunk", "7"], ["--threads", "1"], ["--threads", "2"], ["--beside", "3"],
                        ["--beside", "2", "--chunk", "5"], ["--cached"], ["--cached", "--beside", "1", "--chunk", "9"]):
            assert logits(*options) == base, options
        assert logits("--card", "ref") != base
    refused(1, "logits", DEMO, "--tokens", "99999999", "--out", "/dev/null", words=["99999999"])
    refused(1, "logits", DEMO, "--tokens", "1", "--out", "/nonexistent/f", words=["/nonexistent/f"])
    refused(2, "logits", DEMO, "--tokens", "1,x", "--out", "/dev/null", words=["x"])


@test
def eval_measures_perplexity_and_divergence():
    questions = ROOT / "host/model/demo/testset.jsonl"
    lines = questions.read_text().splitlines()[::40]
    with tempfile.TemporaryDirectory() as folder:
        few, text, bad = (os.path.join(folder, name) for name in ("few.jsonl", "text", "bad.jsonl"))
        pathlib.Path(few).write_text("\n".join(lines) + "\n")
        pathlib.Path(text).write_text("The card runs a program. " * 30)
        pathlib.Path(bad).write_text(lines[0] + '\n{"question": 1}\n')
        out = json.loads(done("eval", "--questions", few, "--against-card", "ref", "--json").stdout)
        assert out["passages"] == len(lines) and out["passages_right"] >= 0.7 * len(lines), out
        assert 1 <= out["perplexity"] < 1.3 and out["predictions"] > 5 * len(lines), out
        other = out["against"]
        assert other["card"] == "ref" and 0 < other["kl_mean"] < 1e-3 and other["top1_agreement"] > 0.99, out
        # the same model and card: no divergence; the words of the line say so
        assert "KL divergence 0.000e+00" in done("eval", DEMO, "--questions", few, "--against-model", DEMO).stdout
        # perplexity is that of the logits
        ids = json.loads(done("tokenize", DEMO, "--raw", "--parse-special", "--json", "--text-file", text).stdout)["ids"]
        assert 20 < len(ids) < 512
        rows = os.path.join(folder, "rows")
        done("logits", DEMO, "--tokens", ",".join(map(str, ids)), "--out", rows)
        logits = array.array("f", pathlib.Path(rows).read_bytes())
        n, total = len(logits) // len(ids), 0.0
        for i, token in enumerate(ids[1:]):
            row = logits[i * n:(i + 1) * n]
            top = max(row)
            total += row[token] - top - math.log(sum(math.exp(x - top) for x in row))
        out = json.loads(done("eval", DEMO, "--text-file", text, "--json").stdout)
        assert out["predictions"] == len(ids) - 1, out
        assert abs(out["nats_per_token"] + total / (len(ids) - 1)) < 1e-5, (out, total)
        refused(1, "eval", "--questions", bad, words=[bad, "line 2"])
        refused(1, "eval", "--text-file", "/nonexistent", words=["/nonexistent"])
        refused(1, "eval", "--text-file", text, "--window", "1000000", words=["--window", "context"])
        refused(1, "eval", "--text-file", text, "--against-model", MODELS / "qwen3/model-q4_0.gguf", words=["vocabulary"])
        refused(2, "eval", "--text-file", text, "--questions", few, words=["not both"])
    refused(1, "eval", stdin="", words=["standard input"])


@test
def every_family_computes():
    for family in ("llama", "qwen2", "qwen3", "qwen3_moe"):
        with tempfile.NamedTemporaryFile() as out:
            done("logits", MODELS / family / "model-q4_0.gguf", "--tokens", "1,2,3", "--out", out.name)
            assert os.path.getsize(out.name) % 12 == 0 and os.path.getsize(out.name) > 0


@test
def bench_prints_json_lines():
    lines = [json.loads(line) for line in done("bench", "-p", "32", "-n", "8").stdout.splitlines()]
    assert len(lines) >= 2
    for line in lines:
        for key in ("name", "model", "file_sha256", "card", "threads", "batch", "tokens_per_s_wall", "tokens_per_s_virtual", "j_per_token", "revision"):
            assert key in line, key
        assert line["tokens_per_s_wall"] > 0


@test
def a_killed_command_leaves_a_trace_that_parses():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trace.json")
        command = [SLUICE, "bench", "-p", "0", "-n", "64", "-r", "1000", "--no-hash", "--card", "sim:u55c", "--trace", path]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while process.poll() is None and not (os.path.exists(path) and os.path.getsize(path) > 300_000):
            time.sleep(0.05)
        process.kill()
        process.wait()
        assert process.returncode == -9, process.returncode
        events = json.loads(pathlib.Path(path).read_text())["traceEvents"]
        lanes = {event["args"].get("name", "") for event in events if event["ph"] == "M"}
        assert {"host to card", "card to host", "matmul array", "attention unit", "vector unit", "dispatcher", "host"} < lanes, lanes
        assert any(name.startswith("channel") for name in lanes) and any(name.startswith("expert slot ") for name in lanes), lanes
        assert any({"token", "layer", "expert"} <= event["args"].keys() for event in events)


@test
def cards_lists_every_backend():
    out = done("cards").stdout
    assert "sim" in out and "ref" in out and "ready" in out
    cards = json.loads(done("cards", "--json").stdout)
    names = [card["card"] for card in cards]
    assert names[:2] == ["sim", "ref"], names
    if "xrt" in names and "SLUICE_BITSTREAM" not in os.environ:
        assert "not configured: card xrt: which bitstream is not said" in out, out
        assert cards[names.index("xrt")]["state"] == "not configured", cards


@test
def a_closed_pipe_is_not_a_crash():
    run = subprocess.run(f"'{SLUICE}' inspect '{DEMO}' | head -n 1; exit ${{PIPESTATUS[0]}}", shell=True,
                         executable="/bin/bash", capture_output=True, text=True, timeout=60)
    assert run.returncode in (0, 1, 141), run


def main():
    failed = 0
    for function in TESTS:
        try:
            function()
            print("ok  ", function.__name__)
        except Exception:  # a test fails for whatever reason; the next one still runs
            failed += 1
            print("FAIL", function.__name__)
            traceback.print_exc(file=sys.stdout)
    print(f"{len(TESTS) - failed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
