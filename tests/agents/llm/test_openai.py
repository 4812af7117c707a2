"""The client against a real server on loopback: what it sends, and how each fault is told."""

import email.utils
import json
import socket
import threading
import time
from typing import Any

import pytest

from agents.llm.base import ChatMessage, CompletionRequest, ModelError, ModelFailure, Usage
from agents.llm.failures import retry_after_seconds
from agents.llm.openai import OpenAICompatibleModel
from agents.llm.servers import get_server
from tests.agents.llm.asking import ask
from tests.doubles.openai_server import ANSWER, OpenAIServer


@pytest.fixture
def model(server: OpenAIServer) -> OpenAICompatibleModel:
    return OpenAICompatibleModel(base_url=server.base_url)


def fail(model: OpenAICompatibleModel, name: str, **changes: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        model.complete(ask(model=name, **changes))
    return caught.value


def test_the_request_says_what_was_asked(server: OpenAIServer) -> None:
    model = OpenAICompatibleModel(base_url=server.base_url, api_key="sk-test")
    messages = (ChatMessage(role="system", content="Be kind."), ChatMessage(role="user", content="Hello"))
    model.complete(
        CompletionRequest(model="m", messages=messages, max_tokens=7, temperature=0.1, stop=("X",))
    )
    entry = server.ledger[-1]
    assert b"authorization: bearer sk-test" in entry["head"].lower()
    assert entry["request"] == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}],
        "max_tokens": 7,
        "temperature": 0.1,
        "stop": ["X"],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_schema_is_asked_for_and_answered(server: OpenAIServer, model: OpenAICompatibleModel) -> None:
    schema = {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "actions": {"type": "array", "items": {"enum": ["REPLY"]}},
        },
        "required": ["text", "actions"],
        "additionalProperties": False,
    }
    assert json.loads(model.complete(ask(json_schema=schema)).text) == {"text": ANSWER, "actions": []}
    sent = server.ledger[-1]["request"]["response_format"]
    assert sent == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": True},
    }
    model.complete(ask(json_schema={"type": "object", "properties": {"a": {"type": "string"}}}))
    assert server.ledger[-1]["request"]["response_format"]["json_schema"]["strict"] is False


def test_unknown_usage_is_none(model: OpenAICompatibleModel) -> None:
    assert model.complete(ask(model="fail:no-usage")).usage == Usage(input_tokens=None, output_tokens=None)


def test_a_refused_option_is_left_out_and_remembered(
    server: OpenAIServer, model: OpenAICompatibleModel
) -> None:
    assert model.complete(ask(model="fail:no-stream-options")).text == ANSWER
    assert server.request_count == 2
    assert model.complete(ask(model="fail:no-stream-options")).text == ANSWER
    assert server.request_count == 3
    assert "stream_options" not in server.ledger[-1]["request"]


def test_a_server_that_wants_max_completion_tokens_gets_it(
    server: OpenAIServer, model: OpenAICompatibleModel
) -> None:
    assert model.complete(ask(model="fail:modern", max_tokens=9)).text == ANSWER
    assert server.ledger[-1]["request"]["max_completion_tokens"] == 9
    assert "max_tokens" not in server.ledger[-1]["request"]
    assert "temperature" not in server.ledger[-1]["request"]


def test_an_answer_in_one_piece_is_taken_too(model: OpenAICompatibleModel) -> None:
    tokens: list[str] = []
    completion = model.complete(ask(model="fail:no-stream"), on_token=tokens.append)
    assert completion.text == ANSWER
    assert tokens == [ANSWER]


