#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Answers in a given structure, over HTTP with the demo model: what comes is valid under the schema that was asked for, as the Python
package jsonschema judges it. `structure_test.py SLUICE [--count N] [--seed N]`: N schemas of the generator below."""
import argparse
import concurrent.futures
import json
import math
import random
import re
import sys

import jsonschema

from server import Server, run_checks

parser = argparse.ArgumentParser()
parser.add_argument("sluice")
parser.add_argument("--count", type=int, default=60)
parser.add_argument("--seed", type=int, default=20261121)
arguments = parser.parse_args()

PATTERNS = ["^[a-z]{2,6}$", "^\\d{3}-\\d{4}$", "^(yes|no|maybe)$", "^[A-Z][a-z]*( [A-Z][a-z]*){0,2}$", "^#[0-9a-f]{6}$", "^\"q\\\\?\"$", "^[^a-z\\s]{1,4}$"]
FORMATS = ["date", "time", "date-time", "ipv4", "ipv6", "uuid", "email", "hostname", "duration"]
WORDS = ["red", "green", "a \"b\"", "\\", "ü", "€uro", "line\nbreak", "", "\U0001f600"]


class Generator:
    """Random schemas whose answers are short. Definitions are shared and may lead back to themselves."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.names = []

    def schema(self, depth):
        r = self.random
        kinds = ["integer", "number", "string", "boolean", "null", "enum", "const", "pattern", "format", "integers"]
        if depth > 0:
            kinds += ["object", "object", "object", "array", "array", "tuple", "anyOf", "oneOf", "allOf", "map", "types", "ref"]
        made = getattr(self, "make_" + r.choice(kinds))(depth)
        if isinstance(made, dict) and r.random() < 0.2:
            made.update(title="T", description="What it is", default=None)
        return made

    def make_integer(self, depth):
        made = {"type": "integer"}
        low = self.random.randint(-200, 200)
        if self.random.random() < 0.7:
            made[self.random.choice(["minimum", "exclusiveMinimum"])] = low
        if self.random.random() < 0.7:
            made[self.random.choice(["maximum", "exclusiveMaximum"])] = low + self.random.randint(2, 1000)
        return made

    def make_integers(self, depth):
        return {"type": "integer", "multipleOf": self.random.randint(1, 40), "minimum": self.random.randint(-500, 0), "maximum": 500}

    def make_number(self, depth):
        made = {"type": "number"}
        low = round(self.random.uniform(-100, 100), self.random.randint(0, 4))
        if self.random.random() < 0.7:
            made[self.random.choice(["minimum", "exclusiveMinimum"])] = low
        if self.random.random() < 0.7:
            made[self.random.choice(["maximum", "exclusiveMaximum"])] = round(low + self.random.uniform(0.01, 50), 3)
        return made

    def make_string(self, depth):
        low = self.random.randint(0, 5)
        return {"type": "string", "minLength": low, "maxLength": low + self.random.randint(0, 12)}

    def make_boolean(self, depth):
        return {"type": "boolean"}

    def make_null(self, depth):
        return {"type": "null"}

    def make_pattern(self, depth):
        made = {"type": "string", "pattern": self.random.choice(PATTERNS)}
        if self.random.random() < 0.3:
            made["maxLength"] = 30
        return made

    def make_format(self, depth):
        return {"type": "string", "format": self.random.choice(FORMATS), "maxLength": 60}

    def make_enum(self, depth):
        values = self.random.sample(WORDS, 3) + [self.random.randint(-5, 5), None, True, 2.5, [1, "x"], {"k": [None]}]
        return {"enum": self.random.sample(values, self.random.randint(1, 5))}

    def make_const(self, depth):
        return {"const": self.random.choice(WORDS)}

    def properties(self, depth):
        return {name: self.schema(depth - 1) for name in self.random.sample(["a", "b", "c d", "é", "\"", "id", "value", "next"], self.random.randint(1, 4))}

    def make_object(self, depth):
        properties = self.properties(depth)
        made = {"type": "object", "properties": properties,
                "required": [name for name in properties if self.random.random() < 0.6]}
        if self.random.random() < 0.3:
            made["additionalProperties"] = self.random.choice([False, {"type": "integer", "minimum": 0, "maximum": 9}])
        if self.random.random() < 0.3:
            made["maxProperties"] = max(1, len(made["required"])) + self.random.randint(0, 2)
            made["minProperties"] = self.random.randint(0, min(len(properties), made["maxProperties"]))
        elif isinstance(made.get("additionalProperties"), dict):
            made["maxProperties"] = len(properties) + 2
        return made

    def make_map(self, depth):
        keys = {"^[a-c]{1,2}$": self.schema(depth - 1), "^n_": {"type": "boolean"}}
        return {"type": "object", "patternProperties": keys, "additionalProperties": False, "maxProperties": 3}

    def make_array(self, depth):
        low = self.random.randint(0, 2)
        return {"type": "array", "items": self.schema(depth - 1), "minItems": low, "maxItems": low + self.random.randint(0, 3)}

    def make_tuple(self, depth):
        made = {"type": "array", "prefixItems": [self.schema(depth - 1) for _ in range(self.random.randint(1, 3))]}
        made["items"] = self.random.choice([False, {"type": "boolean"}])
        made["minItems"] = self.random.randint(0, len(made["prefixItems"]))
        made["maxItems"] = len(made["prefixItems"]) + self.random.randint(0, 2)
        return made

    def make_types(self, depth):
        return {"type": ["null", "integer", "string"], "maxLength": 8, "minimum": 0, "maximum": 99}

    def make_anyOf(self, depth):
        return {"anyOf": [self.schema(depth - 1) for _ in range(self.random.randint(1, 3))]}

    def make_oneOf(self, depth):
        if self.random.random() < 0.5:
            return {"oneOf": [{"type": "boolean"}, self.make_string(0), self.make_integer(0), {"type": "null"}]}
        return {"oneOf": [{"type": "object", "properties": {"kind": {"const": kind}, "value": self.schema(depth - 1)}, "required": ["kind", "value"],
                           "additionalProperties": False} for kind in ("x", "y", "z")]}

    def make_allOf(self, depth):
        properties = self.properties(depth)
        name = next(iter(properties))
        return {"allOf": [{"type": "object", "properties": properties}, {"required": [name]},
                          {"properties": {"more": self.make_integer(0)}, "required": ["more"]}]}

    def make_ref(self, depth):
        return {"$ref": "#/$defs/" + self.random.choice(self.names)} if self.names else {"type": "null"}

    def whole(self):
        self.names = ["node", "leaf"]
        leaf, root = self.schema(0), self.make_object(3) if self.random.random() < 0.7 else self.schema(3)
        node = {"type": "object", "properties": {"value": {"$ref": "#/$defs/leaf"}, "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}},
                "required": ["value", "next"], "additionalProperties": False}
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": {"node": node, "leaf": leaf}}


def chat(server, schema=None, **fields):
    body = {"messages": [{"role": "user", "content": "How do I list the cards?"}], "temperature": 1, "max_tokens": 500, "seed": 1, **fields}
    if schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
    status, _, answer = server.request("POST", "/v1/chat/completions", body, timeout=3600)
    return status, json.loads(answer)


def text(answer):
    status, body = answer
    assert status == 200, body
    assert body["choices"][0]["finish_reason"] == "stop", body
    return body["choices"][0]["message"]["content"]


server = None


def generated_schemas_hold():
    outcomes = {"valid": 0, "unfinished": 0, "refused": 0}

    def one(number):
        schema = Generator(arguments.seed * 100003 + number).whole()
        jsonschema.Draft202012Validator.check_schema(schema)
        status, body = chat(server, schema, seed=number, temperature=1 if number % 4 else 0)
        if status == 400:
            return "refused", schema, body["error"]["message"]
        assert status == 200, (status, body, schema)
        choice = body["choices"][0]
        if choice["finish_reason"] == "length":
            return "unfinished", schema, ""
        value = json.loads(choice["message"]["content"])
        checker = jsonschema.FormatChecker(["date", "ipv4", "ipv6", "email", "uuid"])
        jsonschema.Draft202012Validator(schema, format_checker=checker).validate(value)
        return "valid", schema, ""

    print(f"seed {arguments.seed}, {arguments.count} schemas")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for outcome, schema, message in pool.map(one, range(arguments.count)):
            outcomes[outcome] += 1
            # What cannot be: a combination of bounds that nothing fits. All else that is refused would be a gap.
            assert outcome != "refused" or "admits nothing" in message, (message, json.dumps(schema))
    print(outcomes)
    assert outcomes["unfinished"] <= arguments.count // 5 and outcomes["valid"] >= arguments.count // 2, outcomes


def other_structures_hold():
    answer = text(chat(server, guided_regex="(yes|no), [0-9]{2,4}( \\w+)?", temperature=2))
    assert re.fullmatch("(yes|no), [0-9]{2,4}( \\w+)?", answer), answer
    answer = text(chat(server, guided_choice=["cards", "sluice cards", "no \"cards\""], temperature=2))
    assert answer in ["cards", "sluice cards", "no \"cards\""], answer
    grammar = 'root ::= item ("," item)* "."\nitem ::= [a-c]{2} | "(" root ")"'
    answer = text(chat(server, guided_grammar='root ::= pair{2,6} "."\npair ::= [a-c]{2} ("-" | ",")'))
    assert re.fullmatch("([a-c]{2}[-,]){2,6}[.]", answer), answer
    assert chat(server, grammar=grammar)[0] == 200
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3, "maximum": 5}}, "required": ["n"]}
    for given in (schema, json.dumps(schema)):
        assert json.loads(text(chat(server, guided_json=given)))["n"] in (3, 4, 5)
    status, body = chat(server, response_format={"type": "json_object"}, temperature=0, max_tokens=300)
    assert status == 200 and body["choices"][0]["message"]["content"].startswith("{"), body


