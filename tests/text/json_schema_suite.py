#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The public JSON-Schema-Test-Suite against the grammars of schemas: nothing that is invalid is admitted; what is valid is admitted, but
for what host/text/grammar/README.md says does not come; a schema that is not supported is refused by the name of a keyword.

Usage: json_schema_suite.py SCHEMA_ACCEPTS FOLDER [--show]    FOLDER: tests/draft2020-12 of the suite, which is not part of this project
"""
import argparse
import collections
import itertools
import json
import pathlib
import subprocess
import sys

parser = argparse.ArgumentParser()
parser.add_argument("accepts")
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("--show", action="store_true", help="what is refused, and what is valid and does not come")
arguments = parser.parse_args()

# Without `type` the keywords tell which types come.
OF_TYPE = {"string": ["minLength", "maxLength", "pattern", "format"], "number": ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
           "object": ["properties", "patternProperties", "additionalProperties", "required", "minProperties", "maxProperties", "propertyNames",
                      "dependentRequired"],
           "array": ["items", "prefixItems", "minItems", "maxItems", "contains", "uniqueItems"]}


def orders(value, limit=24):
    """Texts of a value, with the properties of its objects in every order; the first `limit` of them."""
    if isinstance(value, dict):
        made = ("{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{text}" for name, text in zip(names, texts)) + "}"
                for names in itertools.permutations(value)
                for texts in itertools.product(*(list(orders(value[name], 4)) for name in names)))
    elif isinstance(value, list):
        made = ("[" + ",".join(texts) + "]" for texts in itertools.product(*(list(orders(item, 4)) for item in value)))
    else:
        made = iter([json.dumps(value, ensure_ascii=False)])
    return itertools.islice(made, limit)


def type_of(value):
    if isinstance(value, bool) or value is None:
        return "other"
    return {dict: "object", list: "array", str: "string"}.get(type(value), "number")


def every_schema(schema):
    if isinstance(schema, dict):
        yield schema
        for member in schema.values():
            yield from every_schema(member)
    elif isinstance(schema, list):
        for member in schema:
            yield from every_schema(member)


def values_in(value):
    yield value
    for member in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from values_in(member)


def why_it_does_not_come(schema, data):
    """What the README says of values that are valid and do not come; None: nothing of that."""
    schemas = list(every_schema(schema))
    keywords = {keyword: name for name, words in OF_TYPE.items() for keyword in words}
    for part in schemas:
        told = {keywords[word] for word in part if word in keywords and "type" not in part}
        if told and any(type_of(value) not in told for value in values_in(data)):
            return "a type that the keywords do not tell"
    if any("properties" in part or "patternProperties" in part for part in schemas) and any(isinstance(value, dict) for value in values_in(data)):
        return "properties that the schema does not name"
    if any(isinstance(value, float) or isinstance(value, int) and abs(value) >= 10 ** 15 for value in values_in(data)):
        return "a number written otherwise"
    if any("format" in part for part in schemas):
        return "a format's rarer forms"
    if any("pattern" in part or "patternProperties" in part for part in schemas):
        return "a text that the two notations of patterns see differently"
    return None


def main():
    accepts = subprocess.Popen([arguments.accepts], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    counts, refusals, wrong, rest = collections.Counter(), collections.Counter(), [], []
    for path in sorted(arguments.folder.rglob("*.json")):
        for group in json.loads(path.read_text(encoding="utf-8")):
            schema = group["schema"]
            name = f"{path.relative_to(arguments.folder)}: {group['description']}"
            tests = [(test, list(orders(test["data"]))) for test in group["tests"]]
            accepts.stdin.write(json.dumps({"schema": schema, "texts": [text for _, texts in tests for text in texts]}) + "\n")
            said = json.loads(accepts.stdout.readline())
            if "error" in said:
                counts["schemas refused"] += 1
                refusals[said["error"].split(": ", 2)[-1][:60]] += 1
                valid = [test for test, _ in tests if test["valid"]]
                if "admits nothing" in said["error"] and valid:
                    reasons = [why_it_does_not_come(schema, test["data"]) for test in valid]
                    rest.extend(f"{name}: {said['error']}" for reason in reasons if reason is None)
                elif not any(mark in said["error"] for mark in ("'", "$ref", "oneOf", "pattern", "admits nothing", "multipleOf", "minProperties",
                                                                "propertyNames", "too large", "is not supported", "are not supported")):
                    wrong.append(f"{name}: refused without a name: {said['error']}")
                if arguments.show:
                    print("refused", name, said["error"])
                continue
            counts["schemas compiled"] += 1
            accepted = iter(said["accepted"])
            for test, texts in tests:
                admitted = any([next(accepted) for _ in texts])
                if admitted and not test["valid"]:
                    wrong.append(f"{name}: {test['description']}: {json.dumps(test['data'])} is invalid and admitted by {json.dumps(schema)}")
                elif test["valid"] and not admitted:
                    why = why_it_does_not_come(schema, test["data"])
                    counts[f"valid, does not come: {why}"] += 1
                    if why is None:
                        rest.append(f"{name}: {test['description']}: {json.dumps(test['data'])} does not come by {json.dumps(schema)}")
                    elif arguments.show:
                        print("does not come", name, test["description"], json.dumps(test["data"]), json.dumps(schema))
                else:
                    counts["valid and admitted" if test["valid"] else "invalid and not admitted"] += 1
    accepts.stdin.close()
    accepts.wait()
    for line in wrong + rest:
        print("WRONG", line)
    for text, n in refusals.most_common(None if arguments.show else 30):
        print(f"  refused {n:4}  {text}")
    for text, n in sorted(counts.items()):
        print(f"{n:5}  {text}")
    assert counts["invalid and not admitted"] > 100 and counts["valid and admitted"] > 100, "this is no folder of the suite"
    print(f"{sum(counts.values()) - len(rest)} passed, {len(wrong) + len(rest)} failed")
    return 1 if wrong or rest else 0


sys.exit(main())
