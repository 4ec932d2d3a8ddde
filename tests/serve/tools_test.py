#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Calls of tools that have to come, by the openai client, with the demo model: it was never taught to call anything, so all that
is right about these calls is the grammar's work.  Usage: tools_test.py SLUICE
"""
import json
import os
import pathlib
import sys
import tempfile

import jsonschema
import openai

from server import Server, run_checks, with_template

BINARY = os.path.abspath(sys.argv[1])
MODEL = "sluice-demo"
QUESTION = [{"role": "user", "content": "What is 12 + 30?"}]
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "The weather of a city", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "maxLength": 20}, "days": {"type": "integer", "minimum": 1, "maximum": 7},
                                     "unit": {"enum": ["C", "F"]}}, "required": ["city", "days"]}}}
ADD = {"type": "function", "function": {"name": "add", "strict": True, "parameters": {
    "type": "object", "properties": {"a": {"type": "integer", "minimum": -99, "maximum": 99}, "b": {"$ref": "#/$defs/number"}},
    "required": ["a", "b"], "additionalProperties": False, "$defs": {"number": {"type": "integer", "minimum": 0, "maximum": 99}}}}}
NOW = {"type": "function", "function": {"name": "now"}}
NAMED = {"type": "function", "function": {"name": "get_weather"}}
# What the families' templates say of earlier calls; the demo model's format around it.
FAMILIES = {"hermes": "<tool_call>", "deepseek": "<｜tool▁call▁begin｜>", "kimi": "<|tool_calls_section_begin|>", "mistral": "[TOOL_CALLS][ARGS]",
            "command-r": "<|START_ACTION|>", "qwen3-coder": "<tool_call><function=<parameter=", "glm": "<tool_call><arg_key>",
            "llama3": "<|start_header_id|>\"parameters\": ", "llama4": "<|header_start|>\"parameters\": ", "gpt-oss": "<|channel|><|message|>",
            "granite": "<|tool_call|>"}
TEMPLATE = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if tools and never %}SIGNS{% endif %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% if think %}<think>\n{% endif %}{% endif %}")


class Asker:
    def __init__(self, server):
        self.client = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=300)
        status, answer = server.post("/tokenize", {"prompt": "<|im_end|>"})
        assert status == 200
        self.end = str(answer["tokens"][-1])

    def __call__(self, **fields):
        return self.client.chat.completions.create(**{"model": MODEL, "messages": QUESTION, "tools": [WEATHER, ADD], "temperature": 0,
                                                      "max_tokens": 400} | fields)

    def message(self, **fields):
        """As a whole and as a stream, which say the same."""
        whole = self(**fields).choices[0]
        calls, content, reasons = {}, "", []
        for chunk in self(stream=True, **fields):
            choice = chunk.choices[0]
            content += choice.delta.content or ""
            reasons.append(choice.finish_reason)
            for delta in choice.delta.tool_calls or []:
                call = calls.setdefault(delta.index, ["", ""])
                call[0] += delta.function.name or ""
                call[1] += delta.function.arguments or ""
        assert [[call.function.name, call.function.arguments] for call in whole.message.tool_calls or []] == list(calls.values()), (whole, calls)
        assert content == (whole.message.content or "") and reasons[-1] == whole.finish_reason, (whole, content, reasons)
        return whole


def check_calls(choice, tools, at_most=None, text=""):
    assert choice.finish_reason == "tool_calls" and choice.message.tool_calls and (choice.message.content or "") == text, choice
    schemas = {tool["function"]["name"]: tool["function"].get("parameters", {"maxProperties": 0}) for tool in tools}
    for call in choice.message.tool_calls:
        jsonschema.Draft202012Validator(schemas[call.function.name]).validate(json.loads(call.function.arguments))
    assert at_most is None or len(choice.message.tool_calls) <= at_most, choice
    assert len({call.id for call in choice.message.tool_calls}) == len(choice.message.tool_calls)
    return choice.message.tool_calls


def refused(param, message, **fields):
    try:
        ask(**fields)
    except openai.BadRequestError as error:
        assert error.param == param and message in error.message, (error.param, error.message)
    else:
        raise AssertionError(f"{fields} was not refused")


def one_call_that_has_to_come():
    for tools in ([WEATHER], [ADD], [NOW], [WEATHER, ADD, NOW]):
        check_calls(ask.message(tools=tools, tool_choice="required", parallel_tool_calls=False), tools, 1)
    for seed in range(6):
        check_calls(ask.message(tool_choice="required", parallel_tool_calls=False, temperature=1.5, seed=seed), [WEATHER, ADD], 1)


def several_calls():
    """The model would go on calling: its end is made more likely, so that some answers have one call and some have more."""
    counts = []
    for seed in range(12):
        fields = {"tool_choice": "required", "temperature": 1.2, "seed": seed, "logit_bias": {ask.end: 4}, "max_tokens": 700}
        if ask(**fields).choices[0].finish_reason != "length":  # which would cut a call in its middle
            counts.append(len(check_calls(ask.message(**fields), [WEATHER, ADD])))
    assert len(counts) >= 4 and max(counts) > 1, counts


def a_named_tool():
    for seed in range(4):
        (call,) = check_calls(ask.message(tool_choice=NAMED, temperature=1, seed=seed), [WEATHER], 1)
        assert call.function.name == "get_weather"


def none_and_auto():
    choice = ask.message(tool_choice="none")
    assert choice.message.content == "12 + 30 = 42." and not choice.message.tool_calls
    choice = ask.message(tools=[WEATHER])
    assert choice.message.content and not choice.message.tool_calls, choice


def a_strict_tool_may_be_called():
    """With the beginning of a call in its mouth the model has to end it as the tool's schema says; it may also not call."""
    assert ask.message().finish_reason == "stop"  # ADD is strict
    opening = [*QUESTION, {"role": "assistant", "content": None, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 12, "b": 30}'}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "42"}]
    for seed in range(4):
        choice = ask.message(messages=opening, temperature=1, seed=seed, logit_bias={ask.end: 5})
        if choice.message.tool_calls:
            check_calls(choice, [WEATHER, ADD], text=choice.message.content or "")


def history_is_shown():
    status, answer = server.post("/apply-template", {"model": MODEL, "tools": [ADD], "messages": [
        {"role": "system", "content": "Be brief."}, *QUESTION,
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "add", "arguments": '{"a": 12}'}}]},
        {"role": "tool", "tool_call_id": "c", "content": "42"}]})
    assert status == 200
    for part in ("system\nBe brief.\n\nYou may call", '{"name": "add", "strict": true', '<tool_call>\n{"name": "add", "arguments": {"a": 12}}\n</tool_call>',
                 "user\n<tool_response>\n42\n</tool_response>"):
        assert part in answer["prompt"], (part, answer)
    assert any("no place for tools" in line for line in server.lines), server.lines


