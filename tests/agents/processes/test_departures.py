"""Told to end, a process takes nothing new, gives back what it can't finish, and none of it counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection as database

from agents import lanes, work
from agents.inbox import receive
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.models import Lane, Message, Turn
from agents.processes import departures, keeper, shutdown


@pytest.fixture(autouse=True)
def _go_on() -> Iterator[None]:
    yield
    shutdown.forget()


@pytest.fixture
def woken(monkeypatch: Any) -> list[str]:
    """The lanes for which workers were woken."""
    lanes: list[str] = []

    def wake(name: str, **arguments: str) -> bool:
        lanes.append(arguments["lane_id"])
        return True

    for module in ("agents.work.wake", "agents.processes.departures.wake"):
        monkeypatch.setattr(module, wake)
    monkeypatch.setattr("agents.work.wake_after_commit", wake)
    return lanes


def replies() -> list[str]:
    return list(Message.objects.filter(direction="out").values_list("text", flat=True))


def test_no_lane_is_claimed_any_more_and_its_wake_up_is_handed_on(
    incoming: Any, model: Any, woken: Any
) -> None:
    receipt = receive(incoming())
    shutdown.begin()
    assert work.drain_lane(receipt.lane_id) == 0
    turn = Turn.objects.get()
    assert (turn.state, turn.take_count, woken) == ("waiting", 0, [str(receipt.lane_id)])


def test_the_turn_in_hand_is_finished_and_the_next_is_left_to_another(incoming: Any, woken: Any) -> None:
    receive(incoming("first"))
    receipt = receive(incoming("second"))

    def answer(_request: Any) -> str:
        shutdown.begin()
        return "Just in time."

    with answering_with(ScriptedModel(answer)):
        assert work.drain_lane(receipt.lane_id) == 1
    assert (replies(), woken) == (["Just in time."], [str(receipt.lane_id)])
    assert list(Turn.objects.order_by("sequence").values_list("state", flat=True)) == ["done", "waiting"]
    assert Lane.objects.get().lease_until is None


def test_a_turn_that_takes_longer_than_the_grace_is_given_back_uncounted(
    incoming: Any, woken: Any, settings: Any
) -> None:
    settings.SHUTDOWN_GRACE_SECONDS = 0.0
    receipt = receive(incoming())

    def answer(_request: Any) -> str:
        shutdown.begin()
        return "one two three four"

    with answering_with(ScriptedModel(answer)):
        assert work.drain_lane(receipt.lane_id) == 1
    turn = Turn.objects.get()
    assert (turn.state, turn.error_count, turn.crash_count, turn.suspect_count) == ("waiting", 0, 0, 0)
    assert (replies(), woken, Lane.objects.get().lease_until) == ([], [str(receipt.lane_id)], None)

    shutdown.forget()
    with answering_with(ScriptedModel("Here I am.")):
        assert work.drain_lane(receipt.lane_id) == 1, "another takes it at once"
    assert replies() == ["Here I am."]


@pytest.mark.django_db(transaction=True)
def test_a_turn_that_does_not_listen_is_given_back_for_it_and_can_write_nothing_more(
    incoming: Any, woken: Any, settings: Any, monkeypatch: Any
) -> None:
    settings.SHUTDOWN_GRACE_SECONDS = 0.0
    monkeypatch.setattr(departures, "DEAF_SECONDS", 0.5)
    receipt = receive(incoming())
    is_deaf, may_speak, has_left = threading.Event(), threading.Event(), threading.Event()

    def answer(_request: Any) -> str:
        is_deaf.set()
        may_speak.wait(20)
        return "Too late."

    def drain() -> None:
        work.drain_lane(receipt.lane_id)
        database.close()

    monkeypatch.setattr("agents.processes.keeper.Watch.is_cancelled", lambda _watch: False)
    with answering_with(ScriptedModel(answer)):
        thread = threading.Thread(target=drain)
        thread.start()
        assert is_deaf.wait(20)
        departures.begin(leave=has_left.set)
        assert has_left.wait(20)
        turn = Turn.objects.get()
        assert (turn.state, turn.error_count, turn.crash_count) == ("waiting", 0, 0)
        assert (Lane.objects.get().lease_until, woken) == (None, [str(receipt.lane_id)])
        may_speak.set()
        thread.join(20)
    assert (replies(), Turn.objects.get().state) == ([], "waiting")


def test_a_process_that_holds_nothing_is_left_alone(db: None, settings: Any, monkeypatch: Any) -> None:
    settings.SHUTDOWN_GRACE_SECONDS = 0.0
    assert departures.give_back_all() == 0


def test_a_thread_that_hangs_with_a_turn_that_others_took_keeps_no_process(
    incoming: Any, model: Any, settings: Any, monkeypatch: Any
) -> None:
    settings.SHUTDOWN_GRACE_SECONDS = 0.0
    monkeypatch.setattr(departures, "DEAF_SECONDS", 0.0)
    claimed = lanes.claim(receive(incoming()).lane_id)
    assert claimed is not None
    assert claimed[1] is not None
    Lane.objects.update(lease_token=claimed[0].token + 1)
    left: list[bool] = []
    with keeper.watch_over(claimed[1]):
        departures._see_to_it(0.0, lambda: left.append(True))
    assert left == [True]
    departures._see_to_it(0.0, lambda: left.append(True))
    assert left == [True], "what holds nothing ends by itself"
