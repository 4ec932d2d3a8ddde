#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""/v1/messages by the anthropic client and /v1/responses by the openai client.  Usage: items_test.py SLUICE"""
import json
import os
import sys

import anthropic
import jsonschema
import openai

from server import Server, run_checks

SERVER = Server(os.path.abspath(sys.argv[1]))
CLAUDE = anthropic.Anthropic(api_key="none", base_url=SERVER.url, max_retries=0)
OPENAI = openai.OpenAI(api_key="none", base_url=SERVER.url + "/v1", max_retries=0)
MODEL = SERVER.get("/v1/models")[1]["data"][0]["id"]
QUESTION = [{"role": "user", "content": "How do I list the cards?"}]
CHAT = SERVER.post("/v1/chat/completions", {"messages": QUESTION, "temperature": 0, "max_tokens": 24})[1]
TEXT = CHAT["choices"][0]["message"]["content"]
SCHEMA = {"type": "object", "properties": {"cards": {"type": "integer", "minimum": 0, "maximum": 9}},
          "required": ["cards"], "additionalProperties": False}


def refused(path, body, says, status=400):
    got, answer = SERVER.post(path, body)
    assert got == status and answer["type"] == "error" and says in json.dumps(answer["error"]), (path, got, answer)


def message(**more):
    return CLAUDE.messages.create(**{"model": MODEL, "messages": QUESTION, "max_tokens": 24, "extra_body": {"temperature": 0}, **more})


def response(**more):
    return OPENAI.responses.create(**{"model": MODEL, "input": QUESTION[0]["content"], "temperature": 0,
                                      "max_output_tokens": 24, **more})


# ---- messages ----

def a_message_is_the_chat_s_answer():
    got = message()
    assert [block.type for block in got.content] == ["text"] and got.content[0].text == TEXT, got
    assert got.role == "assistant" and got.type == "message" and got.model == MODEL and got.id.startswith("msg_")
    used = got.usage.input_tokens + got.usage.cache_read_input_tokens
    assert used == CHAT["usage"]["prompt_tokens"] and got.usage.output_tokens == CHAT["usage"]["completion_tokens"]
    assert got.stop_reason == {"stop": "end_turn", "length": "max_tokens"}[CHAT["choices"][0]["finish_reason"]]


def a_streamed_message_is_the_same():
    with CLAUDE.messages.stream(model=MODEL, messages=QUESTION, max_tokens=24, extra_body={"temperature": 0}) as stream:
        kinds = [event.type for event in stream]
        got = stream.get_final_message()
    assert got.content[0].text == TEXT and got.stop_reason == message().stop_reason, got
    assert got.usage.output_tokens == CHAT["usage"]["completion_tokens"]
    own = [kind for kind in kinds if kind not in ("text",)]
    assert own[:2] == ["message_start", "content_block_start"], own
    assert own[-3:] == ["content_block_stop", "message_delta", "message_stop"], own
    assert set(own[2:-3]) == {"content_block_delta"}, own


def a_stop_sequence_is_named():
    stop = TEXT[8:12]
    got = message(stop_sequences=["\x07never", stop])
    assert got.stop_reason == "stop_sequence" and got.stop_sequence == stop, got
    assert got.content[0].text == TEXT[:TEXT.index(stop)]
    with CLAUDE.messages.stream(model=MODEL, messages=QUESTION, max_tokens=24, extra_body={"temperature": 0}, stop_sequences=[stop]) as stream:
        streamed = stream.get_final_message()
    assert streamed.stop_reason == "stop_sequence" and streamed.stop_sequence == stop
    assert streamed.content[0].text == got.content[0].text


def one_token_ends_by_length():
    got = message(max_tokens=1)
    assert got.stop_reason == "max_tokens" and got.usage.output_tokens == 1, got


def system_and_blocks_are_the_chat_s():
    blocks = [{"role": "user", "content": [{"type": "text", "text": QUESTION[0]["content"]}]}]
    assert message(messages=blocks).content[0].text == TEXT
    told = SERVER.post("/v1/chat/completions", {"messages": [{"role": "system", "content": "Say it twice."}] + QUESTION,
                                                "temperature": 0, "max_tokens": 24})[1]
    for system in ("Say it twice.", [{"type": "text", "text": "Say it twice."}]):
        assert message(system=system).content[0].text == told["choices"][0]["message"]["content"]


