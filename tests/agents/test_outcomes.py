"""Waiting for turns: each is told once, when it and its deliveries are over."""

from __future__ import annotations

from typing import Any

import pytest

from agents import outcomes, work
from agents.inbox import receive
from agents.models import Delivery, Turn
from agents.outcomes import TurnWatch, ended_turns
from transports.delivery import deliver_room


def test_a_turn_is_over_when_its_deliveries_are(incoming: Any, model: Any, connection: Any) -> None:
    receipt = receive(incoming())
    assert ended_turns([receipt.turn_id]) == []
    work.drain_lane(receipt.lane_id)
    assert ended_turns([receipt.turn_id]) == []
    deliver_room(connection.pk, receipt.room_id)

    (ended,) = ended_turns([receipt.turn_id])
    assert (ended.id, ended.result) == (receipt.turn_id, "answered")
    assert [reply.text for reply in ended.replies] == ["Hello to you too."]
    assert ended.replies[0].replied_at == Delivery.objects.get().sent_at


@pytest.mark.parametrize(
    ("state", "delivery", "result"),
    [
        ("done", "sent", "answered"),
        ("done", "uncertain", "undelivered"),
        ("dead", "sent", "apologised"),
        ("stopped", "", "stopped"),
        ("parked", "", "parked"),
        ("done", "", "silent"),
    ],
)
def test_what_came_of_a_turn_has_one_word(
    incoming: Any, model: Any, state: str, delivery: str, result: str
) -> None:
    receipt = receive(incoming())
    work.drain_lane(receipt.lane_id)
    Turn.objects.update(state=state)
    if delivery:
        Delivery.objects.update(state=delivery)
    else:
        Delivery.objects.all().delete()
    assert ended_turns([receipt.turn_id])[0].result == result


def test_a_look_is_one_statement_and_all_have_their_turn(
    incoming: Any, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(outcomes, "LOOK_SIZE", 2)
    receipts = [receive(incoming(person=f"p{number}")) for number in range(5)]
    watch = TurnWatch()
    for receipt in receipts:
        watch.add(receipt.turn_id)
    Turn.objects.filter(pk=receipts[3].turn_id).update(state="done")

    with django_assert_num_queries(2):
        assert watch.look() == []
        (ended,) = watch.look()
    assert ended.id == receipts[3].turn_id
    assert len(watch) == 4
    Turn.objects.update(state="stopped")
    found = [turn.id for _look in range(3) for turn in watch.look()]
    assert sorted(found) == sorted(receipt.turn_id for receipt in receipts if receipt != receipts[3])
    with django_assert_num_queries(0):
        assert watch.look() == []
