"""A worker is stopped past its lease within an answer: another answers, and the first changes nothing more."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import pytest

from tests.chaos.crew import Process
from tests.chaos.harness import KEYED, LEASE_SECONDS, Fleet, Spoken

pytestmark = [pytest.mark.fleet, pytest.mark.long]

STREAMED = "fake-streamed"
HELD = """
SELECT lane.lease_owner, lane.lease_token, turn.room_id
FROM agents_turn AS turn JOIN agents_lane AS lane ON lane.id = turn.lane_id
WHERE turn.id = %s::uuid AND turn.state = 'running' AND lane.lease_until > clock_timestamp()
"""


@pytest.fixture
def streamed(fleet: Fleet) -> str:
    """A network that shows answers while they are written."""
    fleet.add_network(STREAMED, KEYED, is_streaming=True)
    return STREAMED


def events_of(fleet: Fleet, room: Any, turn: str) -> list[dict[str, str]]:
    """Return what stands in the room's stream of this turn, in its order."""
    entries = fleet.valkey.client().xrange(f"eliza:room:{room}")
    read = [{key.decode(): value.decode() for key, value in fields.items()} for _id, fields in entries]
    return [fields for fields in read if fields["turn"] == turn]


def holder_of(fleet: Fleet, message: Spoken) -> tuple[Process, int, Any]:
    """Return which worker answers the message at the moment, by which token, and the room."""
    fleet.wait(lambda: fleet.sql(HELD, message.turn_id), "a worker that answers")
    owner, token, room = fleet.sql(HELD, message.turn_id)[0]
    pid = int(owner.rpartition(":")[2])
    return next(worker for worker in fleet.crew.workers if worker.pid == pid), token, room


@pytest.mark.parametrize("has_spoken", [False, True], ids=["before_the_first_token", "among_the_tokens"])
def test_a_worker_that_was_stopped_past_its_lease_says_nothing_when_it_wakes(
    fleet: Fleet, streamed: str, has_spoken: bool
) -> None:
    # Long enough for the lease to end first, and for tokens to wait in the socket of the one that sleeps.
    fleet.model.control({"gap_ms": 100.0} if has_spoken else {"latency_ms": 1000.0})
    person = fleet.new_person()
    spoken = [fleet.say("", person, network=streamed) for _message in range(2)]
    first = spoken[0]
    worker, old_token, room = holder_of(fleet, first)
    if has_spoken:
        fleet.wait(lambda: events_of(fleet, room, first.turn_id), "the first token")
    worker.signal(signal.SIGSTOP)
    try:
        fleet.wait_until_over(spoken)
        woken_at = len(events_of(fleet, room, first.turn_id))
    finally:
        worker.signal(signal.SIGCONT)
    time.sleep(LEASE_SECONDS)
    events = events_of(fleet, room, first.turn_id)
    assert events[woken_at:] == [], "the one that woke said something"
    new = [event for event in events if event["token"] != str(old_token)]
    assert events[-len(new) :] == new, "old words after the new ones"
    words = "".join(json.loads(event["data"])["text"] for event in new if event["event"] == "token")
    assert words == first.text
    verdict = fleet.verdict(spoken)
    assert verdict.is_clean, verdict
    assert verdict.answered == 2
    assert worker.is_running()


def test_a_worker_that_was_stopped_for_less_than_its_lease_loses_nothing(fleet: Fleet, streamed: str) -> None:
    fleet.model.control({"gap_ms": 100.0})
    message = fleet.say("", fleet.new_person(), network=streamed)
    worker, token, room = holder_of(fleet, message)
    worker.signal(signal.SIGSTOP)
    time.sleep(LEASE_SECONDS / 4)
    worker.signal(signal.SIGCONT)
    fleet.wait_until_over([message])
    assert fleet.verdict([message]).is_clean
    assert fleet.asked([message]) == [1]
    tokens = {event["token"] for event in events_of(fleet, room, message.turn_id)}
    assert tokens == {str(token)}
