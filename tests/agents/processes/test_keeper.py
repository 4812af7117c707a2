"""The keeper: leases live while their turns are worked, and end with a word."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection as database
from django.db import connections, transaction

from agents import dispatcher, lanes, turns
from agents.databases import own_connection
from agents.inbox import receive
from agents.lanes import ClaimedTurn, Fenced
from agents.models import Agent, Lane
from agents.processes import keeper
from tests.doubles.waiting import leave_behind

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def quick(settings: Any, monkeypatch: Any) -> None:
    """Leases of a second, and a keeper of this test's own that looks ten times in it."""
    settings.LANE_LEASE_SECONDS = 1
    monkeypatch.setattr(keeper, "LOOK_PERIOD_SECONDS", 0.1)
    monkeypatch.setattr(keeper, "_keeper", keeper._Keeper())


@pytest.fixture
def small_pool(monkeypatch: Any) -> Iterator[None]:
    """A pool of two connections that is empty soon; Django makes another one afterwards."""
    database.close()
    database.close_pool()
    options = {**database.settings_dict["OPTIONS"], "pool": {"min_size": 1, "max_size": 2, "timeout": 0.2}}
    monkeypatch.setitem(database.settings_dict, "OPTIONS", options)
    yield
    database.close()
    database.close_pool()


def claimed_turn(incoming: Any, person: str = "ann") -> ClaimedTurn:
    claimed = lanes.claim(receive(incoming(person=person)).lane_id)
    assert claimed is not None
    assert claimed[1] is not None
    return claimed[1]


def test_a_lease_is_renewed_a_loss_noticed_and_a_stop_heard(incoming: Any, quick: None) -> None:
    turn = claimed_turn(incoming)
    with keeper.watch_over(turn) as watch:
        before = Lane.objects.get().lease_until
        time.sleep(1.2)
        after = Lane.objects.get().lease_until
        assert before is not None
        assert after is not None
        assert after > before
        assert not watch.is_cancelled()

        assert turns.request_stop(turn.id)
        _until(lambda: watch.is_stopped)
        Lane.objects.update(lease_token=99)
        _until(lambda: watch.is_lost)
        with pytest.raises(Fenced):
            keeper.require_held(turn.lease)


def test_leases_are_renewed_while_the_pool_is_exhausted(incoming: Any, quick: None, small_pool: None) -> None:
    turn = claimed_turn(incoming)
    has_taken, may_end = threading.Barrier(3), threading.Event()

    def take() -> None:
        with transaction.atomic(), database.cursor() as cursor:
            cursor.execute("SELECT 1")
            has_taken.wait(5)
            may_end.wait(10)
        database.close()

    database.close()
    threads = [threading.Thread(target=take) for _connection in range(2)]
    for thread in threads:
        thread.start()
    has_taken.wait(5)
    with keeper.watch_over(turn) as watch:
        began = watch.renewed_at
        with pytest.raises(Exception, match=r"(?i)pool|timeout|connection"):
            Lane.objects.get()
        time.sleep(1.5)
        assert watch.renewed_at > began
        assert watch.is_held(), "two leases have passed, and it is held"
    may_end.set()
    for thread in threads:
        thread.join()
    assert Lane.objects.get().lease_token == turn.lease.token


def test_the_dispatcher_finds_what_is_due_while_the_pool_is_exhausted(
    incoming: Any, small_pool: None, settings: Any, monkeypatch: Any
) -> None:
    settings.DISPATCH_PERIOD_SECONDS = 0.1
    found: list[str] = []
    monkeypatch.setattr(dispatcher, "wake", lambda name, **arguments: bool(found.append(name) or True))
    receive(incoming())
    leave_behind()
    database.close()
    pool = database.pool
    pool.open()
    taken = [pool.getconn(), pool.getconn()]
    stop = threading.Event()
    thread = threading.Thread(target=dispatcher.run, args=(stop,))
    thread.start()
    _until(lambda: "agents.drain_lane" in found)
    stop.set()
    thread.join()
    for one in taken:
        pool.putconn(one)
    assert "agents.drain_lane" in found