def tokens_are_counted():
    counted = CLAUDE.messages.count_tokens(model=MODEL, messages=QUESTION)
    assert counted.input_tokens == CHAT["usage"]["prompt_tokens"], counted


def structured_messages():
    got = SERVER.post("/v1/messages", {"model": MODEL, "messages": QUESTION, "max_tokens": 40, "temperature": 0,
                                       "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}})
    assert got[0] == 200 and 0 <= json.loads(got[1]["content"][0]["text"])["cards"] <= 9, got


WEATHER = {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
           "required": ["city", "days"], "additionalProperties": False}


def calls_of_messages():
    tools = [{"name": "weather", "description": "The weather to come", "input_schema": WEATHER}]
    got = message(tools=tools, tool_choice={"type": "any", "disable_parallel_tool_use": True}, max_tokens=80)
    (call,) = [block for block in got.content if block.type == "tool_use"]
    jsonschema.validate(call.input, WEATHER)
    assert call.name == "weather" and got.stop_reason == "tool_use", got
    with CLAUDE.messages.stream(model=MODEL, messages=QUESTION, max_tokens=80, tools=tools,
                                tool_choice={"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
                                extra_body={"temperature": 0}) as stream:
        streamed = stream.get_final_message()
    (other,) = [block for block in streamed.content if block.type == "tool_use"]
    assert other.input == call.input and streamed.stop_reason == "tool_use", streamed
    told = QUESTION + [{"role": "assistant", "content": [block.model_dump(include={"type", "id", "name", "input"}) for block in got.content]},
                       {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "rain"}]}]
    assert message(messages=told, tools=tools).content, "the conversation goes on"


def wrong_messages():
    good = {"messages": QUESTION, "max_tokens": 4}
    refused("/v1/messages", {"messages": QUESTION}, "max_tokens")
    refused("/v1/messages", {"max_tokens": 4}, "messages")
    refused("/v1/messages", {**good, "max_tokens": "x"}, "max_tokens")
    refused("/v1/messages", {**good, "messages": [{"role": "system", "content": "x"}]}, "messages[0].role")
    refused("/v1/messages", {**good, "messages": [{"role": "user", "content": 5}]}, "messages[0].content")
    image = [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}}]
    refused("/v1/messages", {**good, "messages": [{"role": "user", "content": image}]}, "image")
    refused("/v1/messages", {**good, "tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type")
    refused("/v1/messages", {**good, "tool_choice": {"type": "perhaps"}}, "tool_choice")
    refused("/v1/messages", {**good, "stop_sequences": 5}, "stop")
    refused("/v1/messages", {**good, "model": "another"}, "another", 404)
    try:
        message(model="another")
        raise AssertionError("another model was served")
    except anthropic.NotFoundError as error:
        assert "another" in str(error)
    try:
        message(max_tokens=0)
        raise AssertionError("no tokens were served")
    except anthropic.BadRequestError as error:
        assert "max_tokens" in str(error)


# ---- responses ----

def a_response_is_the_chat_s_answer():
    got = response()
    assert got.output_text == TEXT and got.object == "response" and got.id.startswith("resp_"), got
    cut = CHAT["choices"][0]["finish_reason"] == "length"
    assert got.status == ("incomplete" if cut else "completed"), got.status
    assert (got.incomplete_details is not None) == cut and (not cut or got.incomplete_details.reason == "max_output_tokens")
    assert got.usage.input_tokens == CHAT["usage"]["prompt_tokens"]
    assert got.usage.output_tokens == CHAT["usage"]["completion_tokens"]
    assert got.usage.total_tokens == got.usage.input_tokens + got.usage.output_tokens
    assert got.store is False and got.temperature == 0 and got.tools == [] and got.parallel_tool_calls is True


def a_streamed_response_is_the_same():
    events, text = [], ""
    with OPENAI.responses.stream(model=MODEL, input=QUESTION[0]["content"], temperature=0, max_output_tokens=24) as stream:
        for event in stream:
            events.append(event)
            if event.type == "response.output_text.delta":
                text += event.delta
    assert text == TEXT
    assert [event.sequence_number for event in events] == list(range(len(events))), events
    kinds = [event.type for event in events if event.type != "response.output_text.delta"]
    ends = "response.incomplete" if CHAT["choices"][0]["finish_reason"] == "length" else "response.completed"
    assert kinds == ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
                     "response.output_text.done", "response.content_part.done", "response.output_item.done", ends], kinds
    assert events[-1].response.output_text == TEXT and events[-1].response.usage.output_tokens > 0
    assert events[-1].response.id == events[0].response.id


