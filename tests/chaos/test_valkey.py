"""Valkey is emptied, hangs, dies and is full: messages are taken as ever, and worked without it and without beat."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.chaos.harness import Fleet
from tests.chaos.site import TAKEN, Crowd, Site

pytestmark = pytest.mark.fleet

PROMISED_SECONDS = 1.0
"""How long taking a message may last, whatever the broker does."""

Trouble = Callable[[Fleet, float], None]


def flushed(fleet: Fleet, seconds: float) -> None:
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        fleet.valkey.flush()
        time.sleep(0.1)


def hung(fleet: Fleet, seconds: float) -> None:
    fleet.valkey.hang()
    time.sleep(seconds)
    fleet.valkey.resume()


def restarted_empty(fleet: Fleet, seconds: float) -> None:
    fleet.valkey.kill()
    time.sleep(seconds)
    fleet.valkey.start()


def out_of_memory(fleet: Fleet, seconds: float) -> None:
    fleet.valkey.limit_memory(1)
    time.sleep(seconds)
    fleet.valkey.limit_memory(0)


@contextmanager
def valkey_mended(fleet: Fleet) -> Iterator[None]:
    """Leave a sound server to the next test, whatever happened in this one."""
    try:
        yield
    except BaseException:
        fleet.valkey.end()
        fleet.valkey.start()
        raise


@pytest.mark.parametrize(
    "trouble",
    [
        hung,
        pytest.param(flushed, marks=pytest.mark.long),
        pytest.param(restarted_empty, marks=pytest.mark.long),
        pytest.param(out_of_memory, marks=pytest.mark.long),
    ],
    ids=lambda trouble: trouble.__name__,
)
def test_messages_are_taken_and_worked_while_valkey_is(fleet: Fleet, site: Site, trouble: Trouble) -> None:
    go_through(fleet, site, trouble, seconds=3.0)


@pytest.mark.long
def test_a_broker_that_is_down_for_a_minute_under_load_costs_no_message_and_no_second(
    fleet: Fleet, site: Site
) -> None:
    share_waiting = go_through(fleet, site, restarted_empty, seconds=60.0)
    assert share_waiting < 0.5, "The workers work without the broker, not only after it."


def go_through(fleet: Fleet, site: Site, trouble: Trouble, *, seconds: float) -> float:
    """Speak through the trouble, ask for everything that was promised, and return which share of the messages had
    no final state when the trouble ended.
    """
    with valkey_mended(fleet):
        with Crowd(site) as crowd:
            trouble(fleet, seconds)
            ended_at, waiting = fleet.now(), fleet.open_count(crowd.spoken)
            time.sleep(0.3)
        fleet.wait_until_over(crowd.spoken)
    assert len(crowd.spoken) >= 4 * seconds, "There was hardly a load."
    assert {posted.status for posted in crowd.posted} == {TAKEN}
    slowest = max(posted.seconds for posted in crowd.posted)
    assert slowest < PROMISED_SECONDS + crowd.usual_seconds, f"{slowest} s, usually {crowd.usual_seconds} s"
    verdict = fleet.verdict(crowd.spoken, faults_ended_at=ended_at)
    assert verdict.is_clean, verdict
    assert not verdict.uncertain, verdict
    return waiting / len(crowd.spoken)
