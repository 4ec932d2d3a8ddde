#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The openai Python client against `sluice serve` with the demo model.  Usage: openai_client_test.py SLUICE"""
import concurrent.futures
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

import openai

from server import Server, run_checks, with_template

BINARY = os.path.abspath(sys.argv[1])
QUESTION = [{"role": "user", "content": "How do I list the cards?"}]
SLOW = ("--card", "ref")  # for the tests that need a completion to be still running: the simulated card may be done with it
SERVER = Server(BINARY)
CLIENT = openai.OpenAI(base_url=SERVER.url + "/v1", api_key="none", max_retries=0, timeout=120)
MODEL = "sluice-demo"


def chat(**fields):
    return CLIENT.chat.completions.create(**{"model": MODEL, "messages": QUESTION, "temperature": 0, "max_tokens": 40} | fields)


def complete(**fields):
    return CLIENT.completions.create(**{"model": MODEL, "prompt": "The card", "temperature": 0} | fields)


def refused(exception, param=None, code=None, call=chat, **fields):
    try:
        call(**fields)
    except exception as error:
        assert type(error) is exception, error
        assert param is None or error.param == param, (error.param, error.message)
        assert code is None or error.code == code, (error.code, error.message)
        return error
    raise AssertionError(f"{fields} was not refused")


def models():
    listed = CLIENT.models.list().data
    assert [model.id for model in listed] == [MODEL] and listed[0].object == "model"
    assert CLIENT.models.retrieve(MODEL).id == MODEL
    refused(openai.NotFoundError, code="model_not_found", call=lambda: CLIENT.models.retrieve("another"))


def chat_plain():
    answer = chat()
    choice = answer.choices[0]
    assert answer.object == "chat.completion" and answer.model == MODEL and answer.id.startswith("chatcmpl-")
    assert abs(answer.created - time.time()) < 600
    assert len(answer.choices) == 1 and choice.index == 0 and choice.message.role == "assistant"
    assert choice.finish_reason in ("stop", "length") and choice.message.content
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens > 0 and 0 < answer.usage.completion_tokens <= 40


def chat_stream():
    whole = chat()
    chunks = list(chat(stream=True, stream_options={"include_usage": True}))
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert text == whole.choices[0].message.content, (text, whole)
    reasons = [chunk.choices[0].finish_reason for chunk in chunks[:-1]]
    assert reasons[-1] == whole.choices[0].finish_reason and not any(reasons[:-1])
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])


def tokens_are_sent_as_they_come():
    """On a card that takes longer for a token than the server for a chunk; a faster one may put several tokens in one."""
    server = Server(BINARY, *SLOW)
    try:
        chunks = list(long_stream(client_of(server), max_tokens=40))
        assert len(chunks) > 5, f"40 tokens came in {len(chunks)} chunks"
        assert server.stop() == 0
    finally:
        server.kill()


def stream_without_usage():
    chunks = list(chat(stream=True))
    assert all(chunk.usage is None and len(chunk.choices) == 1 for chunk in chunks)


