#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""/tokenize, /detokenize, /apply-template, /metrics and /v1/cards.  Usage: endpoints_test.py SLUICE"""
import json
import os
import random
import re
import subprocess
import sys

from server import GOOD_CHAT, Server, run_checks

BINARY = os.path.abspath(sys.argv[1])
SERVER = Server(BINARY)


def refused(path, body, says, status=400):
    got, answer = SERVER.post(path, body)
    assert got == status and says in json.dumps(answer["error"]), (path, got, answer)


def metrics(server=SERVER):
    """name or name{label} -> value; every line is looked at."""
    status, headers, body = server.request("GET", "/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    values, types = {}, {}
    for line in body.decode().splitlines():
        if line.startswith("# TYPE "):
            types[line.split()[2]] = line.split()[3]
        elif not line.startswith("# HELP "):
            match = re.fullmatch(r'(sluice_[a-z_]+)(\{[a-z]+="[a-z0-9]+"(?:,spec="[a-z0-9:]+")?\})? (\d+)', line)
            assert match and types[match[1]] in ("counter", "gauge"), line
            assert match[1].endswith("_total") == (types[match[1]] == "counter"), line
            values[match[1] + (match[2] or "")] = int(match[3])
    return values


def tokenize_as_the_command_does():
    for text in ("Hello world", "", "naïve 漢字 \U0001f600", "<|im_start|>user"):
        done = subprocess.run([BINARY, "tokenize", "--json"], input=text, capture_output=True, text=True, timeout=60)
        status, answer = SERVER.post("/tokenize", {"prompt": text})
        assert status == 200 and answer["tokens"] == json.loads(done.stdout)["ids"], (text, answer, done)
        assert answer["count"] == len(answer["tokens"]) and answer["max_model_len"] == 1024


def text_comes_back():
    generator = random.Random(7)
    for _ in range(50):
        text = "".join(chr(generator.choice([generator.randrange(32, 127), generator.randrange(0x80, 0xd800),
                                             generator.randrange(0xe000, 0x110000)])) for _ in range(generator.randrange(60)))
        tokens = SERVER.post("/tokenize", {"prompt": text})[1]["tokens"]
        status, answer = SERVER.post("/detokenize", {"tokens": tokens})
        assert status == 200 and answer["prompt"] == answer["content"] == text, (text, answer)


def longer_than_the_context_and_through_the_intake():
    text = "The card waits. " * 20000
    status, answer = SERVER.post("/tokenize", {"prompt": text})
    assert status == 200 and answer["count"] > 60000
    status, back = SERVER.post("/detokenize", {"tokens": answer["tokens"]})
    assert status == 200 and back["content"] == text


def the_prompt_of_a_chat():
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi <|im_end|>"}]
    prompt = SERVER.post("/apply-template", {"messages": messages})[1]["prompt"]
    assert prompt.startswith("<|im_start|>system\nBe brief.<|im_end|>") and prompt.endswith("<|im_start|>assistant\n"), prompt
    tokens = SERVER.post("/tokenize", {"messages": messages})[1]["tokens"]
    assert SERVER.post("/detokenize", {"tokens": tokens})[1]["prompt"] == prompt
    usage = SERVER.post("/v1/chat/completions", {"messages": messages, "max_tokens": 1})[1]["usage"]
    assert usage["prompt_tokens"] == len(tokens)


def wrong_requests():
    refused("/tokenize", {}, "prompt")
    refused("/tokenize", {"prompt": 7}, "prompt")
    refused("/tokenize", {"messages": [{"role": "user"}]}, "content")
    refused("/tokenize", {"prompt": "x", "model": "another"}, "another", 404)
    refused("/detokenize", {}, "tokens")
    refused("/detokenize", {"tokens": "x"}, "array of token ids")
    refused("/detokenize", {"tokens": [1, "x"]}, "array of token ids")
    refused("/detokenize", {"tokens": [-1]}, "no token id")
    refused("/detokenize", {"tokens": [99999]}, "99999")
    refused("/apply-template", {"prompt": "x"}, "messages")
    assert SERVER.request("GET", "/tokenize")[0] == 405
    assert SERVER.request("POST", "/metrics", b"{}")[0] == 405


def metrics_count():
    before = metrics()
    status, answer = SERVER.post("/v1/chat/completions", GOOD_CHAT)
    assert status == 200
    refused("/v1/chat/completions", {}, "messages")
    after = metrics()
    made = after["sluice_completion_tokens_total"] - before["sluice_completion_tokens_total"]
    usage = answer["usage"]
    assert usage["completion_tokens"] <= made <= usage["completion_tokens"] + 1, (made, usage)  # the end token is one
    prompt = sum(after[name] - before[name] for name in ("sluice_prompt_tokens_total", "sluice_cached_tokens_total"))
    assert prompt == usage["prompt_tokens"], (prompt, usage)
    for status, n in (("2xx", 2), ("4xx", 1), ("5xx", 0)):  # the first look at the metrics is one of them
        name = f'sluice_answers_total{{status="{status}"}}'
        assert after[name] - before[name] == n, (status, before[name], after[name])
    assert after["sluice_ready"] == 1 and after["sluice_connections"] >= 1 and after["sluice_kv_pages"] > 0


def cards():
    status, answer = SERVER.get("/v1/cards")
    (card,) = answer["data"]
    assert status == 200 and card["backend"] == "sim" and card["profile"] is None and card["abi_version"] >= 2
    assert all(0 <= bank["bytes_free"] < bank["bytes"] for bank in card["banks"]) and card["banks"]


def several_cards_are_named_each():
    server = Server(BINARY, "--cards", "sim:u55c,sim:u50", "--ctx", "256")
    try:
        one, two = server.get("/v1/cards")[1]["data"]
        assert (one["id"], two["id"]) == ("card 1 of 2 (sim:u55c)", "card 2 of 2 (sim:u50)"), (one["id"], two["id"])
        assert (one["profile"], two["profile"]) == ("u55c", "u50")
        assert one["first_layer"] == 0 and two["first_layer"] == one["layers"] and one["layers"] + two["layers"] == 5
        status, answer = server.post("/v1/chat/completions", GOOD_CHAT)
        text = answer["choices"][0]["message"]["content"]
        assert status == 200 and text == SERVER.post("/v1/chat/completions", GOOD_CHAT)[1]["choices"][0]["message"]["content"]
        values = metrics(server)
        for number, spec in (("1", "sim:u55c"), ("2", "sim:u50")):
            of_card = f'{{card="{number}",spec="{spec}"}}'
            assert values["sluice_card_layers" + of_card] in (1, 2, 3, 4) and values["sluice_card_free_bytes" + of_card] > 0
            assert values["sluice_card_waits_picoseconds_total" + of_card] > 0, values
        assert any(line.endswith("card 2 of 2 (sim:u50): layers %d to 4" % two["first_layer"]) for line in server.lines), server.lines
        assert server.stop() == 0 and not server.errors, server.errors
    finally:
        server.kill()


def everything_is_given_back():
    SERVER.wait_idle()
    assert SERVER.stop() == 0 and not SERVER.errors, SERVER.errors


if __name__ == "__main__":
    try:
        exit_status = run_checks([tokenize_as_the_command_does, text_comes_back, longer_than_the_context_and_through_the_intake,
                                  the_prompt_of_a_chat, wrong_requests, metrics_count, cards, several_cards_are_named_each,
                                  everything_is_given_back])
    finally:
        SERVER.kill()
    sys.exit(exit_status)
