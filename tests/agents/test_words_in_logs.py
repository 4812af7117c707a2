"""No line of the product's own logs holds what a person said, whatever fails: at the level that says most."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import structlog
from django.conf import settings as django_settings
from django.db import connection as database

from agents import dispatcher, facts, work
from agents.inbox import receive
from agents.learning import evaluation
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.models import Delivery, Lane, Turn
from eliza_site import logs
from memory.models import Conversation
from memory.writes import embed_pending
from plugins import scheduler
from plugins.api import Action, ActionResult, Context, Evaluator, Plugin, Provider, Remember, SetGoal
from plugins.models import ScheduledTask
from plugins.registry import Components, Registered
from tests.doubles.acting import acting_with, answer
from tests.doubles.learning import let_pause
from tests.doubles.openai_server import OpenAIServer
from transports.base import TransportError
from transports.delivery import deliver_room

WORD = "zqword"


@pytest.fixture
def lines(capsys: Any) -> Iterator[Any]:
    """What was logged, at `debug`."""
    logs.configure({"level": "debug", "format": "json"})
    yield lambda: capsys.readouterr().err
    structlog.contextvars.clear_contextvars()
    logs.configure(django_settings.LOGGING)


def fail(context: Any) -> Any:
    """Fail as strangers' code does: with what it could not work with in its words."""
    said = context.message.text if isinstance(context, Context) else WORD
    raise ValueError(f"can't read {said!r}")


def too_long(context: Context) -> ActionResult:
    return ActionResult(
        effects=(Remember(text=context.message.text), SetGoal(name=context.message.text * 99))
    )


HOSTILE = Plugin(
    name="hostile",
    description="Fails.",
    actions=(
        Action(name="FAIL", description="Fail.", execute=fail),
        Action(name="LONG", description="Fail when it is saved.", execute=too_long),
        Action(name="NEVER", description="Fail when it is asked for.", execute=fail, validate=fail),
    ),
    providers=(Provider(name="FAILING", get=fail), Provider(name="CHEAP", get=fail, cheap=True)),
)


def say(incoming: Any) -> Any:
    return receive(incoming(f"{WORD} is my secret, see {WORD}"))


def test_plugins_that_fail(incoming: Any, monkeypatch: Any, lines: Any) -> None:
    with (
        acting_with(monkeypatch, HOSTILE),
        answering_with(answer("FAIL, LONG, REPLY", text=f"I heard {WORD}")),
    ):
        receipt = say(incoming)
        work.drain_lane(receipt.lane_id)
    written = lines()
    for event in ("provider_failed", "validate_failed", "action_failed", "effects_refused", "turn_done"):
        assert f'"{event}"' in written
    assert WORD not in written


def test_evaluators_tasks_and_events_that_fail(
    incoming: Any, agent: Any, model: Any, monkeypatch: Any, lines: Any
) -> None:
    receipt = say(incoming)
    work.drain_lane(receipt.lane_id)
    Turn.objects.update(evaluation="due")
    evaluators = (Registered(plugin="p", component=Evaluator(name="FAIL", evaluate=fail)),)
    monkeypatch.setattr(facts, "components_for", lambda _names: Components(evaluators=evaluators))
    facts.agent_facts.cache_clear()
    evaluation.evaluate_lane(receipt.lane_id)
    ScheduledTask.objects.create(
        agent=agent, plugin="p", task="t", schedule="once", arguments={"say": WORD}, next_run_at="2020-01-01T00:00:00Z"
    )  # fmt: skip
    monkeypatch.setattr(scheduler, "_executed", fail)
    assert scheduler.run_due() == 1
    facts.agent_facts.cache_clear()
    written = lines()
    assert '"evaluator_failed"' in written
    assert '"task_failed"' in written
    assert WORD not in written


@pytest.mark.parametrize("status", [400, 429, 500])
def test_a_model_server_that_repeats_what_it_was_asked(
    incoming: Any, settings: Any, monkeypatch: Any, lines: Any, status: int
) -> None:
    monkeypatch.setattr("agents.llm.failures.words_of", lambda _error: f"bad input: {WORD}")
    with OpenAIServer() as server:
        settings.OPENAI_BASE_URL, settings.MODEL_LARGE, settings.OPENAI_API_KEY = server.base_url, "m", "k"
        server.control({"fault": str(status)})
        receipt = say(incoming)
        for _attempt in range(3):
            Lane.objects.update(lease_until=None, next_run_at="2020-01-01T00:00:00Z")
            work.drain_lane(receipt.lane_id)
    assert WORD in Turn.objects.get().error, "the turn has it"
    written = lines()
    assert "ModelError" in written
    assert WORD not in written