def completion_plain_and_stream():
    whole = complete(max_tokens=20)
    assert whole.object == "text_completion" and whole.id.startswith("cmpl-")
    chunks = list(complete(max_tokens=20, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == whole.choices[0].text
    assert chunks[-1].usage == whole.usage and chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason


def completion_default_is_16_tokens():
    answer = complete(extra_body={"ignore_eos": True})
    assert answer.usage.completion_tokens == 16 and answer.choices[0].finish_reason == "length"


def completion_of_tokens():
    answer = complete(prompt=[5, 6, 7], max_tokens=4)
    assert answer.usage.prompt_tokens == 3
    assert complete(prompt=[[5, 6, 7]], max_tokens=4).choices[0].text == answer.choices[0].text
    assert complete(prompt=["The card"], max_tokens=4).choices[0].text == complete(max_tokens=4).choices[0].text


def completions_tell_logprobs():
    """The older form: an entry of each list belongs to a token, and the texts of the tokens are the text."""
    whole = complete(max_tokens=12, logprobs=3).choices[0]
    chunks = [chunk.choices[0] for chunk in complete(max_tokens=12, logprobs=3, stream=True)]
    said = whole.logprobs
    assert "".join(said.tokens) == whole.text and len(said.tokens) == len(said.token_logprobs) == len(said.top_logprobs) == len(said.text_offset)
    for token, logprob, top, offset in zip(said.tokens, said.token_logprobs, said.top_logprobs, said.text_offset):
        assert whole.text[offset:].startswith(token) and top[token] == logprob <= 0 and 3 <= len(top) <= 4, (token, top)
        assert logprob == max(top.values())  # temperature 0
    for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
        assert [entry for chunk in chunks if chunk.logprobs for entry in getattr(chunk.logprobs, name)] == getattr(said, name), name
    assert complete(max_tokens=3, logprobs=0).choices[0].logprobs.top_logprobs == [{}] * 3
    assert complete(max_tokens=3).choices[0].logprobs is None


def completions_echo_their_prompt():
    prompt = "The card is in é slot"
    alone = complete(prompt=prompt, max_tokens=8, logprobs=2).choices[0]
    both = complete(prompt=prompt, max_tokens=8, logprobs=2, echo=True)
    echoed = both.choices[0]
    assert echoed.text == prompt + alone.text and echoed.finish_reason == alone.finish_reason
    n = both.usage.prompt_tokens
    assert echoed.logprobs.tokens[n:] == alone.logprobs.tokens and echoed.logprobs.token_logprobs[n:] == alone.logprobs.token_logprobs
    assert echoed.logprobs.token_logprobs[0] is None and echoed.logprobs.top_logprobs[0] is None
    assert all(logprob <= 0 for logprob in echoed.logprobs.token_logprobs[1:])
    assert echoed.logprobs.text_offset[n] == len(prompt) and echoed.logprobs.text_offset[0] == 0
    scored = complete(prompt=prompt + alone.text, max_tokens=0, echo=True, logprobs=1)
    assert scored.choices[0].text == prompt + alone.text and scored.usage.completion_tokens == 0
    assert scored.choices[0].logprobs.token_logprobs == echoed.logprobs.token_logprobs
    text = "".join(chunk.choices[0].text for chunk in complete(prompt=prompt, max_tokens=8, echo=True, stream=True))
    assert text == echoed.text == complete(prompt=prompt, max_tokens=8, echo=True).choices[0].text
    two = complete(prompt=prompt, max_tokens=8, echo=True, n=2, temperature=1, seed=3).choices
    assert all(choice.text.startswith(prompt) for choice in two)


def length_and_stop():
    answer = chat(max_tokens=3, extra_body={"ignore_eos": True})
    assert answer.choices[0].finish_reason == "length" and answer.usage.completion_tokens == 3
    assert chat(max_completion_tokens=2, extra_body={"ignore_eos": True}).usage.completion_tokens == 2
    whole = chat().choices[0].message.content
    stop = whole[len(whole) // 2:len(whole) // 2 + 3]
    for stops in (stop, ["never said by it", stop]):
        answer = chat(stop=stops)
        assert answer.choices[0].message.content == whole[:whole.index(stop)] and answer.choices[0].finish_reason == "stop"
        streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chat(stop=stops, stream=True))
        assert streamed == whole[:whole.index(stop)]


def full_context_ends_with_length():
    server = Server(BINARY, "--ctx", "96", "--max-seqs", "2")
    try:
        client = client_of(server)
        for limit in ({}, {"max_tokens": 1000}):
            answer = client.chat.completions.create(model=MODEL, messages=QUESTION, extra_body={"ignore_eos": True}, **limit)
            assert answer.choices[0].finish_reason == "length" and answer.usage.total_tokens == 96, answer.usage
        exact = client.completions.create(model=MODEL, prompt=[5] * 96)
        assert exact.choices[0].finish_reason == "length" and exact.usage.completion_tokens == 0
        refused(openai.BadRequestError, "prompt", "context_length_exceeded",
                lambda: client.completions.create(model=MODEL, prompt=[5] * 97))
    finally:
        server.kill()


def seeds_repeat():
    hot = dict(temperature=1.5, max_tokens=30, extra_body={"ignore_eos": True})
    text = lambda seed: chat(seed=seed, **hot).choices[0].message.content
    first = text(7)
    assert text(7) == first and text(8) != first
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        together = list(pool.map(text, [7, 8, 7, 9]))
    assert together[0] == first and together[2] == first and len(set(together)) == 3
    # Half of the answers to this question are one sentence whatever the seed: 20 equal ones are no accident.
    unseeded = {chat(**hot).choices[0].message.content for _ in range(20)}
    assert len(unseeded) > 1


def several_choices():
    hot = dict(seed=7, temperature=1.5, max_tokens=30, extra_body={"ignore_eos": True})
    answer = chat(n=3, **hot)
    texts = [choice.message.content for choice in answer.choices]
    assert [choice.index for choice in answer.choices] == [0, 1, 2] and len(set(texts)) == 3
    assert texts[0] == chat(**hot).choices[0].message.content
    streamed = ["", "", ""]
    for chunk in chat(n=3, stream=True, **hot):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == texts


def content_parts_and_roles():
    parts = [{"type": "text", "text": "How do I list"}, {"type": "text", "text": "the cards?"}]
    joined = chat(messages=[{"role": "user", "content": "How do I list\nthe cards?"}])
    answer = chat(messages=[{"role": "user", "content": parts}])
    assert answer.choices[0].message.content == joined.choices[0].message.content
    system = [{"role": "system", "content": "Be brief."}, *QUESTION]
    developer = [{"role": "developer", "content": "Be brief."}, *QUESTION]
    assert chat(messages=system).usage.prompt_tokens == chat(messages=developer).usage.prompt_tokens > chat().usage.prompt_tokens
    image = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    refused(openai.BadRequestError, "messages[0].content", messages=[{"role": "user", "content": image}])


def errors():
    bad = openai.BadRequestError
    refused(bad, "temperature", temperature=3)
    refused(bad, "temperature", temperature="hot")
    refused(bad, "top_p", top_p=0)
    refused(bad, "max_tokens", max_tokens=0)
    refused(bad, "n", n=100)
    refused(bad, "stop", stop=[1])
    refused(bad, "messages", messages=[])
    refused(bad, "messages[1].role", messages=[*QUESTION, {"role": "robot", "content": "x"}])
    refused(bad, "tools[0].function.name", tools=[{"type": "function", "function": {"parameters": {}}}])
    refused(bad, "tool_choice", tool_choice="required")
    refused(bad, "response_format.type", response_format={"type": "xml"})
    refused(bad, "top_logprobs", logprobs=True, top_logprobs=21)
    refused(bad, "presence_penalty", presence_penalty=3)
    refused(bad, "logit_bias", logit_bias={"five": 1})
    refused(bad, "prompt", call=complete, prompt=["a", "b"])
    refused(bad, "logprobs", call=complete, logprobs=21)
    refused(bad, "max_tokens", call=complete, max_tokens=0)
    refused(bad, "echo", call=complete, echo="yes")
    refused(bad, call=complete, prompt=[4000000000])
    refused(openai.NotFoundError, "model", "model_not_found", model="gpt-4o")
    refused(openai.NotFoundError, call=lambda: CLIENT.embeddings.create(model=MODEL, input="x"))


def long_prompt_is_refused_before_the_stream():
    text = "How do I list the cards? " * 2000
    for stream in (False, True):
        error = refused(openai.BadRequestError, "messages", "context_length_exceeded", stream=stream,
                        messages=[{"role": "user", "content": text}])
        assert len(re.findall(r"\d+ tokens", error.message)) == 2, error.message


def unknown_fields_are_ignored():
    assert chat(user="somebody", extra_body={"no_such_field": [1, {"a": None}], "metadata": {"a": "b"}}).choices
    assert chat(logit_bias={}, presence_penalty=0, tools=[], response_format={"type": "text"}, seed=None, stop=None).choices


TEMPLATE = ("{% for t in tools or [] %}{{ t | tojson }}\n{% endfor %}{% for m in messages %}<|im_start|>{{ m.role }} {{ m.tool_call_id }}\n"
            "{{ m.content or '' }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }} {{ c.function.arguments.city }}</tool_call>"
            "{% endfor %}<|im_end|>\n{% endfor %}{{ enable_thinking }} {{ reasoning_effort }}{% if add_generation_prompt %}"
            "<|im_start|>assistant\n<think></think>{% if think %}<think>\n{% endif %}{% endif %}")
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}


def tools_reach_the_template():
    with tempfile.TemporaryDirectory() as folder:
        model = pathlib.Path(folder) / "sluice-demo.gguf"
        with_template(model, TEMPLATE)
        server = Server(BINARY, str(model))
        try:
            tools_of(server, CLIENT.with_options(base_url=server.url + "/v1"))
            assert server.stop() == 0
        finally:
            server.kill()


def tools_of(server, client):
    name = client.models.list().data[0].id
    history = [*QUESTION,
               {"role": "assistant", "tool_calls": [{"id": "call_7", "type": "function", "function": {
                   "name": "get_weather", "arguments": '{"city": "Oslo"}'}}]},
               {"role": "tool", "tool_call_id": "call_7", "content": "3 degrees"}]
    fields = {"model": name, "messages": history, "tools": [WEATHER], "temperature": 0, "max_tokens": 8}
    status, answer = server.post("/apply-template", fields | {"enable_thinking": False, "reasoning_effort": "low"})
    assert status == 200, answer
    for part in ('"get_weather"', "<tool_call>get_weather Oslo</tool_call>", "tool call_7\n3 degrees", "False low"):
        assert part in answer["prompt"], (part, answer)
    status, answer = server.post("/apply-template", fields | {"tool_choice": "none"})
    assert status == 200 and '"get_weather"' not in answer["prompt"], answer

    def ask(**more):
        return client.chat.completions.create(**fields | more)
    choice = ask(parallel_tool_calls=False).choices[0]
    assert choice.message.content and not choice.message.tool_calls and choice.finish_reason in ("stop", "length")
    refused(openai.BadRequestError, "tool_choice", call=ask, tool_choice={"type": "function", "function": {"name": "another"}})
    thinks = {"extra_body": {"chat_template_kwargs": {"think": True}}}
    message = ask(**thinks).choices[0].message  # the prompt opens the reasoning, and the demo model does not close it
    assert message.reasoning_content and message.content == "", message
    deltas = [chunk.choices[0].delta for chunk in ask(stream=True, **thinks)]
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == message.reasoning_content
    assert not any(delta.content for delta in deltas)


def eight_clients():
    def ask(i):
        client = openai.OpenAI(base_url=SERVER.url + "/v1", api_key="none", max_retries=0)
        messages = [{"role": "user", "content": f"What is {i} + {i}?"}]
        fields = dict(model=MODEL, messages=messages, temperature=0, max_tokens=30)
        if i % 2:
            return client.chat.completions.create(**fields).choices[0].message.content
        return "".join(c.choices[0].delta.content or "" for c in client.chat.completions.create(stream=True, **fields))
    alone = [ask(i) for i in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == alone
    SERVER.wait_idle()


def client_of(server):
    return openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=120)


def long_stream(client=CLIENT, **fields):
    return client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True,
                                          extra_body={"ignore_eos": True}, **fields)