@pytest.mark.parametrize(
    ("fault", "failure", "permanent", "words"),
    [
        ("401", ModelFailure.REFUSED, True, "OPENAI_API_KEY"),
        ("403", ModelFailure.REFUSED, True, "OPENAI_API_KEY"),
        ("404", ModelFailure.REFUSED, True, "MODEL_SMALL"),
        ("400", ModelFailure.REFUSED, True, "The stub answers 400"),
        ("408", ModelFailure.TIMEOUT, False, "408"),
        ("429", ModelFailure.RATE_LIMITED, False, "429"),
        ("500", ModelFailure.SERVER_ERROR, False, "500"),
        ("503", ModelFailure.SERVER_ERROR, False, "503"),
        ("half", ModelFailure.SERVER_ERROR, False, "broke off"),
        ("error-event", ModelFailure.SERVER_ERROR, False, "The engine fell over."),
        ("garbage", ModelFailure.GARBAGE, False, "no JSON"),
        ("types", ModelFailure.GARBAGE, False, "choices"),
        ("huge", ModelFailure.GARBAGE, False, "longer than"),
        ("empty", ModelFailure.EMPTY, False, "answered nothing"),
    ],
)
def test_each_fault_is_told_by_its_name(
    model: OpenAICompatibleModel, fault: str, failure: ModelFailure, permanent: bool, words: str
) -> None:
    error = fail(model, f"fail:{fault}")
    assert (error.failure, error.permanent) == (failure, permanent)
    assert words in str(error)
    assert model.complete(ask()).text == ANSWER


@pytest.mark.parametrize("fault", ["hang", "silence", "drip"])
def test_a_server_that_never_ends_is_left_at_the_deadline(model: OpenAICompatibleModel, fault: str) -> None:
    model.complete(ask())
    started = time.monotonic()
    error = fail(model, f"fail:{fault}", timeout_seconds=0.4)
    assert error.failure is ModelFailure.TIMEOUT
    assert time.monotonic() - started < 1.5
    assert model.complete(ask()).text == ANSWER


@pytest.mark.parametrize("fault", ["hang", "silence"])
def test_a_server_that_falls_silent_is_left_when_the_call_is_called_off(
    server: OpenAIServer, model: OpenAICompatibleModel, fault: str
) -> None:
    """Before its headers as well as between two tokens; the call's own time is far from over."""
    cancelled = threading.Event()
    timer = threading.Timer(0.3, cancelled.set)
    timer.start()
    with pytest.raises(ModelError) as caught:
        model.complete(ask(model=f"fail:{fault}", timeout_seconds=60), is_cancelled=cancelled.is_set)
    assert caught.value.failure is ModelFailure.CANCELLED
    assert model.complete(ask(), is_cancelled=lambda: False).text == ANSWER


def test_an_answer_that_begins_after_it_was_called_off_is_closed(
    server: OpenAIServer, model: OpenAICompatibleModel
) -> None:
    server.settings.latency_ms, server.settings.gap_ms = 600, 60_000
    with pytest.raises(ModelError) as caught:
        model.complete(ask(timeout_seconds=60), is_cancelled=lambda: bool(server.request_count))
    assert caught.value.failure is ModelFailure.CANCELLED
    deadline = time.monotonic() + 20
    while server.connections and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not server.connections, "its work is ended as soon as it answers"


def test_a_silence_near_the_end_does_not_double_the_time(
    server: OpenAIServer, model: OpenAICompatibleModel
) -> None:
    server.settings.latency_ms = 800
    started = time.monotonic()
    assert fail(model, "fail:late-silence", timeout_seconds=1.0).failure is ModelFailure.TIMEOUT
    assert time.monotonic() - started < 1.6


def test_a_refused_connection_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = fail(OpenAICompatibleModel(base_url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1"), "m")
    assert error.failure is ModelFailure.UNREACHABLE
    assert not error.permanent
    assert "OPENAI_BASE_URL" in str(error)


def test_an_unknown_host_is_unreachable() -> None:
    error = fail(OpenAICompatibleModel(base_url="http://no-such-host.invalid/v1"), "m")
    assert error.failure is ModelFailure.UNREACHABLE


@pytest.mark.parametrize("address", ["localhost:11434/v1", "http://host:port/v1", "nonsense"])
def test_an_address_that_is_none_is_refused_for_good(address: str) -> None:
    error = fail(OpenAICompatibleModel(base_url=address), "m")
    assert error.permanent
    assert "OPENAI_BASE_URL" in str(error)


def test_the_servers_wait_is_passed_on(server: OpenAIServer, model: OpenAICompatibleModel) -> None:
    server.settings.retry_after = {"retry-after-ms": "1500", "retry-after": "7"}
    assert fail(model, "fail:429").retry_after_seconds == 1.5
    server.settings.retry_after = {"retry-after": "7"}
    assert fail(model, "fail:503").retry_after_seconds == 7.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": email.utils.formatdate(1030.0, usegmt=True)}, 30.0),
        ({"retry-after": email.utils.formatdate(10.0, usegmt=True)}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "-3"}, 0.0),
        ({}, None),
    ],
)
def test_each_way_to_say_a_wait_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers, now=1000.0) == seconds