def what_is_wrong_is_refused_with_its_path():
    wrong = [({"type": "object", "properties": {"a": {"not": {}}}}, "#/properties/a: keyword 'not'"),
             ({"items": {"uniqueItems": True}}, "#/items: keyword 'uniqueItems'"),
             ({"properties": {"p": {"type": "strin"}}}, "#/properties/p: 'type'"),
             ({"anyOf": [{}, {"pattern": "(?=x)"}]}, "#/anyOf/1: pattern"),
             ({"prefixItems": [{}, {"pattern": "["}]}, "#/prefixItems/1: pattern"),
             ({"$ref": "#/$defs/none"}, "$ref '#/$defs/none' finds no schema"),
             ({"$ref": "https://example.com/schema"}, "leads out of the schema"),
             ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "branches 0 and 1"),
             ({"type": "integer", "minimum": 5, "maximum": 4}, "admits nothing"),
             ({"allOf": [{"$ref": "#"}]}, "lead back to themselves"),
             ({"pattern": "(a|b)*a(a|b){30}$", "maxLength": 99}, "too large"),
             ({"format": "iri"}, "format 'iri'"), ({"if": {}}, "keyword 'if'"), ({"maxLenght": 3}, "keyword 'maxLenght'")]
    for schema, message in wrong:
        status, body = chat(server, schema)
        assert status == 400 and message in body["error"]["message"], (schema, status, body)
    for field, value in (("guided_regex", "("), ("guided_grammar", "root ::= root \"a\""),
                         ("guided_grammar", "a ::= \"b\""), ("guided_grammar", "root ::= \"a\" root"), ("guided_choice", [])):
        status, body = chat(server, **{field: value})
        assert status == 400 and body["error"]["param"] == field, (field, value, status, body)
    assert chat(server, guided_regex="a", guided_choice=["a"])[0] == 400
    assert text(chat(server, guided_choice=["ok"])) == "ok"


