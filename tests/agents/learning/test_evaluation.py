"""Evaluations: in the lane's order, by one holder, and never in the way of the next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connection as database

from agents import dispatcher, facts, lanes, work
from agents.inbox import receive
from agents.learning import evaluation
from agents.models import Step, Turn
from agents.processes import keeper
from memory.models import Memory
from plugins.api import Context, EvaluationResult, Evaluator, Remember
from plugins.registry import Components, Registered, components_for

seen: list[str] = []


@pytest.fixture
def learning(monkeypatch: Any) -> Iterator[dict[str, Callable[[Context], None]]]:
    """An evaluator that learns from every message; `meanwhile` happens while it does."""
    seen.clear()
    hooks: dict[str, Callable[[Context], None]] = {}

    def learn(context: Context) -> EvaluationResult:
        seen.append(context.message.text)
        if "meanwhile" in hooks:
            hooks["meanwhile"](context)
        return EvaluationResult(effects=(Remember(text=f"learnt from {context.message.text}"),))

    one = Registered(plugin="learning", component=Evaluator(name="LEARN", evaluate=learn))
    built_in = components_for(())
    monkeypatch.setattr(
        facts,
        "components_for",
        lambda names: Components(
            actions=built_in.actions, providers=built_in.providers, evaluators=(one, one)
        ),
    )
    monkeypatch.setattr("agents.pipeline.evaluate.check_effects", lambda plugin, effects: None)
    monkeypatch.setattr(
        "agents.pipeline.evaluate.call_within", lambda _seconds, function, *given: function(*given)
    )
    facts.agent_facts.cache_clear()
    yield hooks
    facts.agent_facts.cache_clear()


@pytest.fixture
def ended(incoming: Any, model: Any, learning: Any) -> Any:
    """Two messages whose turns have ended, with evaluators that have not seen them."""
    for text in ("one", "two"):
        receipt = receive(incoming(text))
    work.drain_lane(receipt.lane_id)
    return receipt.lane_id


def claim(lane_id: Any) -> Any:
    claimed = lanes.take_turn_by(
        evaluation.CLAIM, {"lane": lane_id, "lease": settings.EVALUATION_LEASE_SECONDS}
    )
    return claimed and claimed[1]


def states() -> list[str]:
    return list(Turn.objects.order_by("sequence").values_list("evaluation", flat=True))


def test_the_second_turn_waits_while_the_first_is_held(ended: Any) -> None:
    assert claim(ended).message_text == "one"
    assert claim(ended) is None
    assert evaluation.evaluate_lane(ended) == 0
    Turn.objects.update(evaluation_lease_until=None)
    assert evaluation.evaluate_lane(ended) == 2
    assert seen == ["one", "one", "two", "two"]


def test_a_stale_holder_writes_nothing(ended: Any, learning: Any) -> None:
    def taken_by_another(_context: Any) -> None:
        Turn.objects.filter(message__text="one").update(evaluation_token=9)

    learning["meanwhile"] = taken_by_another
    evaluation._evaluate(claim(ended))
    assert not Memory.objects.filter(kind="fact").exists()
    assert not Step.objects.filter(name__startswith="evaluate").exists()
    assert states() == ["due", "due"]


def test_a_holder_whose_lease_may_be_over_asks_no_further_evaluator(
    ended: Any, learning: Any, monkeypatch: Any
) -> None:
    turn = claim(ended)
    monkeypatch.setattr(settings, "EVALUATION_LEASE_SECONDS", 0.1)
    learning["meanwhile"] = lambda _context: time.sleep(0.2)
    evaluation._evaluate(turn)
    assert seen == ["one"]
    assert states() == ["due", "due"]


def test_an_evaluation_that_kills_its_workers_is_given_up_and_the_next_goes_on(ended: Any) -> None:
    for attempt in range(evaluation.MAX_ATTEMPTS):
        turn = claim(ended)
        assert turn.evaluation_attempts == attempt + 1
        Turn.objects.update(evaluation_lease_until="2020-01-01T00:00:00Z")
    assert evaluation.find_due(10) == [ended]
    assert evaluation.evaluate_lane(ended) == 2
    assert states() == ["failed", "done"]
    assert seen == ["two", "two"]


@pytest.mark.django_db(transaction=True)
def test_a_long_evaluation_keeps_its_lease(ended: Any, learning: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(settings, "EVALUATION_LEASE_SECONDS", 1)
    monkeypatch.setattr(keeper, "LOOK_PERIOD_SECONDS", 0.1)
    monkeypatch.setattr(keeper, "_keeper", keeper._Keeper())
    tried: list[int] = []

    def wait(context: Any) -> None:
        if len(seen) > 1:
            return
        for _look in range(8):
            time.sleep(0.2)
            others = threading.Thread(target=lambda: (tried.append(try_it()), database.close()))
            others.start()
            others.join()

    def try_it() -> int:
        return evaluation.evaluate_lane(ended)

    learning["meanwhile"] = wait
    assert evaluation.evaluate_lane(ended) == 2
    assert tried == [0] * 8
    assert set(Turn.objects.values_list("evaluation_attempts", flat=True)) == {1}
    assert states() == ["done", "done"]


def test_the_dispatcher_hands_out_an_evaluation_that_was_left_behind(ended: Any, monkeypatch: Any) -> None:
    handed_out: list[Any] = []
    monkeypatch.setattr(
        dispatcher, "wake", lambda name, **arguments: bool(handed_out.append((name, arguments)) or True)
    )
    Turn.objects.update(ended_at="2020-01-01T00:00:00Z")
    dispatcher.dispatch_once()
    assert ("agents.evaluate_turn", {"lane_id": str(ended)}) in handed_out
