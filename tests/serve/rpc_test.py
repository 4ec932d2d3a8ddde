#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`sluice serve --rpc`: the C client library against HTTP's answers, and frames that no client should send.

Usage: rpc_test.py SLUICE RPC_CLIENT   (RPC_CLIENT: the program of rpc_client.c)
"""
import json
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile

from server import GOOD_CHAT, Server, run_checks

BINARY, CLIENT = map(os.path.abspath, sys.argv[1:3])
FOLDER = tempfile.TemporaryDirectory(prefix="sluice-rpc-")
PATH = os.path.join(FOLDER.name, "socket")
SERVER = Server(BINARY, "--card", "sim", "--rpc", PATH, "--max-body", "100000")
HELLO, CALL, CANCEL, WELCOME, EVENT, ANSWER, FAILURE = 1, 2, 3, 16, 17, 18, 19
GREETING = b"sluice-rpc 1\n"
CHAT = "/v1/chat/completions"


def calls(*lines, key="-", path=PATH):
    """What the client library prints for these calls, made side by side: the events and the answer of each."""
    text = "".join(p + ("" if body is None else "\t" + json.dumps(body)) + "\n" for p, body in lines)
    done = subprocess.run([CLIENT, path, key], input=text, capture_output=True, text=True, timeout=300)
    got = [{"events": []} for _ in lines]
    for line in done.stdout.splitlines():
        item = json.loads(line)
        if "event" in item:
            assert "status" not in got[item["call"]], "an event behind the answer"
            got[item["call"]]["events"].append(item["event"])
        else:
            got[item["call"]].update(item)
    return done.returncode, got, done.stderr


def choices(answer):
    return [(choice["message"]["content"], choice["finish_reason"]) for choice in answer["choices"]]


# ---- the library ----

def answers_are_http_s():
    over_http = SERVER.post(CHAT, GOOD_CHAT)[1]
    status, (chat, models, count, health), _ = calls(
        (CHAT, GOOD_CHAT), ("/v1/models", None), ("/tokenize", {"prompt": "a b"}), ("/health", None))
    assert status == 0 and chat["status"] == 200 and choices(chat["answer"]) == choices(over_http), chat
    assert models["answer"] == SERVER.get("/v1/models")[1] and health["answer"] == {"status": "ok"}
    assert count["answer"] == SERVER.post("/tokenize", {"prompt": "a b"})[1]


def streams_are_http_s():
    body = {**GOOD_CHAT, "stream": True, "stream_options": {"include_usage": True}}
    raw = SERVER.request("POST", CHAT, body)[2].decode()
    over_http = [json.loads(line[6:]) for line in raw.splitlines() if line.startswith("data: {")]
    status, (got,), _ = calls((CHAT, body))
    assert status == 0 and got["status"] == 200 and got["answer"] is None

    def text(events):
        return "".join(c["delta"].get("content") or "" for event in events for c in event["choices"])
    assert text(got["events"]) == text(over_http) != "" and got["events"][-1]["usage"]["completion_tokens"] > 0
    status, (got,), _ = calls(("/v1/responses", {"input": "hi", "max_output_tokens": 4, "stream": True}))
    assert got["events"][0]["type"] == "response.created" and got["events"][-1]["type"].startswith("response.")


def many_calls_at_once():
    bodies = [{"messages": [{"role": "user", "content": f"Card {i}?"}], "max_tokens": 1 + i % 7, "temperature": 0,
               "stream": i % 3 == 0} for i in range(60)]
    status, got, _ = calls(*((CHAT, body) for body in bodies))
    assert status == 0
    for body, answer in zip(bodies, got):
        expected = SERVER.post(CHAT, {**body, "stream": False})[1]
        if body["stream"]:
            text = "".join(c["delta"].get("content") or "" for event in answer["events"] for c in event["choices"])
        else:
            text = answer["answer"]["choices"][0]["message"]["content"]
        assert answer["status"] == 200 and text == expected["choices"][0]["message"]["content"], (body, answer)


def refusals_are_http_s():
    wrong = [(CHAT, {}), (CHAT, {**GOOD_CHAT, "model": "another"}), ("/nowhere", None), (CHAT, None), ("/health", {"a": 1})]
    status, got, _ = calls(*wrong)
    assert status == 0
    assert [answer["status"] for answer in got] == [400, 404, 404, 405, 405], got
    assert got[0]["answer"] == SERVER.post(CHAT, {})[1]


def a_cancelled_call_ends():
    endless = {"messages": [{"role": "user", "content": "Count."}], "max_tokens": 900, "ignore_eos": True, "stream": True}
    status, (cancelled, other), _ = calls(("!" + CHAT, endless), (CHAT, GOOD_CHAT))
    assert status == 0 and cancelled["status"] in (499, 200) and other["status"] == 200, cancelled
    SERVER.wait_idle()


def no_server_and_no_socket():
    for path, says in ((PATH + "-none", "No such file"), ("/" + "x" * 200, "longer")):
        status, _, error = calls((CHAT, GOOD_CHAT), path=path)
        assert status == 1 and says in error, (path, error)


# ---- frames by hand ----

def frame(kind, payload=b"", call=0):
    return struct.pack("<III", len(payload), call, kind) + payload


class Raw:
    def __init__(self, *frames):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(PATH)
        self.buffer = b""
        self.send(*frames)

    def send(self, *frames):
        try:
            self.socket.sendall(b"".join(frames))
        except BrokenPipeError:
            pass  # refused before the end, which the answer tells

    def next(self):
        """The next frame as (kind, call, payload), or None at the end."""
        while True:
            if len(self.buffer) >= 12:
                length, call, kind = struct.unpack_from("<III", self.buffer)
                if len(self.buffer) >= 12 + length:
                    payload, self.buffer = self.buffer[12:12 + length], self.buffer[12 + length:]
                    return kind, call, payload
            try:
                got = self.socket.recv(65536)
            except ConnectionResetError:
                got = b""
            if not got:
                return None
            self.buffer += got

    def refused(self, says):
        kind, call, payload = self.next()
        assert kind == FAILURE and call == 0 and says in payload.decode(), (kind, payload)
        assert self.next() is None
        self.socket.close()


GOOD_CALL = CHAT.encode() + b"\0" + json.dumps(GOOD_CHAT).encode()


def frames_by_hand():
    raw = Raw(frame(HELLO, GREETING))
    assert raw.next() == (WELCOME, 0, GREETING)
    for piece in frame(CALL, GOOD_CALL, 7) + frame(CALL, b"/health\0", 8):  # byte by byte
        raw.send(bytes([piece]))
    got = sorted((raw.next() for _ in range(2)), key=lambda f: f[1])
    assert [(kind, call) for kind, call, _ in got] == [(ANSWER, 7), (ANSWER, 8)]
    assert struct.unpack_from("<II", got[1][2]) == (200, 0) and json.loads(got[1][2][8:]) == {"status": "ok"}
    raw.send(frame(CANCEL, b"", 99))  # a call that has ended, or never was
    raw.send(frame(CALL, b"/health\0", 7))  # the number is free again
    assert raw.next()[:2] == (ANSWER, 7)
    raw.socket.close()


def bad_frames():
    Raw(frame(CALL, GOOD_CALL, 1)).refused("HELLO")
    Raw(frame(HELLO, b"GET / HTTP/1.1")).refused("sluice-rpc 1")
    Raw(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").refused("longer than")
    for bad, says in ((frame(HELLO, GREETING), "kind"), (frame(WELCOME, GREETING), "kind"), (frame(CALL, b"/health", 1), "NUL"),
                      (frame(CALL, b"", 1), "NUL"), (frame(CALL, b"health\0", 1), "path"), (frame(CALL, b"/health\0", 0), "number"),
                      (frame(CALL, b"/" + b"x" * 2000 + b"\0", 1), "NUL"), (frame(CANCEL, b"x", 1), "kind"),
                      (struct.pack("<III", 0xffffffff, 1, CALL), "longer than")):
        raw = Raw(frame(HELLO, GREETING))
        assert raw.next()[0] == WELCOME
        raw.send(bad)
        raw.refused(says)
    raw = Raw(frame(HELLO, GREETING), frame(CALL, GOOD_CALL, 1) * 2)  # the number is in use
    assert raw.next()[0] == WELCOME
    raw.refused("number")


def random_frames():
    seed = random.randrange(1 << 32)
    generator = random.Random(seed)
    for _ in range(200):
        pieces = [frame(HELLO, GREETING)] if generator.random() < 0.8 else []
        for _ in range(generator.randrange(6)):
            payload = generator.choice([b"", GOOD_CALL, b"/health\0", b"/tokenize\0{", generator.randbytes(generator.randrange(40))])
            pieces.append(frame(generator.choice([HELLO, CALL, CALL, CALL, CANCEL, EVENT, 77]), payload, generator.randrange(4)))
        blob = b"".join(pieces)
        raw = Raw(blob[:generator.randrange(len(blob) + 1)])
        raw.socket.close()
    assert SERVER.post(CHAT, GOOD_CHAT)[0] == 200, f"seed {seed}"
    SERVER.wait_idle()


def keys_are_asked_for():
    keys = os.path.join(FOLDER.name, "keys.json")
    made = subprocess.run([BINARY, "keys", "add", "rpc", "--file", keys], capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    secret = next(word for word in made.stdout.split() if word.startswith("sluice-"))
    path = os.path.join(FOLDER.name, "keyed")
    server = Server(BINARY, "--rpc", path, "--keys", keys)
    try:
        for key, expected in (("-", 401), ("wrong", 401), ("x" * 500, 401), (secret, 200)):
            status, (answer,), error = calls((CHAT, GOOD_CHAT), key=key, path=path)
            assert status == 0 and answer["status"] == expected, (key, answer, error)
        assert server.stop() == 0 and not os.path.exists(path)
    finally:
        server.kill()


def everything_is_given_back():
    SERVER.wait_idle()
    assert SERVER.stop() == 0 and not SERVER.errors and not os.path.exists(PATH), SERVER.errors


if __name__ == "__main__":
    try:
        exit_status = run_checks([answers_are_http_s, streams_are_http_s, many_calls_at_once, refusals_are_http_s,
                                  a_cancelled_call_ends, no_server_and_no_socket, frames_by_hand, bad_frames, random_frames,
                                  keys_are_asked_for, everything_is_given_back])
    finally:
        SERVER.kill()
    sys.exit(exit_status)