def an_answer_in_a_format_beside_tools():
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "integer", "minimum": 10, "maximum": 99}}}
    for seed in range(4):
        choice = ask.message(response_format=form, temperature=1, seed=seed)
        if not choice.message.tool_calls:
            assert 10 <= int(choice.message.content) <= 99, choice
    check_calls(ask.message(response_format=form, tool_choice="required", parallel_tool_calls=False), [WEATHER, ADD])


def what_cannot_be_is_refused():
    bad = json.loads(json.dumps(WEATHER))
    bad["function"]["parameters"]["properties"]["days"] = {"not": {"type": "null"}}
    where = "tools[1].function.parameters: schema, #/properties/days: keyword 'not'"
    refused("tools", where, tools=[ADD, bad], tool_choice="required")
    assert ask(tools=[bad]).choices[0].message.content  # nothing holds the model to it
    bad["function"]["strict"] = True
    refused("tools", where, tools=[ADD, bad])
    refused("tool_choice", "none of the 'tools'", tool_choice={"type": "function", "function": {"name": "another"}})
    refused("tool_choice", "there are no 'tools'", tools=[], tool_choice="required")
    named = json.loads(json.dumps(ADD).replace('"add"', '"two words"'))
    refused("tools", "tools[0].function.name", tools=[named])


def each_familys_calls():
    for name, signs in FAMILIES.items():
        with tempfile.TemporaryDirectory() as folder:
            model = pathlib.Path(folder) / f"{MODEL}.gguf"
            with_template(model, TEMPLATE.replace("SIGNS", "{% raw %}" + signs + "{% endraw %}"))
            other = Server(BINARY, str(model))
            try:
                other_ask = Asker(other)
                for seed in range(3):
                    choice = other_ask.message(tool_choice="required", parallel_tool_calls=False, temperature=1, seed=seed)
                    check_calls(choice, [WEATHER, ADD], 1)
                (call,) = check_calls(other_ask.message(tool_choice=NAMED), [WEATHER], 1)
                assert call.function.name == "get_weather", (name, call)
                assert other.stop() == 0
            finally:
                other.kill()


def a_format_holds_after_the_reasoning():
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "integer", "minimum": 10, "maximum": 99}}}
    with tempfile.TemporaryDirectory() as folder:
        model = pathlib.Path(folder) / f"{MODEL}.gguf"
        with_template(model, TEMPLATE.replace("SIGNS", "</think>"))
        other = Server(BINARY, str(model))
        try:
            other_ask = Asker(other)
            fields = {"tools": [], "response_format": form, "max_tokens": 60}
            opened = {"chat_template_kwargs": {"think": True}}
            choice = other_ask.message(**fields, logit_bias={})
            assert 10 <= int(choice.message.content) <= 99, choice
            # The prompt opens the reasoning, which the demo model does not end: no digit is forced on it.
            choice = other_ask.message(**fields, extra_body=opened)
            assert choice.finish_reason == "length" and not choice.message.content and choice.message.reasoning_content, choice
            choice = other_ask.message(**fields, extra_body=opened | {"enable_in_reasoning": True})
            assert choice.finish_reason == "stop" and 10 <= int(choice.message.reasoning_content) <= 99, choice
            assert other.stop() == 0
        finally:
            other.kill()


if __name__ == "__main__":
    server = Server(BINARY)
    try:
        ask = Asker(server)
        status = run_checks([one_call_that_has_to_come, several_calls, a_named_tool, none_and_auto, a_strict_tool_may_be_called, history_is_shown,
                             an_answer_in_a_format_beside_tools, what_cannot_be_is_refused, each_familys_calls, a_format_holds_after_the_reasoning])
        if server.stop() != 0 or server.errors:
            print("FAILED", server.errors)
            status = 1
    finally:
        server.kill()
    sys.exit(status)