def same_text_in_every_batch_and_with_drafts():
    bodies = [Generator(number).whole() for number in range(100, 108)]
    alone = [chat(server, schema, seed=5) for schema in bodies]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda schema: chat(server, schema, seed=5), bodies))
    drafting = Server(arguments.sluice, "--speculate", "lookup")
    try:
        drafted = [chat(drafting, schema, seed=5) for schema in bodies]
    finally:
        drafting.stop()
    for one, two, three in zip(alone, together, drafted):
        assert one[0] == two[0] == three[0]
        if one[0] == 200:
            assert one[1]["choices"][0] == two[1]["choices"][0] == three[1]["choices"][0]


def samplers_are_taken_and_checked():
    fields = {"typical_p": 0.9, "top_n_sigma": 2, "xtc_probability": 0.5, "xtc_threshold": 0.1, "dry_multiplier": 0.8, "dry_sequence_breakers": ["\n"],
              "repetition_penalty": 1.1, "presence_penalty": 0.5, "frequency_penalty": 0.5, "logit_bias": {"5": -100}, "min_p": 0.05, "top_k": 50}
    first, second = (chat(server, max_tokens=40, **fields) for _ in range(2))
    assert first[0] == 200 and first[1]["choices"] == second[1]["choices"], first
    assert chat(server, max_tokens=8, samplers=["top_k", "temperature"], top_k=1)[0] == 200
    assert chat(server, max_tokens=8, mirostat=2, mirostat_tau=3)[0] == 200
    for name, value in (("samplers", ["top_q"]), ("samplers", ["top_k", "top_k"]), ("logit_bias", {"x": 1}), ("logit_bias", {"999999999": 1}),
                        ("logit_bias", {"1": 101}), ("mirostat", 1), ("typical_p", 0), ("dry_base", 0.5), ("presence_penalty", 3)):
        status, body = chat(server, max_tokens=8, **{name: value})
        assert status == 400 and name in body["error"]["message"], (name, value, body)


