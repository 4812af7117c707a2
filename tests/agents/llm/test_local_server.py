"""The demonstration model as the fleet runs it: the command in a process of its own, asked by the client."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agents import work
from agents.inbox import receive
from agents.llm import local_server
from agents.llm.base import ModelError, ModelFailure
from agents.llm.local_server import DEMONSTRATION_MODEL, LocalModelError, context_tokens
from agents.llm.openai import OpenAICompatibleModel
from agents.llm.servers import get_server
from agents.models import Agent, Message, ModelCall
from memory.models import Conversation, Fact
from tests.agents.llm.asking import ask
from tests.doubles.learning import let_pause, reflect_due

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Running:
    process: "subprocess.Popen[str]"
    line: str

    @property
    def base_url(self) -> str:
        return self.line.split()[-1]


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    command = [sys.executable, "manage.py", "serve_local_model", "--port", "0"]
    environment = {**os.environ, "MODEL_MAX_TOKENS": "40", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Running(process, process.stdout.readline().strip())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.fleet
def test_it_says_that_it_is_a_demonstration(running: Running) -> None:
    assert running.line.startswith(
        f"{DEMONSTRATION_MODEL} (demonstration model) answers at http://127.0.0.1:"
    )


@pytest.mark.fleet
def test_it_streams_and_counts(running: Running) -> None:
    model = OpenAICompatibleModel(base_url=running.base_url, provider="demonstration")
    tokens: list[str] = []
    question = ask(
        "Tell me a story about a dog.", model=DEMONSTRATION_MODEL, max_tokens=20, timeout_seconds=60
    )
    completion = model.complete(question, on_token=tokens.append)
    assert completion.text == "".join(tokens)
    assert len(tokens) > 3
    assert completion.usage.input_tokens
    assert completion.usage.output_tokens is not None
    assert completion.usage.output_tokens <= 20
    assert completion.model == DEMONSTRATION_MODEL


@pytest.mark.fleet
def test_an_answer_without_a_limit_of_its_own_ends_at_the_setting(running: Running) -> None:
    answer = get_server(running.base_url, "").client.chat.completions.create(
        model=DEMONSTRATION_MODEL, messages=[{"role": "user", "content": "Tell me a long story about a dog."}]
    )
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 40


@pytest.mark.fleet
def test_it_keeps_to_a_schema(running: Running) -> None:
    schema = {
        "type": "object",
        "properties": {"mood": {"type": "string", "enum": ["good", "bad"]}},
        "required": ["mood"],
        "additionalProperties": False,
    }
    model = OpenAICompatibleModel(base_url=running.base_url)
    answer = model.complete(ask(model=DEMONSTRATION_MODEL, json_schema=schema, timeout_seconds=60))
    assert json.loads(answer.text)["mood"] in ("good", "bad")


@pytest.mark.fleet
@pytest.mark.django_db(transaction=True)
def test_what_it_makes_of_a_conversation_breaks_nothing(
    running: Running, agent: Any, incoming: Any, settings: Any
) -> None:
    settings.OPENAI_BASE_URL = settings.OPENAI_API_KEY = ""
    settings.LOCAL_MODEL_BASE_URL = running.base_url
    Agent.objects.update(model_large="scripted:I see.")
    for text in ("Hello, I am Ann.", "I live in Paris.", "I love green tea.", "I have a cat, Momo."):
        work.drain_lane(receive(incoming(text)).lane_id)
    let_pause()
    assert reflect_due() == 1
    conversation = Conversation.objects.get()
    assert (conversation.unseen, conversation.error) == ([], "")
    calls = ModelCall.objects.filter(purpose__in=["reflection", "summary"]).order_by("purpose")
    assert [(call.purpose, call.provider, call.error) for call in calls] == [
        ("reflection", "demonstration", ""),
        ("summary", "demonstration", ""),
    ]
    assert all(call.parse_path in {"json", "none"} for call in calls)
    messages = {str(id) for id in Message.objects.values_list("pk", flat=True)}
    for fact in Fact.objects.select_related("memory"):
        assert set(fact.memory.source_messages) <= messages
        assert fact.subject is None or fact.subject.name in {"Ann", "Eliza"}


@pytest.mark.fleet
def test_a_prompt_that_is_too_long_is_refused_for_good(running: Running) -> None:
    model = OpenAICompatibleModel(base_url=running.base_url)
    with pytest.raises(ModelError) as caught:
        model.complete(ask("word " * 9000, model=DEMONSTRATION_MODEL, timeout_seconds=60))
    assert caught.value.failure is ModelFailure.REFUSED
    assert caught.value.permanent


@pytest.mark.fleet
def test_it_stops_within_two_seconds_of_being_told(running: Running) -> None:
    started = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(5) == 0
    assert time.monotonic() - started < 2


def test_a_busy_port_is_named_with_its_variable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(LocalModelError, match=r"Port \d+ .* MODEL_PORT"):
            local_server.start_server(port=taken.getsockname()[1], prompt_tokens=100, answer_tokens=100)


def test_missing_packages_are_named_with_their_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(LocalModelError, match=r"requirements-local\.txt"):
        local_server.start_server(port=0, prompt_tokens=100, answer_tokens=100)


def test_the_context_fits_prompt_and_answer_or_says_why_not() -> None:
    assert context_tokens(3000, 512) == 4096
    assert context_tokens(6000, 512) == 6512
    with pytest.raises(LocalModelError, match="PROMPT_MAX_TOKENS"):
        context_tokens(9000, 512)