@pytest.mark.django_db(transaction=True)
def test_a_reflection_that_the_dispatcher_works_itself(
    incoming: Any, settings: Any, monkeypatch: Any, lines: Any
) -> None:
    monkeypatch.setattr("agents.llm.failures.words_of", lambda _error: f"bad input: {WORD}")
    monkeypatch.setattr(dispatcher, "wake", lambda name, **arguments: False)
    failing = Registered(plugin="p", component=Evaluator(name="FAIL", evaluate=fail, looks_at="conversation"))
    with answering_with(ScriptedModel(f"I heard {WORD}")):
        work.drain_lane(say(incoming).lane_id)
    used = facts.components_for

    def components(names: Any) -> Components:
        known = used(names)
        return replace(known, evaluators=(failing, *known.evaluators))

    monkeypatch.setattr(facts, "components_for", components)
    facts.agent_facts.cache_clear()
    let_pause()
    with OpenAIServer() as server:
        settings.OPENAI_BASE_URL, settings.MODEL_SMALL, settings.OPENAI_API_KEY = server.base_url, "m", "k"
        server.control({"fault": "400"})
        dispatcher.dispatch_once()
        written, deadline = lines(), time.monotonic() + 10
        while "reflection_waits" not in written and time.monotonic() < deadline:
            time.sleep(0.05)
            written += lines()
    facts.agent_facts.cache_clear()
    assert WORD in Conversation.objects.get().error
    for event in ("evaluator_failed", "reflection_waits"):
        assert f'"{event}"' in written
    assert "ModelError (refused): [" in written
    assert written.count('"task": "agents.reflect_conversation"') > 1
    assert WORD not in written


def test_a_network_that_repeats_what_it_was_sent(
    incoming: Any, connection: Any, model: Any, monkeypatch: Any, lines: Any
) -> None:
    receipt = say(incoming)
    with answering_with(ScriptedModel(f"I heard {WORD}")):
        work.drain_lane(receipt.lane_id)
    failures: list[Exception] = [
        TransportError(f"busy: {WORD}", retry_after_seconds=0.0),
        RuntimeError(f"odd: {WORD}"),
        TransportError(f"bad: {WORD}", permanent=True),
    ]

    def deliver(_transport: Any, _connection: Any, _outgoing: Any) -> Any:
        raise failures.pop(0)

    monkeypatch.setattr("transports.fake.transport.FakeTransport.deliver", deliver)
    for _attempt in range(3):
        Delivery.objects.update(next_run_at="2020-01-01T00:00:00Z")
        deliver_room(connection.pk, receipt.room_id)
    assert WORD in Delivery.objects.get().error
    written = lines()
    for event in ("delivery_put_back", "transport_failed", "delivery_not_sent"):
        assert f'"{event}"' in written
    assert WORD not in written


def test_a_database_that_repeats_a_row(incoming: Any, monkeypatch: Any, lines: Any, model: Any) -> None:
    def break_it(*_given: Any, **_named: Any) -> None:
        with database.cursor() as cursor:
            cursor.execute("INSERT INTO agents_person (id, name) VALUES (gen_random_uuid(), %s)", [WORD])

    receipt = say(incoming)
    monkeypatch.setattr("agents.pipeline.reply.hear", break_it)
    work.drain_lane(receipt.lane_id)
    assert WORD in Turn.objects.get().error
    written = lines()
    assert '"turn_failed"' in written
    assert WORD not in written


def test_an_embedder_that_repeats_what_it_was_asked(
    incoming: Any, settings: Any, model: Any, monkeypatch: Any, lines: Any
) -> None:
    from memory.embeddings.base import EmbeddingError

    def embed(_embedder: Any, _texts: Any) -> Any:
        raise EmbeddingError(f"400: {WORD}", quotes_others=True)

    monkeypatch.setattr("memory.embeddings.hashed.HashedEmbedder.embed", embed)
    receipt = say(incoming)
    work.drain_lane(receipt.lane_id)
    embed_pending()
    written = lines()
    assert '"embedding_waits"' in written
    assert WORD not in written


def test_a_request_that_fails(client: Any, agent: Any, monkeypatch: Any, lines: Any) -> None:
    from transports.web import api

    def break_it(_incoming: Any) -> None:
        raise RuntimeError(f"can't take {WORD}")

    monkeypatch.setattr(api.inbox, "receive", break_it)
    client.get("/")
    token = client.cookies["csrftoken"].value
    response = client.post(
        f"/api/v1/agents/{agent.slug}/messages",
        json.dumps({"text": WORD}),
        content_type="application/json",
        headers={"X-CSRFToken": token},
    )
    assert response.status_code == 500
    written = lines()
    assert '"api_request_failed"' in written
    assert WORD not in written