def test_a_connection_of_ones_own_comes_back_after_it_was_cut() -> None:
    pids: list[int] = []

    def work() -> None:
        with own_connection(statement_timeout_seconds=5):
            for _time in range(2):
                pids.append(_pid())
                _terminate(pids[-1])
                with pytest.raises(Exception, match=r"(?i)terminat|closed|connection"):
                    _pid()
                database.close()
            assert connections["default"].settings_dict["OPTIONS"].get("pool") is None

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(set(pids)) == 2


def test_one_locked_lane_costs_the_others_no_lease(incoming: Any) -> None:
    locked, free = claimed_turn(incoming, "ann"), claimed_turn(incoming, "bob")
    lost = claimed_turn(incoming, "eve")
    Lane.objects.filter(pk=lost.lease.lane_id).update(lease_token=99)
    asked = [(turn.lease.lane_id, turn.lease.token) for turn in (locked, free, lost)]
    kept: list[lanes.Kept] = []

    def keep() -> None:
        kept.append(lanes.keep(asked))
        database.close()

    with transaction.atomic():
        lanes.renew([locked.lease])
        thread = threading.Thread(target=keep)
        thread.start()
        thread.join(5)
    assert kept == [lanes.Kept(renewed=frozenset({asked[1]}), lost=frozenset({asked[2]}))]


def test_a_holder_that_was_paused_past_its_lease_knows_it_by_itself(incoming: Any, quick: None) -> None:
    turn = claimed_turn(incoming)
    paused = replace(turn, lease=replace(turn.lease, taken_at=time.monotonic() - 0.96))
    watch = keeper.Watch(paused)
    assert watch.is_cancelled()
    with pytest.raises(Fenced):
        watch.require_held()
    assert not keeper.Watch(turn).is_cancelled()


def test_a_holder_that_was_paused_past_its_lease_shows_nothing_more(incoming: Any, quick: None) -> None:
    turn = claimed_turn(incoming)
    paused = replace(turn, lease=replace(turn.lease, taken_at=time.monotonic() - 0.96))
    watch = keeper.Watch(paused)
    assert not watch.may_go_outward(), "asked first, as a piece of the answer is shown before the next look"
    assert watch.is_lost
    assert keeper.Watch(turn).may_go_outward()


def test_the_end_of_one_watch_is_not_the_end_of_another_on_the_same_turn(incoming: Any, quick: None) -> None:
    old = claimed_turn(incoming)
    new = replace(old, lease=replace(old.lease, token=old.lease.token + 1))
    Lane.objects.update(lease_token=new.lease.token)
    with keeper.watch_over(new) as watch:
        with keeper.watch_over(old) as stale:
            _until(lambda: stale.is_lost)
        began = watch.renewed_at
        _until(lambda: watch.renewed_at > began)
        assert watch.is_held()


def _pid() -> int:
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def _terminate(pid: int) -> None:
    def work() -> None:
        with database.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        database.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.mark.django_db(transaction=True)
def test_a_newer_message_is_heard(incoming: Any, agent: Agent, monkeypatch: Any) -> None:
    Agent.objects.update(double_texting=Agent.DoubleTexting.INTERRUPT)
    monkeypatch.setattr(keeper, "LOOK_PERIOD_SECONDS", 0.1)
    monkeypatch.setattr(keeper, "_keeper", keeper._Keeper())
    claimed = lanes.claim(receive(incoming()).lane_id)
    assert claimed is not None
    turn = claimed[1]
    assert turn is not None
    with keeper.watch_over(turn) as watch:
        receive(incoming("and another thing"))
        _until(watch.is_cancelled)
        assert not watch.is_stopped
        with pytest.raises(keeper.Stopped):
            watch.go_on()


def _until(condition: Any) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen within 5 s")
