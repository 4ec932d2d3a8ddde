#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""/openapi.json against what the server answers.  Usage: openapi_test.py SLUICE"""
import json
import os
import re
import sys

import jsonschema

from server import GOOD_CHAT, Server, run_checks

SERVER = Server(os.path.abspath(sys.argv[1]))
DOCUMENT = SERVER.get("/openapi.json")[1]
MODEL = SERVER.get("/v1/models")[1]["data"][0]["id"]
TEXT = GOOD_CHAT["messages"][0]["content"]
POSTS = {  # a good body of each path
    "/v1/chat/completions": GOOD_CHAT,
    "/v1/completions": {"prompt": "Cards", "max_tokens": 4, "temperature": 0},
    "/v1/responses": {"input": TEXT, "max_output_tokens": 8, "temperature": 0},
    "/v1/messages": {"messages": GOOD_CHAT["messages"], "max_tokens": 8, "temperature": 0},
    "/v1/messages/count_tokens": {"messages": GOOD_CHAT["messages"]},
    "/tokenize": {"prompt": "a b"},
    "/detokenize": {"tokens": [5, 6]},
    "/apply-template": {"messages": GOOD_CHAT["messages"]},
}
WRONG = {  # one field that its schema refuses, and so must the server
    "/v1/chat/completions": {"temperature": 3}, "/v1/completions": {"n": 0}, "/v1/responses": {"store": True},
    "/v1/messages": {"max_tokens": 0}, "/v1/messages/count_tokens": {"max_tokens": "x"}, "/tokenize": {"model": 5},
    "/detokenize": {"tokens": "x"}, "/apply-template": {"messages": []},
}


def follow(node):
    """What a $ref into the document stands for."""
    while "$ref" in node:
        target = DOCUMENT
        for name in node["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        node = target
    return node


def errors(schema, value):
    """Why value is not of a schema of the document; [] if it is."""
    whole = {**schema, "components": DOCUMENT["components"]}
    return [f"{e.json_path}: {e.message}" for e in jsonschema.Draft202012Validator(whole).iter_errors(value)]


def answer_schema(path, method, status, media="application/json"):
    response = follow(DOCUMENT["paths"][path][method]["responses"][str(status)])
    return response["content"][media]["schema"]


def request_schema(path):
    return DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]


def matches(schema, value):
    wrong = errors(schema, value)
    assert not wrong, (wrong[:3], value)


def the_document_is_sound():
    assert DOCUMENT["openapi"] == "3.1.0" and DOCUMENT["info"]["title"] == "Sluice"
    for name, schema in DOCUMENT["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        for target in re.findall(r'"\$ref": "([^"]*)"', json.dumps(schema)):
            assert follow({"$ref": target}), (name, target)
    names = [operation["operationId"] for path in DOCUMENT["paths"].values() for operation in path.values()
             if isinstance(operation, dict)]
    assert len(names) == len(set(names)), names
    used = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(DOCUMENT)))
    assert used == set(DOCUMENT["components"]["schemas"]), used ^ set(DOCUMENT["components"]["schemas"])


def every_path_takes_its_methods_and_no_other():
    for path, operations in DOCUMENT["paths"].items():
        real = path.replace("{model}", MODEL)
        status, headers, _ = SERVER.request("OPTIONS", real)
        allowed = {name.strip().lower() for name in headers["Allow"].split(",")} - {"options", "head"}
        assert status == 204 and allowed == set(operations) - {"parameters"}, (path, status, headers)


def every_path_is_tried():
    assert {path for path, operations in DOCUMENT["paths"].items() if "post" in operations} == set(POSTS) == set(WRONG)


def every_get():
    for path, operations in DOCUMENT["paths"].items():
        if "get" not in operations or path == "/metrics":
            continue
        status, answer = SERVER.get(path.replace("{model}", MODEL))
        assert status == 200, (path, status)
        matches(answer_schema(path, "get", 200), answer)
    status, answer = SERVER.get("/v1/models/another")
    assert status == 404
    matches(answer_schema("/v1/models/{model}", "get", 404), answer)


def every_post():
    for path, body in POSTS.items():
        matches(request_schema(path), body)
        status, answer = SERVER.post(path, body)
        assert status == 200, (path, status, answer)
        matches(answer_schema(path, "post", 200), answer)


def every_refusal():
    for path, body in POSTS.items():
        wrong = {**body, **WRONG[path]}
        assert errors(request_schema(path), wrong), (path, wrong)
        status, answer = SERVER.post(path, wrong)
        assert status == 400, (path, status, answer)
        matches(answer_schema(path, "post", 400), answer)
        status, answer = SERVER.post(path, {**body, "model": "another"})
        assert status == 404, (path, status, answer)
        matches(answer_schema(path, "post", 404), answer)


def every_stream():
    for path, body in POSTS.items():
        ok = DOCUMENT["paths"][path]["post"]["responses"]["200"]
        if "text/event-stream" not in ok["content"]:
            continue
        status, headers, raw = SERVER.request("POST", path, {**body, "stream": True})
        assert status == 200 and headers["Content-Type"].startswith("text/event-stream"), (path, status)
        data = [line[6:] for line in raw.decode().splitlines() if line.startswith("data: ")]
        if data[-1] == "[DONE]":
            data.pop()
        assert len(data) >= 2, (path, data)
        for event in data:
            matches(answer_schema(path, "post", 200, "text/event-stream"), json.loads(event))


def more_answers():
    chat = {**GOOD_CHAT, "n": 2, "logprobs": True, "top_logprobs": 2}
    matches(request_schema("/v1/chat/completions"), chat)
    matches({"$ref": "#/components/schemas/ChatAnswer"}, SERVER.post("/v1/chat/completions", chat)[1])


def everything_is_given_back():
    SERVER.wait_idle()
    assert SERVER.stop() == 0 and not SERVER.errors, SERVER.errors


if __name__ == "__main__":
    try:
        exit_status = run_checks([the_document_is_sound, every_path_takes_its_methods_and_no_other, every_path_is_tried,
                                  every_get, every_post, every_refusal, every_stream, more_answers, everything_is_given_back])
    finally:
        SERVER.kill()
    sys.exit(exit_status)