def instructions_and_items_are_the_chat_s():
    told = SERVER.post("/v1/chat/completions", {"messages": [{"role": "system", "content": "Say it twice."}] + QUESTION,
                                                "temperature": 0, "max_tokens": 24})[1]
    expected = told["choices"][0]["message"]["content"]
    assert response(instructions="Say it twice.").output_text == expected
    items = [{"role": "developer", "content": "Say it twice."},
             {"type": "message", "role": "user", "content": [{"type": "input_text", "text": QUESTION[0]["content"]}]}]
    assert response(input=items).output_text == expected


def a_conversation_goes_on():
    first = response()
    items = [{"role": "user", "content": QUESTION[0]["content"]}] + [item.model_dump() for item in first.output]
    items.append({"role": "user", "content": "And then?"})
    chat = SERVER.post("/v1/chat/completions", {"messages": QUESTION + [
        {"role": "assistant", "content": TEXT}, {"role": "user", "content": "And then?"}], "temperature": 0, "max_tokens": 24})[1]
    assert response(input=items).output_text == chat["choices"][0]["message"]["content"]


def structured_responses():
    got = response(text={"format": {"type": "json_schema", "name": "cards", "schema": SCHEMA, "strict": True}},
                   max_output_tokens=40)
    assert 0 <= json.loads(got.output_text)["cards"] <= 9 and got.text.format.name == "cards", got


def calls_of_responses():
    tools = [{"type": "function", "name": "weather", "parameters": WEATHER, "strict": True}]
    got = response(tools=tools, tool_choice="required", max_output_tokens=80, parallel_tool_calls=False)
    (call,) = [item for item in got.output if item.type == "function_call"]
    jsonschema.validate(json.loads(call.arguments), WEATHER)
    assert call.name == "weather" and got.status == "completed", got
    with OPENAI.responses.stream(model=MODEL, input=QUESTION[0]["content"], max_output_tokens=80, temperature=0, tools=tools,
                                 tool_choice={"type": "function", "name": "weather"}, parallel_tool_calls=False) as stream:
        streamed = stream.get_final_response()
    (other,) = [item for item in streamed.output if item.type == "function_call"]
    assert other.arguments == call.arguments
    told = [{"role": "user", "content": QUESTION[0]["content"]}, *(item.model_dump(exclude_none=True) for item in got.output),
            {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}]
    assert response(input=told, tools=tools).output, "the conversation goes on"


def wrong_responses():
    good = {"input": "hi", "max_output_tokens": 4}
    refused("/v1/responses", {}, "input")
    refused("/v1/responses", {**good, "store": True}, "store")
    refused("/v1/responses", {**good, "previous_response_id": "resp_1"}, "previous_response_id")
    refused("/v1/responses", {**good, "conversation": "c"}, "conversation")
    refused("/v1/responses", {**good, "background": True}, "background")
    refused("/v1/responses", {**good, "truncation": "auto"}, "truncation")
    refused("/v1/responses", {**good, "input": []}, "input")
    refused("/v1/responses", {**good, "input": [{"type": "item_reference", "id": "x"}]}, "input[0]")
    refused("/v1/responses", {**good, "input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input_image")
    refused("/v1/responses", {**good, "tools": [{"type": "web_search"}]}, "tools[0].type")
    refused("/v1/responses", {**good, "max_output_tokens": 0}, "max_tokens")
    refused("/v1/responses", {**good, "text": {"format": {"type": "xml"}}}, "response_format")
    try:
        response(model="another")
        raise AssertionError("another model was served")
    except openai.NotFoundError as error:
        assert "another" in str(error)


def everything_is_given_back():
    SERVER.wait_idle()
    assert SERVER.stop() == 0 and not SERVER.errors, SERVER.errors


if __name__ == "__main__":
    try:
        exit_status = run_checks([
            a_message_is_the_chat_s_answer, a_streamed_message_is_the_same, a_stop_sequence_is_named, one_token_ends_by_length,
            system_and_blocks_are_the_chat_s, tokens_are_counted, structured_messages, calls_of_messages,
            wrong_messages,
            a_response_is_the_chat_s_answer, a_streamed_response_is_the_same, instructions_and_items_are_the_chat_s,
            a_conversation_goes_on, structured_responses, calls_of_responses, wrong_responses, everything_is_given_back])
    finally:
        SERVER.kill()
    sys.exit(exit_status)