def hang_up_frees_the_sequence():
    server = Server(BINARY, *SLOW)
    try:
        streams = [long_stream(client_of(server)) for _ in range(3)]
        for stream in streams:
            next(iter(stream))
        server.wait_for(lambda: server.get("/ready")[1]["running"] == 3, 20)
        for stream in streams:
            stream.close()
        server.wait_idle(10)
        assert server.stop() == 0
    finally:
        server.kill()


def hang_up_of_a_plain_request():
    server = Server(BINARY, *SLOW)
    try:
        body = b'{"messages": [{"role": "user", "content": "hi"}], "ignore_eos": true, "n": 8}'
        with socket.create_connection((server.host, server.port)) as sock:
            sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                         b"Content-Length: %d\r\n\r\n" % len(body) + body)
            server.wait_for(lambda: server.get("/ready")[1]["running"] == 8, 20)
        server.wait_idle(10)
        assert server.stop() == 0
    finally:
        server.kill()


def ready_only_after_loading():
    server = Server(BINARY, wait_ready=False)
    try:
        assert server.get("/health") == (200, {"status": "ok"})
        seen = []
        while not seen or seen[-1][0] != 200:
            seen.append(server.get("/ready"))
        assert all(s == 503 and b["status"] == "loading" and 0 <= b["percent"] <= 100 for s, b in seen[:-1])
        assert seen[-1][1]["status"] == "serving" and server.stop() == 0
    finally:
        server.kill()


