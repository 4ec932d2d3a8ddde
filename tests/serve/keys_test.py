#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`sluice keys` and a server that asks for them, with the openai client.  Usage: keys_test.py SLUICE"""
import json
import os
import subprocess
import sys
import tempfile

import openai

from server import GOOD_CHAT, Server, run_checks

BINARY = os.path.abspath(sys.argv[1])
FOLDER = tempfile.TemporaryDirectory()
FILE = os.path.join(FOLDER.name, "keys.json")
CHAT = "/v1/chat/completions"


def keys(*arguments, status=0):
    done = subprocess.run([BINARY, "keys", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done
    return done.stdout if status == 0 else done.stderr


def add(name, *options):
    return keys("add", name, "--file", FILE, *options).strip()


def client_of(server, key):
    return openai.OpenAI(base_url=server.url + "/v1", api_key=key, max_retries=0, timeout=120)


def refused(exception, call, code):
    try:
        call()
    except exception as error:
        assert type(error) is exception and error.code == code, (error, error.code)
        return error
    raise AssertionError("it was not refused")


def the_command():
    secret = add("first", "--max-running", "3")
    assert secret.startswith("sluice-") and "\n" not in secret and secret not in open(FILE, encoding="utf-8").read()
    assert os.stat(FILE).st_mode & 0o777 == 0o600
    add("second", "--per-minute", "90")
    add("urgent", "--priority", "7")
    listed = json.loads(keys("list", "--file", FILE, "--json"))
    assert [(k["name"], k["max_running"], k["per_minute"]) for k in listed] == [("first", 3, 0), ("second", 0, 90), ("urgent", 0, 0)]
    assert [k["priority"] for k in listed] == [100, 100, 7]
    table = keys("list", "--file", FILE)
    assert "first" in table and "90" in table and secret not in table
    assert "first" in keys("add", "first", "--file", FILE, status=1)
    assert "is no name" in keys("add", "a b", "--file", FILE, status=1)
    assert "--file" in keys("add", "third", status=2)
    assert "nobody" in keys("revoke", "nobody", "--file", FILE, status=1)
    keys("revoke", "first", "--file", FILE)
    keys("revoke", "urgent", "--file", FILE)
    assert [k["name"] for k in json.loads(keys("list", "--file", FILE, "--json"))] == ["second"]
    assert FILE + "x" in keys("list", "--file", FILE + "x", status=1)


def two_commands_at_once_lose_nothing():
    running = [subprocess.Popen([BINARY, "keys", "add", f"many-{i}", "--file", FILE], stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL) for i in range(12)]
    assert all(process.wait(60) == 0 for process in running)
    names = {k["name"] for k in json.loads(keys("list", "--file", FILE, "--json"))}
    assert {f"many-{i}" for i in range(12)} <= names


def the_server_asks():
    secret = add("user")
    server = Server(BINARY, "--keys", FILE)
    try:
        for path in ("/health", "/ready"):
            assert server.request("GET", path)[0] == 200
        status, headers, body = server.request("GET", "/v1/models")
        assert status == 401 and headers["WWW-Authenticate"] == "Bearer", (status, headers)
        assert json.loads(body)["error"]["code"] == "missing_api_key"
        assert server.request("GET", "/v1/models", headers={"x-api-key": secret})[0] == 200
        assert server.request("GET", "/v1/models", headers={"Authorization": "Basic " + secret})[0] == 401
        assert server.request("GET", "/v1/models", headers={"Authorization": "Bearer " + "x" * 5000})[0] == 401
        wrong = client_of(server, secret[:-1] + ("A" if secret[-1] != "A" else "B"))
        error = refused(openai.AuthenticationError, wrong.models.list, "invalid_api_key")
        assert secret[:-1] not in error.message
        refused(openai.AuthenticationError, lambda: wrong.chat.completions.create(model="sluice-demo", **GOOD_CHAT), "invalid_api_key")
        good = client_of(server, secret)
        assert good.models.list().data[0].id == "sluice-demo"
        assert good.chat.completions.create(model="sluice-demo", **GOOD_CHAT).choices[0].message.content
        long = "x " * 20000  # goes through the intake's thread
        refused(openai.BadRequestError, lambda: good.chat.completions.create(
            model="sluice-demo", messages=[{"role": "user", "content": long}]), "context_length_exceeded")
        assert server.stop() == 0 and not any(secret in line for line in server.lines + server.errors)
    finally:
        server.kill()


def limits():
    secret = add("narrow", "--max-running", "1")
    server = Server(BINARY, "--card", "ref", "--keys", FILE)  # slow enough for one to be still running
    try:
        client = client_of(server, secret)
        stream = client.chat.completions.create(model="sluice-demo", stream=True, extra_body={"ignore_eos": True},
                                                messages=GOOD_CHAT["messages"])
        next(iter(stream))
        call = lambda: client.chat.completions.create(model="sluice-demo", **GOOD_CHAT)
        error = refused(openai.RateLimitError, call, "concurrency_limit_exceeded")
        assert error.response.headers["Retry-After"] == "1"
        stream.close()
        server.wait_idle(20)
        assert call().choices[0].message.content
        for _ in range(3):  # a request that fails is not kept as running
            refused(openai.BadRequestError, lambda: client.chat.completions.create(model="sluice-demo", messages=[]), "empty_array")
        assert call().choices
        assert server.stop() == 0
    finally:
        server.kill()


def revoked_while_serving():
    secret = add("leaver")
    server = Server(BINARY, "--keys", FILE)
    try:
        headers = {"Authorization": "Bearer " + secret}
        assert server.request("GET", "/v1/models", headers=headers)[0] == 200
        keys("revoke", "leaver", "--file", FILE)
        server.wait_for(lambda: server.request("GET", "/v1/models", headers=headers)[0] == 401, 20)
        newcomer = {"Authorization": "Bearer " + add("newcomer")}
        server.wait_for(lambda: server.request("GET", "/v1/models", headers=newcomer)[0] == 200, 20)
        with open(FILE + ".broken", "w", encoding="utf-8") as file:
            file.write('{"keys": [')
        os.rename(FILE, FILE + ".kept")
        os.rename(FILE + ".broken", FILE)
        server.wait_for(lambda: server.request("GET", "/v1/models", headers=newcomer)[0] == 200 and
                        any("the keys stay as they were" in line for line in server.lines), 20)
        os.rename(FILE + ".kept", FILE)
        assert server.stop() == 0
    finally:
        server.kill()


def other_addresses_need_keys():
    done = subprocess.run([BINARY, "serve", "--host", "0.0.0.0", "--port", "0"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "--keys" in done.stderr, done
    server = Server(BINARY, "--host", "0.0.0.0", "--keys", FILE)
    try:
        assert server.request("GET", "/v1/models")[0] == 401 and server.stop() == 0
    finally:
        server.kill()
    done = subprocess.run([BINARY, "serve", "--port", "0", "--keys", FILE + "x"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and FILE + "x" in done.stderr, done


if __name__ == "__main__":
    sys.exit(run_checks([the_command, two_commands_at_once_lose_nothing, the_server_asks, limits, revoked_while_serving,
                         other_addresses_need_keys]))
