"""Lanes: one holder at a time, and no message left without anyone to wake."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction

from agents import lanes
from agents.inbox import receive
from agents.lanes import Lease
from agents.models import Lane, Turn
from tests.doubles.waiting import LONG_AGO, leave_behind


def test_a_claimed_lane_is_not_claimed_again_until_its_lease_ends(incoming: Any) -> None:
    lane_id = receive(incoming()).lane_id
    first = lanes.claim(lane_id)
    assert first is not None
    assert lanes.claim(lane_id) is None
    Lane.objects.update(lease_until="2020-01-01T00:00:00Z")
    second = lanes.claim(lane_id)
    assert second is not None
    assert second[0].token == first[0].token + 1


def test_an_empty_a_delayed_and_an_unknown_lane_are_not_claimed(incoming: Any) -> None:
    receipt = receive(incoming())
    Lane.objects.update(next_run_at="2999-01-01T00:00:00Z")
    assert lanes.claim(receipt.lane_id) is None
    Lane.objects.update(next_run_at="2020-01-01T00:00:00Z")
    Turn.objects.update(state=Turn.State.DONE)
    assert lanes.claim(receipt.lane_id) is None
    assert lanes.claim(receipt.turn_id) is None


def test_renewing_tells_which_leases_are_still_held(incoming: Any) -> None:
    held = lanes.claim(receive(incoming(person="ann")).lane_id)
    lost = lanes.claim(receive(incoming(person="bob")).lane_id)
    assert held is not None
    assert lost is not None
    Lane.objects.filter(pk=lost[0].lane_id).update(lease_token=99)
    assert lanes.renew([held[0], lost[0]]) == {held[0]}


def test_a_lane_with_an_open_turn_is_not_released(incoming: Any) -> None:
    lease, _turn = lanes.claim(receive(incoming()).lane_id) or (None, None)
    assert lease is not None
    assert lanes.release_if_empty(lease) is False
    Turn.objects.update(state=Turn.State.DONE)
    assert lanes.release_if_empty(Lease(lane_id=lease.lane_id, token=99)) is False
    assert lanes.release_if_empty(lease) is True


def test_what_was_left_behind_is_found_once_in_a_while(incoming: Any) -> None:
    left = receive(incoming(person="ann")).lane_id
    receive(incoming(person="bob"))
    leave_behind(left)
    assert lanes.find_due(limit=10, patience_seconds=5) == [left], "the other was woken just now"
    assert lanes.find_due(limit=10, patience_seconds=5) == []


def test_a_message_after_long_silence_is_left_to_its_wake_up(incoming: Any) -> None:
    receive(incoming())
    Lane.objects.update(woke_at=LONG_AGO)
    assert lanes.find_due(limit=10, patience_seconds=5) == []


def test_who_goes_on_talking_is_found_as_well(incoming: Any) -> None:
    lane_id = receive(incoming("first")).lane_id
    leave_behind(lane_id)
    receive(incoming("second"))
    assert lanes.find_due(limit=10, patience_seconds=5) == [lane_id]
    receive(incoming("third"))
    assert lanes.find_due(limit=10, patience_seconds=5) == [], "somebody was told just now"


@pytest.mark.django_db(transaction=True)
def test_a_message_that_comes_while_the_lane_is_released_is_not_left_behind(incoming: Any) -> None:
    """The release waits for a message that is being stored, and then sees it."""
    lease, _turn = lanes.claim(receive(incoming()).lane_id) or (None, None)
    assert lease is not None
    Turn.objects.update(state=Turn.State.DONE)
    is_stored, may_commit, outcome = threading.Event(), threading.Event(), []

    def store() -> None:
        with transaction.atomic():
            receive(incoming("one more"))
            is_stored.set()
            may_commit.wait(5)
        database.close()

    def release() -> None:
        with transaction.atomic():
            lanes.renew([lease])
            outcome.append(lanes.release_if_empty(lease))
        database.close()

    storing, releasing = threading.Thread(target=store), threading.Thread(target=release)
    storing.start()
    assert is_stored.wait(5)
    releasing.start()
    time.sleep(0.3)
    assert outcome == [], "the release waits for the lane's row"
    may_commit.set()
    storing.join()
    releasing.join()
    assert outcome == [False]
    assert Turn.objects.filter(state="waiting").count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_one_gets_the_lane(incoming: Any) -> None:
    lane_id = receive(incoming()).lane_id
    got: list[object] = []

    def claim() -> None:
        got.append(lanes.claim(lane_id))
        database.close()

    threads = [threading.Thread(target=claim) for _worker in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 12
    assert sum(claimed is not None for claimed in got) == 1
    assert Turn.objects.get().crash_count == 0


def test_who_lost_the_lane_takes_no_turn_from_it_and_does_not_release_it(incoming: Any) -> None:
    lane_id = receive(incoming()).lane_id
    lost, _turn = lanes.claim(lane_id) or (None, None)
    assert lost is not None
    Lane.objects.update(lease_until="2020-01-01T00:00:00Z")
    held, turn = lanes.claim(lane_id) or (None, None)
    assert held is not None
    assert turn is not None
    assert lanes.take_next(lost) is None
    assert lanes.read_taken(lost, turn.id) is None
    lanes.release(lost)
    assert Lane.objects.get().lease_until is not None
    assert lanes.read_taken(held, turn.id) is not None
    assert Turn.objects.get().take_count == 2
    lanes.release(held)
    assert Lane.objects.get().lease_until is None


def test_a_heartbeat_leaves_the_lease_of_another_as_it_is(incoming: Any) -> None:
    lease, _turn = lanes.claim(receive(incoming()).lane_id) or (None, None)
    assert lease is not None
    Lane.objects.update(lease_token=lease.token + 1, lease_until="2020-01-01T00:00:00Z")
    lanes.keep([(lease.lane_id, lease.token)])
    before_now = Lane.objects.filter(lease_until="2020-01-01T00:00:00Z")
    assert before_now.exists(), "the other's lease is over, and somebody else may claim the lane"


def test_a_lane_whose_holder_died_is_found_when_its_lease_is_over(incoming: Any) -> None:
    lane_id = receive(incoming()).lane_id
    assert lanes.claim(lane_id) is not None
    leave_behind(lane_id)
    assert lanes.find_due(limit=10, patience_seconds=5) == [], "it is held"
    Lane.objects.update(lease_until="2020-01-01T00:00:00Z")
    assert lanes.find_due(limit=10, patience_seconds=5) == [lane_id]
