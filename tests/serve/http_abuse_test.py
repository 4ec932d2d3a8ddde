#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Hostile HTTP against `sluice serve`. After every attack /health is 200 and a good completion gives the usual answer; at
the end no KV page is left behind and the server ends with status 0.  Usage: http_abuse_test.py SLUICE
"""
import functools
import json
import os
import pathlib
import random
import select
import shutil
import socket
import struct
import sys
import tempfile
import threading
import time

from server import GOOD_CHAT, Server, run_checks

SERVER = Server(os.path.abspath(sys.argv[1]), "--max-body", str(1 << 20))
CHAT = "/v1/chat/completions"
USUAL = SERVER.post(CHAT, GOOD_CHAT)[1]["choices"]


def attack(function):
    @functools.wraps(function)
    def check():
        function()
        assert SERVER.request("GET", "/health")[0] == 200
        status, answer = SERVER.post(CHAT, GOOD_CHAT)
        assert status == 200 and answer["choices"] == USUAL, answer
    return check


def connect():
    sock = socket.create_connection((SERVER.host, SERVER.port), timeout=60)
    return sock


def talk(data, shut=False):
    """Sends raw bytes, reads until the server closes, and gives all it said."""
    with connect() as sock:
        answer = b""
        try:
            sock.sendall(data)
            if shut:
                sock.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            while True:
                piece = sock.recv(65536)
                if not piece:
                    return answer
                answer += piece
        except ConnectionResetError:
            return answer


def status_of(answer):
    assert answer.startswith(b"HTTP/1.1 "), answer[:200]
    return int(answer[9:12])


def post_bytes(body, extra=b"", path=CHAT):
    return (b"POST " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
            + extra + b"Content-Length: %d\r\n\r\n" % len(body) + body)


def refused(body, param=None, status=400, path=CHAT, code=None):
    got, headers, answer = SERVER.request("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode(),
                                          {"Content-Type": "application/json"})
    assert got == status, (got, status, str(body)[:200], answer[:300])
    assert headers["Content-Type"] == "application/json"
    error = json.loads(answer)["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"], error
    assert param is None or error["param"] == param, (param, error)
    assert code is None or error["code"] == code, (code, error)
    return error


@attack
def broken_json():
    for body in (b"", b" ", b"{", b"}", b'{"messages":', b'{"messages": [}', b"not json", b'{"a":1,}', b"[1]", b'"text"',
                 b"null", b'{"a":1}{"b":2}', b'{"a":01}', b'{"a":1e}', b'{"a":NaN}', b"{'a':1}", b'{"a":"\n"}', b'{"a":"\\x"}',
                 b'{"a":"\\ud800"}', b'{"a":123456789012345678901234567890}', b'{"a":1e999}', b"\xef\xbb\xbf{}", b"{" * 60):
        refused(body, code="invalid_json")
    message = refused(b'{"messages": [],\n "temperature": oops}')["message"]
    assert "line 2" in message, message


@attack
def doubtful_json():
    refused(b'{"temperature": 0, "temperature": 1}', code="invalid_json")
    refused(b'{"messages": [{"role": "user", "role": "system", "content": "x"}]}', code="invalid_json")
    assert "JSON_" not in refused(b'{"messages": [{"role": "user", "content": "a\\u0000b"}]}', code="invalid_json")["message"]
    for number in (b"9223372036854775808", b"1e999"):
        assert "too large" in refused(b'{"seed": ' + number + b"}", code="invalid_json")["message"]
    refused(b'{"messages": [{"role": "user", "content": "a\0b"}]}', code="invalid_json")
    refused(b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}', code="invalid_json")
    refused(b'{"messages": [{"role": "user", "content": "\xc0\x80"}]}', code="invalid_json")
    refused(b'{"messages": [{"role": "user", "content": "\xed\xa0\x80"}]}', code="invalid_json")


@attack
def deep_json():
    for text in (b"[" * 100000, b"[" * 100000 + b"]" * 100000, b'{"a":' * 100000, b'{"messages":' + b"[" * 1000 + b"]" * 1000 + b"}"):
        assert "deep" in refused(text, code="invalid_json")["message"]


WRONG = {"a string": "x", "a number": 1.5, "a boolean": True, "an array": [], "an object": {}, "a text array": ["x"]}
FIELDS = {
    "model": {"a string"}, "temperature": {"a number"}, "top_p": set(), "min_p": set(), "top_k": set(), "seed": set(),
    "max_tokens": set(), "max_completion_tokens": set(), "n": set(), "ignore_eos": {"a boolean"},
    "stream": {"a boolean"}, "stream_options": set(), "stop": {"a string", "a text array", "an array"},
}


@attack
def wrong_type_of_each_field():
    for name, right in FIELDS.items():
        for what, value in WRONG.items():
            if what in right or (what == "a number" and name in ("top_p", "min_p")):
                continue
            for path, base in ((CHAT, GOOD_CHAT), ("/v1/completions", {"prompt": "x"})):
                refused(base | {name: value}, name, path=path)
    refused(GOOD_CHAT | {"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage")
    for value in ("x", 1, True, {}, [1], ["x"], [[]], [None]):
        refused({"messages": value}, "messages")
    for message in ({}, {"role": 1, "content": "x"}, {"content": "x"}, {"role": "nobody", "content": "x"}):
        refused({"messages": [message]}, "messages[0].role")
    for content in (None, 1, True, {}, [1], ["x"], [{}], [{"type": "text"}], [{"type": "text", "text": 1}],
                    [{"type": "input_audio"}], [{"type": 5, "text": "x"}]):
        error = refused({"messages": [{"role": "user", "content": content}]})
        assert error["param"].startswith("messages[0]."), error
    for prompt in (None, 1, True, {}, [], [[]], [1, "x"], ["x", "y"], [1.5], [-1], [1 << 40], [True], [{}], [[1], [2]]):
        refused({"prompt": prompt}, "prompt", path="/v1/completions")
    refused({}, "messages")
    refused({}, "prompt", path="/v1/completions")


@attack
def out_of_range():
    for name, values in {"temperature": (-0.1, 2.1, 1e300), "top_p": (0, -1, 1.01, 1e-60), "min_p": (-1, 1.1), "top_k": (-2, 1 << 33),
                         "max_tokens": (0, -1), "n": (0, -1, 9), "max_completion_tokens": (0,)}.items():
        for value in values:
            refused(GOOD_CHAT | {name: value}, name)
    refused(GOOD_CHAT | {"stop": ["x"] * 17}, "stop")
    refused(GOOD_CHAT | {"stop": ["x", ""]}, "stop")
    refused({"messages": GOOD_CHAT["messages"] * 5000}, "messages")
    refused({"prompt": [1, 10**6]}, "prompt", path="/v1/completions")
    assert SERVER.post(CHAT, GOOD_CHAT | {"max_tokens": (1 << 63) - 1, "top_k": 5, "stop": [], "n": 1})[0] == 200


@attack
def bodies_that_are_too_large():
    big = b'{"messages": [{"role": "user", "content": "' + b"x" * (1 << 21) + b'"}]}'
    assert status_of(talk(post_bytes(big))) == 413
    head = b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: x\r\n"
    assert status_of(talk(head + b"Content-Length: 99999999999\r\n\r\n")) == 413
    assert status_of(talk(head + b"Content-Length: 99999999999999999999999999\r\n\r\n")) == 400
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
    assert status_of(talk(chunked + b"7fffffffffffffff\r\n")) == 413
    assert status_of(talk(chunked + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 17)) == 413
    expect = head + b"Expect: 100-continue\r\nContent-Length: 5000000\r\n\r\n"
    assert status_of(talk(expect)) == 413
    long = json.dumps({"messages": [{"role": "user", "content": "word " * 200000}]}).encode()
    assert len(long) < 1 << 20
    refused(long, "messages", code="context_length_exceeded")


@attack
def chunked_bodies():
    head = b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = json.dumps(GOOD_CHAT).encode()
    one_by_one = b"".join(b"1;a=b\r\n" + body[i:i + 1] + b"\r\n" for i in range(len(body)))
    assert status_of(talk(head + one_by_one + b"0\r\nTrailer: x\r\n\r\n")) == 200
    for bad in (b"x\r\n", b"-1\r\n", b"\r\n", b"5\nhello\r\n", b"5\r\nhelloo\r\n", b"ffffffffffffffffff\r\n", b"1" * 400, b"0x5\r\n",
                b" 5\r\nhello\r\n"):
        assert status_of(talk(head + bad)) == 400, bad


@attack
def smuggling():
    good = b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: x\r\n"
    for head in (good + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", good + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
                 good + b"Content-Length: +2\r\n\r\n{}", good + b"Content-Length: 2, 2\r\n\r\n{}", good + b"Content-Length: 0x2\r\n\r\n{}",
                 good + b"Content-Length:\r\n\r\n", good + b"Content-Length : 2\r\n\r\n{}", good + b"Transfer-Encoding: chunked, chunked\r\n\r\n",
                 good + b"X: a\r\n folded\r\n\r\n", good + b"X: a\nY: b\r\n\r\n", good + b"Host: y\r\n\r\n", b"GET /health HTTP/1.1\r\n\r\n",
                 good + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", good + b"X\x00: a\r\n\r\n", good + b"X: a\x00b\r\n\r\n",
                 b"GET /health HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"):
        assert status_of(talk(head)) in (400, 501), head


@attack
def garbage():
    generator = random.Random(5)
    for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x00", b"hello\r\n\r\n", b"GET\r\n\r\n", b"GET /\r\n\r\n", b" / HTTP/1.1\r\n\r\n",
                 b"GET / HTTP/2.0\r\n\r\n", b"GET / http/1.1\r\nHost: x\r\n\r\n", b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET health HTTP/1.1\r\nHost: x\r\n\r\n",
                 b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"G" * 100 + b" / HTTP/1.1\r\n\r\n", b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
                 b"GET /health HTTP/1.1\nHost: x\n\n", *(generator.randbytes(300) for _ in range(50))):
        answer = talk(data, shut=True)
        assert answer == b"" or status_of(answer) in (400, 505), (data, answer)


@attack
def long_headers():
    head = b"GET /health HTTP/1.1\r\nHost: x\r\n"
    assert status_of(talk(head + b"X: " + b"a" * 100000 + b"\r\n\r\n")) == 431
    assert status_of(talk(head + b"X" * 100000)) == 431
    assert status_of(talk(head + b"X: a\r\n" * 101 + b"\r\n")) == 431
    assert status_of(talk(b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")) == 414
    assert status_of(talk(head + b"Connection: close\r\nX: " + b"a" * 8000 + b"\r\n\r\n")) == 200


@attack
def methods_and_paths():
    for path, wrong, allowed in (("/health", "POST", "GET"), (CHAT, "GET", "POST"), ("/v1/models", "DELETE", "GET"), (CHAT, "BREW", "POST")):
        status, headers, _ = SERVER.request(wrong, path)
        assert status == 405 and allowed in headers["Allow"], (path, status)
    for path in ("/", "/v1", "/v1/", "/v1/chat", "/health/", "/v1/models/", "//health", "/../health", "/v1/completionsx"):
        assert SERVER.request("GET", path)[0] == 404, path
    assert SERVER.request("GET", "/health?probe=1#x")[0] == 200
    assert SERVER.request("GET", "/v1/models/sluice%2ddemo")[0] == 200
    assert SERVER.request("GET", "/v1/models/sluice%zz")[0] == 400
    status, headers, body = SERVER.request("HEAD", "/v1/models")
    assert status == 200 and body == b"" and int(headers["Content-Length"]) > 50
    assert SERVER.request("OPTIONS", CHAT)[0] == 204
    body = json.dumps(GOOD_CHAT).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded"):  # the second is what curl -d says
        assert SERVER.request("POST", CHAT, body, {"Content-Type": kind})[0] == 200
        assert SERVER.request("POST", CHAT, body, {"Content-Type": kind, "Origin": "http://example.invalid"})[0] == 415
    assert SERVER.request("POST", CHAT, body, {"Origin": "null"})[0] == 415
    assert SERVER.request("POST", CHAT, body, {"Content-Encoding": "gzip"})[0] == 415
    assert SERVER.request("POST", CHAT, body, {"Content-Encoding": "identity"})[0] == 200
    assert SERVER.request("POST", CHAT, body, {"Content-Type": "Application/JSON; charset=utf-8"})[0] == 200
    assert SERVER.request("POST", CHAT, body, {"Expect": "something"})[0] == 417


@attack
def half_requests_then_gone():
    whole = post_bytes(json.dumps(GOOD_CHAT).encode())
    for end in range(0, len(whole), 7):
        with connect() as sock:
            sock.sendall(whole[:end])
            if end % 2:  # a reset instead of an orderly end
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    SERVER.wait_idle()


@attack
def large_requests_then_gone():
    body = json.dumps({"messages": [{"role": "user", "content": "word " * 150000}]}).encode()
    for _ in range(10):
        with connect() as sock:
            sock.sendall(post_bytes(body))
    assert SERVER.request("GET", "/health")[0] == 200
    refused(body, "messages", code="context_length_exceeded")


@attack
def byte_by_byte():
    data = post_bytes(json.dumps(GOOD_CHAT).encode())
    with connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(data)):
            sock.sendall(data[i:i + 1])
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")


@attack
def pipelined():
    body = json.dumps(GOOD_CHAT).encode()
    one = b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    health = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /v1/nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = talk((one + health + b"\r\n") * 3 + last)
    assert answer.count(b"HTTP/1.1 200 OK") == 6 and answer.count(b"HTTP/1.1 404") == 1
    assert answer.rindex(b"HTTP/1.1 404") > answer.rindex(b"chat.completion")


@attack
def a_flood_of_pipelined_requests_without_reading():
    with connect() as sock:
        sock.setblocking(False)
        data, sent, idle_since = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n" * 2000, 0, time.monotonic()
        while time.monotonic() - idle_since < 1 and sent < 200 << 20:
            if select.select([], [sock], [], 0.1)[1]:
                try:
                    sent += sock.send(data)
                    idle_since = time.monotonic()
                except (BrokenPipeError, ConnectionResetError):
                    break
        assert sent < 100 << 20, "the server reads on though its answers are not read"


@attack
def slow_reader():
    """Clients that never read their streams disturb nobody (unit/serve/connection_test.c: they are dropped)."""
    body = json.dumps(GOOD_CHAT | {"stream": True, "n": 8, "ignore_eos": True, "max_tokens": 100000}).encode()
    socks = []
    for _ in range(3):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect((SERVER.host, SERVER.port))
        sock.sendall(post_bytes(body))
        socks.append(sock)
    time.sleep(0.3)
    assert SERVER.request("GET", "/health")[0] == 200
    for sock in socks:
        sock.close()
    SERVER.wait_idle(20)


@attack
def answers_after_the_client_shut_its_side():
    answer = talk(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", shut=True)
    assert status_of(answer) == 200 and answer.endswith(b'{"status":"ok"}')
    long = GOOD_CHAT | {"max_tokens": 300, "ignore_eos": True}
    head, _, answer = talk(post_bytes(json.dumps(long).encode()), shut=True).partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100 "):
        head, _, answer = answer.partition(b"\r\n\r\n")
    assert status_of(head) == 200 and json.loads(answer)["usage"]["completion_tokens"] == 300, (head, answer)
    answer = talk(post_bytes(json.dumps(long | {"stream": True}).encode()), shut=True)
    assert status_of(answer) == 200 and answer.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"), answer[-200:]
    both = post_bytes(json.dumps(long).encode()).replace(b"Connection: close\r\n", b"")
    assert talk(both + post_bytes(json.dumps(GOOD_CHAT).encode()), shut=True).count(b"HTTP/1.1 200 OK") == 2
    old = json.dumps(long).encode()
    answer = talk(b"POST " + CHAT.encode() + b" HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(old) + old, shut=True)
    assert status_of(answer) == 200 and b" 100 " not in answer


@attack
def a_client_that_closes_is_not_answered():
    """Queued, in the prompt, in the answer, as a stream or not: the sequence goes within a moment, not at its end."""
    endless = GOOD_CHAT | {"max_tokens": 900, "ignore_eos": True, "n": 8}
    for stream in (False, True):
        for pause in (0, 0.01, 0.1):
            socks = [connect() for _ in range(6)]  # 48 sequences: most of them wait
            for sock in socks:
                sock.sendall(post_bytes(json.dumps(endless | {"stream": stream}).encode()))
            time.sleep(pause)
            for sock in socks:
                sock.close()
            time.sleep(0.05)
            started = time.monotonic()
            SERVER.wait_idle(20)
            assert time.monotonic() - started < 2, (stream, pause)


@attack
def http_1_0():
    answer = talk(b"GET /health HTTP/1.0\r\n\r\n")
    assert status_of(answer) == 200 and b"Connection: close" in answer
    body = json.dumps(GOOD_CHAT | {"stream": True}).encode()
    answer = talk(b"POST " + CHAT.encode() + b" HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    head, _, events = answer.partition(b"\r\n\r\n")
    assert b"chunked" not in head.lower() and events.startswith(b"data: {") and events.endswith(b"data: [DONE]\n\n")


@attack
def keep_alive():
    import http.client
    connection = http.client.HTTPConnection(SERVER.host, SERVER.port, timeout=60)
    for i in range(20):
        connection.request("POST", CHAT, json.dumps(GOOD_CHAT | {"stream": i % 2 == 1}), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200 and (body.endswith(b"data: [DONE]\n\n") if i % 2 else json.loads(body)["choices"] == USUAL)
    connection.close()


@attack
def many_idle_connections():
    socks = [connect() for _ in range(300)]
    assert SERVER.request("GET", "/health")[0] == 200
    for sock in socks:
        sock.close()


def file_descriptors_run_out():
    import resource
    server = Server(sys.argv[1], preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48)))
    try:
        socks = [socket.create_connection((server.host, server.port), timeout=60) for _ in range(100)]
        server.wait_for(lambda: any("cannot accept clients" in line for line in server.lines), 20)
        socks[0].sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")  # those that are in go on
        assert socks[0].recv(1000).startswith(b"HTTP/1.1 200")
        for sock in socks:
            sock.close()
        assert server.post(CHAT, GOOD_CHAT)[1]["choices"] == USUAL
        assert sum("cannot accept" in line for line in server.lines) == 1 and server.stop() == 0
    finally:
        server.kill()


def model_file_is_cut_off():
    """Somebody empties the model's file: requests fail and name it, the server stays."""
    model = pathlib.Path(__file__).resolve().parents[2] / "host/model/demo/demo.gguf"
    with tempfile.NamedTemporaryFile(suffix=".gguf") as copy:
        shutil.copy(model, copy.name)
        server = Server(sys.argv[1], copy.name)
        try:
            assert server.post(CHAT, GOOD_CHAT)[1]["choices"] == USUAL
            os.truncate(copy.name, 0)
            for _ in range(5):
                status, answer = server.post(CHAT, GOOD_CHAT)
                assert status >= 500 and copy.name in answer["error"]["message"], answer
            assert server.get("/health")[0] == 200 and server.stop() == 0
        finally:
            server.kill()