def logprobs_are_told():
    """Of the model's own distribution: the most likely token at temperature 0 is the first of the top ones, whatever is penalized."""
    for stream in (False, True):
        body = {"messages": [{"role": "user", "content": "How do I list the cards?"}], "temperature": 0, "max_tokens": 20, "logprobs": True, "top_logprobs": 3,
                "stream": stream}
        status, _, answer = server.request("POST", "/v1/chat/completions", body)
        assert status == 200, answer
        if stream:
            chunks = [json.loads(line[6:]) for line in answer.decode().split("\n\n") if line.startswith("data: {")]
            tokens = [token for chunk in chunks for choice in chunk["choices"] for token in (choice["logprobs"] or {"content": []})["content"]]
            said = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
        else:
            choice = json.loads(answer)["choices"][0]
            tokens, said = choice["logprobs"]["content"], choice["message"]["content"]
        assert 1 < len(tokens) <= 20 and "".join(token["token"] for token in tokens) == said, (tokens, said)
        for token in tokens:
            tops = token["top_logprobs"]
            assert bytes(token["bytes"]).decode() == token["token"] and len(tops) == 3, token
            assert tops[0]["token"] == token["token"] and tops[0]["logprob"] == token["logprob"] <= 0, token
            assert tops[0]["logprob"] >= tops[1]["logprob"] >= tops[2]["logprob"], token
            assert sum(math.exp(top["logprob"]) for top in tops) <= 1.00001, token


server = Server(arguments.sluice)
try:
    status = run_checks([generated_schemas_hold, other_structures_hold, what_is_wrong_is_refused_with_its_path,
                         same_text_in_every_batch_and_with_drafts, samplers_are_taken_and_checked, logprobs_are_told])
finally:
    server.stop()
sys.exit(status)
