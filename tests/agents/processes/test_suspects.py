"""Suspects: who was there when workers died is worked alone, and only a death alone counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection as database

from agents import lanes, turns, work
from agents.inbox import receive
from agents.models import Agent, Lane, Message, Turn
from agents.processes import alone, shutdown, suspects
from agents.processes.alone import End, Verdict

DIED = Verdict(end=End.DIED, reason="Its process worked nothing else and died by signal 11.")


def release_lanes() -> None:
    Lane.objects.update(lease_until=None, next_run_at="2020-01-01T00:00:00Z")


def replies() -> list[str]:
    said = Message.objects.filter(direction="out").order_by("received_at")
    return list(said.values_list("text", flat=True))


def crash(lane_id: Any, times: int = 1) -> None:
    """Let workers take the turn and die."""
    for _crash in range(times):
        release_lanes()
        assert lanes.claim(lane_id) is not None
    release_lanes()


def make_suspect(receipt: Any) -> None:
    Turn.objects.filter(pk=receipt.turn_id).update(suspect_count=suspects.SHARED_CRASHES)


@pytest.fixture
def ends(monkeypatch: Any, settings: Any) -> Iterator[Callable[..., list[Any]]]:
    """Put a process' end in place of a process; return the turns that were worked alone."""
    settings.SUSPECT_PROCESSES, settings.WORKER_THREADS = 1, 8
    suspects._line.cache_clear()
    suspects._places.cache_clear()

    def put(end: Verdict | Exception | Callable[..., Verdict]) -> list[Any]:
        worked: list[Any] = []

        def work_alone(turn: Any, *, is_stopping: Any, is_unwanted: Any) -> Verdict:
            worked.append(turn)
            if isinstance(end, Exception):
                raise end
            return end if isinstance(end, Verdict) else end(turn)

        monkeypatch.setattr(alone, "work_alone", work_alone)
        return worked

    yield put
    suspects._line.cache_clear()
    suspects._places.cache_clear()


def test_the_first_death_beside_others_changes_nothing(incoming: Any, model: Any, ends: Any) -> None:
    worked = ends(DIED)
    receipt = receive(incoming())
    crash(receipt.lane_id, times=1)
    assert work.drain_lane(receipt.lane_id) == 1
    assert (worked, replies()) == ([], ["Hello to you too."])


def test_who_was_there_twice_is_worked_alone_and_no_death_beside_others_counts(
    incoming: Any, model: Any, ends: Any
) -> None:
    worked = ends(work_it)
    receipt = receive(incoming())
    crash(receipt.lane_id, times=25)
    assert work.drain_lane(receipt.lane_id) == 1
    assert len(worked) == 1
    turn = Turn.objects.get()
    assert (turn.state, turn.crash_count, replies()) == ("done", 0, ["Hello to you too."])


def work_it(turn: Any) -> Verdict:
    is_released = work.work_taken(turn.lease, turn.id)
    return Verdict(end=End.RELEASED if is_released else End.HELD)


def test_the_lane_goes_on_after_a_suspect_that_was_innocent(incoming: Any, model: Any, ends: Any) -> None:
    worked = ends(work_it)
    make_suspect(receive(incoming("first")))
    receipt = receive(incoming("second"))
    assert work.drain_lane(receipt.lane_id) == 2
    assert [turn.message_text for turn in worked] == ["first"]
    assert Turn.objects.filter(state="done").count() == 2


def test_deaths_alone_make_a_dead_letter_with_one_apology_and_the_lane_goes_on(
    incoming: Any, agent: Agent, model: Any, ends: Any, settings: Any
) -> None:
    worked = ends(DIED)
    poisoned = receive(incoming("poison"))
    receive(incoming("after"))
    make_suspect(poisoned)
    for crashes in range(1, settings.TURN_MAX_CRASHES + 1):
        work.drain_lane(poisoned.lane_id)
        assert Turn.objects.get(pk=poisoned.turn_id).crash_count == crashes
        assert Lane.objects.get().lease_until is None
        if crashes < settings.TURN_MAX_CRASHES:
            assert work.drain_lane(poisoned.lane_id) == 0, "it waits a little between"
            release_lanes()
    assert work.drain_lane(poisoned.lane_id) == 2, "after the last death nothing waits any longer"
    turn = Turn.objects.get(pk=poisoned.turn_id)
    assert (turn.state, turn.outcome, len(worked)) == ("dead", "apologised", settings.TURN_MAX_CRASHES)
    assert "signal 11" in turn.error
    assert replies() == [agent.apology, "Hello to you too."]


