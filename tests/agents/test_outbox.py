"""The outbox: each part said once, handed on after the commit, and claimed from the front."""

from __future__ import annotations

from typing import Any
from unicodedata import normalize

import pytest
from django.db import IntegrityError, transaction

from agents import outbox, wakeups, work
from agents.inbox import receive
from agents.models import Delivery, Message
from agents.outbox import Destination, Reply
from tests.doubles.storing import open_until_waited_for
from transports.models import Connection


@pytest.fixture
def answered(incoming: Any, model: Any) -> Any:
    """Two messages that were answered, and wait to be sent."""
    for _number in range(2):
        receipt = receive(incoming())
    work.drain_lane(receipt.lane_id)
    return receipt


def head() -> Delivery:
    first = Delivery.objects.order_by("id").first()
    assert first is not None
    return first


def let_leases_end() -> None:
    Delivery.objects.filter(state="sending").update(lease_until="2020-01-01T00:00:00Z")


def test_a_turn_says_each_part_of_its_reply_once(connection: Connection, incoming: Any) -> None:
    receipt = receive(incoming())
    destination = Destination(
        agent_id=connection.agent_id,
        connection_id=connection.pk,
        room_id=receipt.room_id,
        turn_id=receipt.turn_id,
    )
    outbox.put(destination, [Reply(text="Well."), Reply(text=normalize("NFD", "Olé."))])
    with pytest.raises(IntegrityError, match="one_reply_a_turn_position"), transaction.atomic():
        outbox.put(destination, [Reply(text="Well.")])
    said = Message.objects.filter(direction="out").order_by("position").values_list("text", flat=True)
    assert list(said) == ["Well.", "Olé."], "composed, whoever says it"
    assert Delivery.objects.count() == 2


def test_a_reply_is_handed_on_after_the_commit(
    incoming: Any, model: Any, monkeypatch: Any, django_capture_on_commit_callbacks: Any
) -> None:
    woken: list[str] = []
    monkeypatch.setattr(wakeups, "wake", lambda name, **arguments: bool(woken.append(name) or True))
    receipt = receive(incoming())
    with django_capture_on_commit_callbacks(execute=True):
        work.drain_lane(receipt.lane_id)
        assert "transports.deliver_message" not in woken
    assert "transports.deliver_message" in woken


@pytest.mark.django_db(transaction=True)
def test_a_claim_waits_for_the_first_in_line_instead_of_taking_the_second(
    connection: Connection, answered: Any
) -> None:
    with open_until_waited_for(lambda: list(Delivery.objects.select_for_update().filter(pk=head().pk))):
        claimed = outbox.claim(connection.pk, answered.room_id)
    assert claimed is not None
    assert claimed.id == head().pk


@pytest.mark.django_db(transaction=True)
def test_a_claim_that_waited_for_another_knows_what_that_one_did(
    connection: Connection, answered: Any
) -> None:
    """The other may have sent it: what the claim read before it waited is not true any more."""

    def claim_and_die() -> None:
        assert outbox.claim(connection.pk, answered.room_id) is not None
        let_leases_end()

    with open_until_waited_for(claim_and_die):
        claimed = outbox.claim(connection.pk, answered.room_id)
    assert claimed is not None
    assert (claimed.id, claimed.attempts, claimed.may_have_arrived) == (head().pk, 2, True)


def test_a_delivery_whose_worker_died_is_found_when_its_lease_is_over(
    connection: Connection, answered: Any
) -> None:
    assert outbox.claim(connection.pk, answered.room_id) is not None
    assert outbox.find_due(10) == [], "it is held"
    let_leases_end()
    assert outbox.find_due(10) == [(connection.pk, answered.room_id)]
