"""What every text model keeps: the scripted one and the real client pass the same suite."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from agents.llm.base import ModelError, ModelFailure, TextModel
from agents.llm.openai import OpenAICompatibleModel
from agents.llm.scripted import ScriptedModel, ToolCall
from tests.agents.llm.asking import ask
from tests.doubles.openai_server import OpenAIServer

ANSWER = "I am well, thank you for asking."
Making = Callable[..., TextModel]


@pytest.fixture(params=["scripted", "openai"])
def make_model(request: pytest.FixtureRequest, server: OpenAIServer) -> Making:
    def make(answer: str = ANSWER, *, seconds: float = 0.0) -> TextModel:
        if request.param == "scripted":
            return ScriptedModel(answer, token_seconds=seconds)
        server.settings.answer = answer
        server.settings.gap_ms = seconds * 1000
        return OpenAICompatibleModel(base_url=server.base_url)

    return make


def test_the_answer_is_the_joined_tokens(make_model: Making) -> None:
    tokens: list[str] = []
    completion = make_model().complete(ask(), on_token=tokens.append)
    assert completion.text == "".join(tokens) == ANSWER
    assert len(tokens) > 3
    assert completion.finish_reason == "stop"
    assert completion.model == "stub"
    assert completion.provider


def test_a_tool_that_is_called_gives_its_arguments_and_no_tokens(
    make_model: Making, server: OpenAIServer
) -> None:
    server.settings.calls_tools = True
    model = make_model('{"mood": "good"}')
    if isinstance(model, ScriptedModel):
        model = ScriptedModel(ToolCall('{"mood": "good"}'))
    tokens: list[str] = []
    completion = model.complete(ask(json_schema={"type": "object"}, tool="answer"), on_token=tokens.append)
    assert (json.loads(completion.text), completion.is_tool_call, tokens) == ({"mood": "good"}, True, [])


def test_usage_and_times_are_recorded(make_model: Making) -> None:
    completion = make_model().complete(ask())
    assert completion.usage.input_tokens
    assert completion.usage.output_tokens
    assert completion.first_token_milliseconds is not None
    assert 0 < completion.first_token_milliseconds <= completion.milliseconds


def test_a_cancelled_call_ends_between_tokens(make_model: Making) -> None:
    tokens: list[str] = []
    with pytest.raises(ModelError) as caught:
        make_model(seconds=0.01).complete(
            ask(), on_token=tokens.append, is_cancelled=lambda: len(tokens) >= 2
        )
    assert caught.value.failure is ModelFailure.CANCELLED
    assert len(tokens) == 2


def test_a_call_ends_at_its_time_while_tokens_still_come(make_model: Making) -> None:
    with pytest.raises(ModelError) as caught:
        make_model(" ".join("abcdefghijklmno"), seconds=0.05).complete(ask(timeout_seconds=0.2))
    assert caught.value.failure is ModelFailure.TIMEOUT
    assert not caught.value.permanent


@pytest.mark.parametrize("answer", [" ", "  \n "])
def test_an_empty_answer_is_a_failure(make_model: Making, answer: str) -> None:
    with pytest.raises(ModelError) as caught:
        make_model(answer).complete(ask())
    assert caught.value.failure is ModelFailure.EMPTY


def test_what_the_listener_raises_comes_through(make_model: Making) -> None:
    def fall(_: str) -> None:
        raise KeyError("listener")

    model = make_model()
    with pytest.raises(KeyError, match="listener"):
        model.complete(ask(), on_token=fall)
    assert model.complete(ask()).text == ANSWER


def test_threads_share_a_model(make_model: Making) -> None:
    model = make_model()
    start = threading.Barrier(8)

    def call(_: int) -> str:
        start.wait()
        return model.complete(ask()).text

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(call, range(8))) == {ANSWER}


def test_any_text_comes_through_unharmed(make_model: Making) -> None:
    text = 'Grüße, 你好, 👩‍👩‍👧, \u2028 and \\n "quotes" data: [DONE]\n\nnew paragraph'
    assert make_model(text).complete(ask()).text == text