def test_a_death_that_nobody_saw_counts_nothing_and_leaves_the_turn_to_its_lease(
    incoming: Any, ends: Any
) -> None:
    ends(Verdict(end=End.UNKNOWN))
    receipt = receive(incoming())
    make_suspect(receipt)
    work.drain_lane(receipt.lane_id)
    turn = Turn.objects.get()
    assert (turn.state, turn.crash_count) == ("running", 0)
    assert Lane.objects.get().lease_until is not None, "its process may live on"


def test_a_death_while_this_process_is_to_end_counts_nothing(incoming: Any, ends: Any) -> None:
    def told_to_end(_turn: Any) -> Verdict:
        shutdown.begin()
        return DIED

    ends(told_to_end)
    receipt = receive(incoming())
    make_suspect(receipt)
    try:
        work.drain_lane(receipt.lane_id)
    finally:
        shutdown.forget()
    turn = Turn.objects.get()
    assert (turn.state, turn.crash_count, Lane.objects.get().lease_until) == ("waiting", 0, None)


def test_where_no_process_can_be_started_the_turn_waits_uncounted(incoming: Any, ends: Any) -> None:
    ends(OSError("no memory"))
    receipt = receive(incoming())
    make_suspect(receipt)
    work.drain_lane(receipt.lane_id)
    turn = Turn.objects.get()
    assert (turn.state, turn.crash_count, turn.error_count) == ("waiting", 0, 0)
    assert "no memory" in turn.error
    assert work.drain_lane(receipt.lane_id) == 0, "the lane waits a dispatcher's period"


def test_suspects_that_find_no_place_are_put_back_and_hold_no_thread(incoming: Any, ends: Any) -> None:
    worked = ends(DIED)
    receipt = receive(incoming())
    make_suspect(receipt)
    taken = 0
    while suspects._line().acquire(blocking=False):
        taken += 1
    assert taken == 2, "a quarter of the worker's threads"
    work.drain_lane(receipt.lane_id)
    turn = Turn.objects.get()
    assert (turn.state, turn.crash_count, worked) == ("waiting", 0, [])


@pytest.mark.django_db(transaction=True)
def test_no_more_suspects_run_at_once_than_may(incoming: Any, ends: Any) -> None:
    running, most, may_end = [], [], threading.Event()

    def watched(turn: Any) -> Verdict:
        running.append(turn)
        most.append(len(running))
        may_end.wait(10)
        running.remove(turn)
        return Verdict(end=End.UNKNOWN)

    ends(watched)
    receipts = [receive(incoming(person=name)) for name in ("ann", "bob")]
    for receipt in receipts:
        make_suspect(receipt)
    threads = [draining(receipt.lane_id) for receipt in receipts]
    until(lambda: suspects._line()._value == 0)
    time.sleep(2 * suspects.LOOK_SECONDS)
    assert most == [1], "both stand in line, and one has the place"
    may_end.set()
    for thread in threads:
        thread.join(10)
    assert most == [1, 1]


@pytest.mark.django_db(transaction=True)
def test_a_suspect_that_waits_for_a_place_hears_a_stop(incoming: Any, ends: Any) -> None:
    worked = ends(DIED)
    assert suspects._places().acquire(blocking=False), "another suspect is worked"
    receipt = receive(incoming())
    make_suspect(receipt)
    thread = draining(receipt.lane_id)
    until(lambda: Turn.objects.get().state == "running")
    assert turns.request_stop(receipt.turn_id)
    thread.join(10)
    assert (Turn.objects.get().state, worked) == ("waiting", [])
    assert work.drain_lane(receipt.lane_id) == 1
    turn = Turn.objects.get()
    assert (turn.state, turn.crash_count, turn.error_count, worked) == ("stopped", 0, 0, [])


def test_a_stopped_suspect_that_had_to_be_killed_counts_nothing(incoming: Any, ends: Any) -> None:
    def stopped(turn: Any) -> Verdict:
        turns.request_stop(turn.id)
        return Verdict(end=End.KILLED)

    worked = ends(stopped)
    receipt = receive(incoming())
    make_suspect(receipt)
    work.drain_lane(receipt.lane_id)
    assert work.drain_lane(receipt.lane_id) == 1
    turn = Turn.objects.get()
    assert (turn.state, turn.crash_count, len(worked)) == ("stopped", 0, 1)


def draining(lane_id: Any) -> threading.Thread:
    """Work the lane on another thread."""

    def drain() -> None:
        work.drain_lane(lane_id)
        database.close()

    thread = threading.Thread(target=drain)
    thread.start()
    return thread


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)