@attack
def streams_cut_at_random():
    generator = random.Random(11)

    def one(seed):
        rng = random.Random(seed)
        body = json.dumps(GOOD_CHAT | {"stream": rng.random() < 0.7, "ignore_eos": True, "max_tokens": 60}).encode()
        with connect() as sock:
            sock.sendall(post_bytes(body))
            time.sleep(rng.random() * 0.05)
            if rng.random() < 0.7:
                sock.recv(rng.randrange(1, 3000))
    for _ in range(6):
        threads = [threading.Thread(target=one, args=(generator.random(),)) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    SERVER.wait_idle()


def nothing_is_left_behind():
    SERVER.wait_idle()
    state = SERVER.get("/ready")[1]
    assert state["pages_used"] == 0 and state["running"] == 0, state
    assert SERVER.stop() == 0, SERVER.errors
    assert not SERVER.errors, SERVER.errors


if __name__ == "__main__":
    try:
        status = run_checks([broken_json, doubtful_json, deep_json, wrong_type_of_each_field, out_of_range,
                             bodies_that_are_too_large, chunked_bodies, smuggling, garbage, long_headers,
                             methods_and_paths, half_requests_then_gone, large_requests_then_gone, byte_by_byte, pipelined,
                             a_flood_of_pipelined_requests_without_reading, slow_reader,
                             answers_after_the_client_shut_its_side, a_client_that_closes_is_not_answered, http_1_0,
                             keep_alive, many_idle_connections, file_descriptors_run_out, model_file_is_cut_off,
                             streams_cut_at_random, nothing_is_left_behind])
    finally:
        SERVER.kill()
    sys.exit(status)