def a_full_queue_is_429():
    server = Server(BINARY, *SLOW, "--max-seqs", "1", "--max-queue", "1")
    try:
        client = client_of(server)
        running = long_stream(client)
        server.wait_for(lambda: server.get("/ready")[1]["running"] == 1, 20)
        waiting = long_stream(client)
        server.wait_for(lambda: server.get("/ready")[1]["waiting"] == 1, 20)
        error = refused(openai.RateLimitError, code="queue_full", call=lambda: long_stream(client))
        assert int(error.response.headers["Retry-After"]) >= 1
        running.close()
        next(iter(waiting))
        server.wait_for(lambda: server.get("/ready")[1]["running"] == 1, 20)
        waiting.close()
        server.wait_idle(10)
        assert server.stop() == 0
    finally:
        server.kill()


def sigterm_at_once():
    server = Server(BINARY, wait_ready=False)
    try:
        assert server.stop() == 0
    finally:
        server.kill()


def a_model_that_does_not_fit():
    done = subprocess.run([BINARY, "serve", "--port", "0", "--card-memory", "1"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr.startswith("sluice: serve: ") and done.stderr.count("\n") == 1, done


def sigterm_drains():
    server = Server(BINARY, *SLOW)
    try:
        client = client_of(server)
        stream = iter(long_stream(client, max_tokens=200, stream_options={"include_usage": True}))
        next(stream)
        kept = socket.create_connection((server.host, server.port))
        kept.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
        assert kept.recv(4096).startswith(b"HTTP/1.1 200")
        server.process.send_signal(signal.SIGTERM)
        server.wait_for(lambda: any("SIGTERM" in line for line in server.lines), 10)
        kept.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
        state = kept.recv(4096)
        assert state.startswith(b"HTTP/1.1 503") and b'"draining"' in state, state
        chunks = list(stream)
        assert chunks[-1].usage.completion_tokens == 200 and chunks[-2].choices[0].finish_reason == "length"
        assert server.process.wait(30) == 0
        kept.close()
        try:
            socket.create_connection((server.host, server.port)).close()
        except ConnectionRefusedError:
            return
        raise AssertionError("a stopped server still listens")
    finally:
        server.kill()


def a_closed_terminal_drains():
    for ignored in (False, True):  # nohup has SIGHUP ignored
        disposition = signal.SIG_IGN if ignored else signal.SIG_DFL  # the default, too: this test may itself run under nohup
        server = Server(BINARY, preexec=lambda: signal.signal(signal.SIGHUP, disposition))
        try:
            client = client_of(server)
            stream = iter(long_stream(client, max_tokens=100))
            next(stream)
            server.process.send_signal(signal.SIGHUP)
            assert list(stream)[-1].choices[0].finish_reason == "length"
            if ignored:
                assert server.get("/ready")[0] == 200 and server.stop() == 0
            else:
                assert server.process.wait(30) == 0
        finally:
            server.kill()


def second_signal_cancels():
    server = Server(BINARY, *SLOW)
    try:
        client = client_of(server)
        streams = [iter(long_stream(client)) for _ in range(8)]
        for stream in streams:
            next(stream)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for(lambda: any("SIGTERM" in line for line in server.lines), 10)
        server.process.send_signal(signal.SIGINT)
        cancelled = 0
        for stream in streams:
            try:
                list(stream)
            except openai.APIError as error:
                assert error.code == "server_stopping", error
                cancelled += 1
        assert server.process.wait(30) == 0 and cancelled > 0
    finally:
        server.kill()


def busy_port_and_other_wrong_starts():
    def start(*arguments):
        done = subprocess.run([BINARY, "serve", *arguments], capture_output=True, text=True, timeout=60)
        assert done.stdout == "" and done.stderr.startswith("sluice: ") and done.stderr.count("\n") == 1, done
        return done.returncode, done.stderr
    status, text = start("--port", str(SERVER.port))
    assert status == 1 and f"cannot listen on 127.0.0.1:{SERVER.port}: Address already in use" in text and "--port" in text
    status, text = start("--host", "0.0.0.0", "--port", "0")
    assert status == 1 and "--insecure-no-keys" in text
    status, text = start("--host", "example.invalid", "--port", "0")
    assert status == 1 and "--host" in text
    status, text = start("no-such-file.gguf", "--port", "0")
    assert status == 1 and "no-such-file.gguf" in text
    status, text = start("--card", "nosuch", "--port", "0")
    assert status == 1 and "nosuch" in text
    assert start("--port", "70000")[0] == 2 and start("--no-such-option")[0] == 2


def a_deadline_ends_the_work():
    server = Server(BINARY, *SLOW)
    try:
        client = client_of(server)
        fields = dict(model=MODEL, messages=QUESTION)
        error = refused(openai.APIStatusError, code="deadline_exceeded", param="timeout",
                        call=lambda: client.chat.completions.create(**fields, extra_body={"ignore_eos": True, "timeout": 0.2}))
        assert error.status_code == 408
        server.wait_idle(10)
        stream = client.chat.completions.create(stream=True, **fields, extra_body={"ignore_eos": True},
                                                extra_headers={"X-Request-Timeout": "0.3"})
        try:
            for _ in stream:
                pass
        except openai.APIError as broken:
            assert broken.code == "deadline_exceeded", broken
        else:
            raise AssertionError("the stream went on after its time")
        server.wait_idle(10)
        assert client.chat.completions.create(max_tokens=3, extra_body={"timeout": 600}, **fields).choices
        for wrong in ("x", "-1", "1e9", "999999"):
            refused(openai.BadRequestError, call=lambda: client.chat.completions.create(
                **fields, extra_headers={"X-Request-Timeout": wrong}))
        refused(openai.BadRequestError, param="timeout",
                call=lambda: client.chat.completions.create(**fields, extra_body={"timeout": 0}))
        assert server.stop() == 0
    finally:
        server.kill()


def configuration_file():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "serve.ini")
        def write(text):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        write("; a comment\n[serve]\nctx = 128\nmax-seqs = 2\nverbose = true\nport = 1\n")
        server = Server(BINARY, "--config", path)
        try:
            assert server.port != 1, "the command line must win"
            server.wait_for(lambda: any("128 tokens of context" in line and "up to 2 sequences" in line for line in server.lines), 10)
            assert server.stop() == 0
            server.wait_for(lambda: any("GET /ready 200" in line for line in server.errors), 10)
        finally:
            server.kill()
        for text, line in (("[serve]\nprot = 1\n", 2), ("[serve]\n\nport = many\n", 3), ("[other]\nport = 1\n", 2),
                           ("[serve]\nverbose = perhaps\n", 2), ("[serve\n", 1)):
            write(text)
            done = subprocess.run([BINARY, "serve", "--config", path], capture_output=True, text=True, timeout=60)
            assert done.returncode == 2 and f"serve.ini:{line}:" in done.stderr, done


def everything_is_given_back():
    SERVER.wait_idle()
    assert SERVER.stop() == 0, SERVER.errors
    assert not SERVER.errors, SERVER.errors


if __name__ == "__main__":
    try:
        status = run_checks([models, chat_plain, chat_stream, tokens_are_sent_as_they_come, stream_without_usage,
                             completion_plain_and_stream, completion_default_is_16_tokens, completion_of_tokens, completions_tell_logprobs,
                             completions_echo_their_prompt, length_and_stop,
                             full_context_ends_with_length, seeds_repeat, several_choices, content_parts_and_roles, errors,
                             long_prompt_is_refused_before_the_stream, unknown_fields_are_ignored, tools_reach_the_template, eight_clients,
                             hang_up_frees_the_sequence, hang_up_of_a_plain_request, ready_only_after_loading,
                             a_full_queue_is_429, sigterm_at_once, a_model_that_does_not_fit, sigterm_drains,
                             a_closed_terminal_drains, second_signal_cancels, busy_port_and_other_wrong_starts,
                             a_deadline_ends_the_work, configuration_file, everything_is_given_back])
    finally:
        SERVER.kill()
    sys.exit(status)
