"""The dispatcher: what was left behind is found, and worked without a broker where there is none."""

from __future__ import annotations

import time
from typing import Any

import pytest

from agents import dispatcher, outbox, work
from agents.inbox import receive
from agents.models import Delivery, Turn
from memory.models import Memory
from tests.doubles.waiting import leave_behind


@pytest.fixture
def handed_out(monkeypatch: Any) -> list[str]:
    names: list[str] = []
    monkeypatch.setattr(dispatcher, "wake", lambda name, **arguments: bool(names.append(name) or True))
    return names


def test_nothing_is_handed_out_where_nothing_is_due(agent: Any, handed_out: list[str]) -> None:
    assert dispatcher.dispatch_once() == 0
    assert handed_out == []


def test_what_is_due_is_handed_out_by_name(incoming: Any, model: Any, handed_out: list[str]) -> None:
    receipt = receive(incoming(person="ann"))
    work.drain_lane(receipt.lane_id)
    receive(incoming(person="bob"))
    leave_behind()
    Delivery.objects.update(next_run_at="2020-01-01T00:00:00Z")
    Memory.objects.update(created_at="2020-01-01T00:00:00Z")

    assert dispatcher.dispatch_once() == 3
    assert sorted(handed_out) == ["agents.drain_lane", "memory.embed_memories", "transports.deliver_message"]


def test_a_fresh_delivery_is_left_to_the_wake_up_on_its_way(incoming: Any, model: Any) -> None:
    receipt = receive(incoming())
    work.drain_lane(receipt.lane_id)
    assert outbox.find_due(10) == []


@pytest.mark.django_db(transaction=True)
def test_without_a_broker_the_dispatcher_works_by_itself(incoming: Any, model: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(dispatcher, "wake", lambda name, **arguments: False)
    receive(incoming())
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not Delivery.objects.filter(state="sent").exists():
        leave_behind()
        Delivery.objects.update(next_run_at="2020-01-01T00:00:00Z")
        dispatcher.dispatch_once()
        time.sleep(0.1)
    assert Turn.objects.get().state == "done"
    assert Delivery.objects.get().state == "sent"