def test_an_empty_account_is_permanent(model: OpenAICompatibleModel) -> None:
    error = fail(model, "fail:quota")
    assert error.failure is ModelFailure.RATE_LIMITED
    assert error.permanent


def test_a_kept_connection_that_the_server_closed_is_made_anew(
    server: OpenAIServer, model: OpenAICompatibleModel
) -> None:
    model.complete(ask())
    server.settings.drop_next = True
    assert model.complete(ask()).text == ANSWER


def test_a_cancelled_call_closes_its_connection(server: OpenAIServer, model: OpenAICompatibleModel) -> None:
    server.settings.gap_ms = 20
    tokens: list[str] = []
    with pytest.raises(ModelError):
        model.complete(ask(), on_token=tokens.append, is_cancelled=lambda: bool(tokens))
    deadline = time.monotonic() + 2
    while server.connections and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not server.connections


def test_many_calls_at_once_each_have_a_connection(
    server: OpenAIServer, model: OpenAICompatibleModel
) -> None:
    server.settings.latency_ms = 600
    model.complete(ask())
    started = time.monotonic()
    threads = [threading.Thread(target=model.complete, args=(ask(),)) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started < 4
    assert server.request_count == 101


def test_models_of_one_server_share_its_client(server: OpenAIServer) -> None:
    assert get_server(server.base_url, "k") is get_server(server.base_url + "/", "k")
    assert get_server(server.base_url, "k") is not get_server(server.base_url, "other")


SCHEMA = {
    "type": "object",
    "properties": {"facts": {"type": "array", "items": {"type": "string"}}},
    "required": ["facts"],
    "additionalProperties": False,
}


def test_an_answer_may_come_as_a_call_of_the_tool_that_is_offered(
    server: OpenAIServer, model: OpenAICompatibleModel
) -> None:
    server.settings.calls_tools, server.settings.answer = True, '{"facts": ["Ann likes tea."]}'
    tokens: list[str] = []
    completion = model.complete(ask(json_schema=SCHEMA, tool="answer"), on_token=tokens.append)
    assert (completion.text, completion.is_tool_call, tokens) == (server.settings.answer, True, [])
    sent = server.ledger[-1]["request"]
    assert sent["tools"] == [{"type": "function", "function": {"name": "answer", "parameters": SCHEMA}}]
    assert sent["response_format"]["json_schema"]["schema"] == SCHEMA
    assert "tools" not in model_request(model, server, json_schema=SCHEMA)


def test_a_tool_that_is_called_several_times_answers_with_a_list(
    server: OpenAIServer, model: OpenAICompatibleModel
) -> None:
    server.settings.calls_tools, server.settings.answer = True, '[{"facts": ["one"]}, {"facts": ["two"]}]'
    completion = model.complete(ask(json_schema=SCHEMA, tool="answer"))
    assert json.loads(completion.text) == [{"facts": ["one"]}, {"facts": ["two"]}]


@pytest.mark.parametrize(
    ("fault", "kept"), [("refuses-tools", "response_format"), ("refuses-schema", "tools")]
)
def test_a_server_that_takes_only_one_of_tool_and_schema_is_asked_for_the_other(
    server: OpenAIServer, model: OpenAICompatibleModel, fault: str, kept: str
) -> None:
    for requests in (2, 3):
        model.complete(ask(model=f"fail:{fault}", json_schema=SCHEMA, tool="answer"))
        assert server.request_count == requests, "it is remembered"
    sent = server.ledger[-1]["request"]
    assert {"tools", "response_format"} & set(sent) == {kept}


def model_request(model: OpenAICompatibleModel, server: OpenAIServer, **changes: Any) -> dict[str, Any]:
    server.settings.calls_tools = False
    model.complete(ask(**changes))
    sent: dict[str, Any] = server.ledger[-1]["request"]
    return sent
