"""Sending: in order, never blindly again, and every end recorded."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from agents import outbox, work
from agents.envelopes import Acknowledgement, Outgoing
from agents.inbox import receive
from agents.models import Agent, Delivery
from transports import delivery
from transports.base import ConnectionView, TransportError
from transports.delivery import deliver_room
from transports.models import Connection


class Network:
    """A network that fails as told and keeps what reached it."""

    name = "ledger"
    supports_streaming = False

    def __init__(self, *errors: TransportError | None, supports_key: bool = False) -> None:
        self.supports_idempotency_key = supports_key
        self.errors = list(errors)
        self.ledger: list[Outgoing] = []

    def deliver(self, _connection: ConnectionView, outgoing: Outgoing) -> Acknowledgement:
        error = self.errors.pop(0) if self.errors else None
        if error is None or error.may_have_arrived:
            self.ledger.append(outgoing)
        if error is not None:
            raise error
        return Acknowledgement(external_id=f"net-{len(self.ledger)}", acknowledged_at=timezone.now())


@pytest.fixture
def answered(incoming: Any, model: Any) -> Any:
    """Two messages that were answered, and wait to be sent."""
    for _number in range(2):
        receipt = receive(incoming())
    work.drain_lane(receipt.lane_id)
    return receipt


def through(monkeypatch: Any, network: Network) -> Network:
    monkeypatch.setattr(delivery, "get_transport", lambda _name: network)
    return network


def send(connection: Connection, receipt: Any) -> int:
    Delivery.objects.update(next_run_at="2020-01-01T00:00:00Z")
    return deliver_room(connection.pk, receipt.room_id)


def states() -> list[str]:
    return list(Delivery.objects.order_by("id").values_list("state", flat=True))


def test_a_rooms_deliveries_are_sent_in_their_order_and_acknowledged(
    connection: Connection, answered: Any, monkeypatch: Any
) -> None:
    network = through(monkeypatch, Network())
    assert send(connection, answered) == 2
    assert states() == ["sent", "sent"]
    assert [sent.delivery_id for sent in network.ledger] == sorted(
        Delivery.objects.values_list("id", flat=True)
    )
    first = Delivery.objects.order_by("id").first()
    assert first is not None
    assert first.answer["external_id"] == "net-1"
    assert first.sent_at is not None


def test_a_busy_network_is_tried_again_later_and_nothing_overtakes(
    connection: Connection, answered: Any, monkeypatch: Any
) -> None:
    busy = TransportError("busy", retry_after_seconds=7)
    network = through(monkeypatch, Network(busy))
    assert send(connection, answered) == 0
    head = Delivery.objects.order_by("id").first()
    assert head is not None
    assert (head.state, head.error) == ("pending", "busy")
    assert head.next_run_at > timezone.now() + timezone.timedelta(seconds=5)
    assert deliver_room(connection.pk, answered.room_id) == 0, "the second waits behind the first"
    assert send(connection, answered) == 2
    assert [sent.delivery_id for sent in network.ledger] == sorted(
        Delivery.objects.values_list("id", flat=True)
    )


def test_a_permanent_refusal_counts_as_passed(
    connection: Connection, answered: Any, monkeypatch: Any
) -> None:
    through(monkeypatch, Network(TransportError("no such room", permanent=True)))
    assert send(connection, answered) == 1
    assert states() == ["failed", "sent"]


def test_a_network_that_stays_busy_is_given_up(
    connection: Connection, answered: Any, monkeypatch: Any, settings: Any
) -> None:
    through(monkeypatch, Network(*[TransportError("busy")] * 10))
    for _attempt in range(settings.DELIVERY_MAX_ATTEMPTS):
        send(connection, answered)
    assert states()[0] == "failed"


@pytest.mark.parametrize(
    ("supports_key", "on_uncertain", "state", "arrived"),
    [
        (True, Agent.OnUncertain.DROP, "sent", 3),
        (False, Agent.OnUncertain.DROP, "uncertain", 2),
        (False, Agent.OnUncertain.RESEND, "sent", 3),
    ],
)
def test_a_lost_acknowledgement_is_repeated_only_where_that_is_safe_or_wished(
    connection: Connection,
    answered: Any,
    monkeypatch: Any,
    supports_key: bool,
    on_uncertain: str,
    state: str,
    arrived: int,
) -> None:
    Agent.objects.update(on_uncertain=on_uncertain)
    lost = TransportError("the line went dead", may_have_arrived=True)
    network = through(monkeypatch, Network(lost, supports_key=supports_key))
    send(connection, answered)
    send(connection, answered)
    assert states() == [state, "sent"]
    assert len(network.ledger) == arrived
    assert len({sent.nonce for sent in network.ledger}) == 2, "a repeated message keeps its key"


@pytest.mark.parametrize(("supports_key", "state"), [(True, "sent"), (False, "uncertain")])
def test_a_delivery_whose_worker_died_follows_the_same_rule(
    connection: Connection, answered: Any, monkeypatch: Any, supports_key: bool, state: str
) -> None:
    claimed = outbox.claim(connection.pk, answered.room_id)
    assert claimed is not None
    network = through(monkeypatch, Network(supports_key=supports_key))
    assert send(connection, answered) == 0, "its lease still stands"
    Delivery.objects.filter(pk=claimed.id).update(lease_until="2020-01-01T00:00:00Z")
    send(connection, answered)
    assert states() == [state, "sent"]
    assert len(network.ledger) == (2 if supports_key else 1)


def test_a_sender_that_lost_its_lease_records_nothing(connection: Connection, answered: Any) -> None:
    first = outbox.claim(connection.pk, answered.room_id)
    assert first is not None
    Delivery.objects.filter(pk=first.id).update(lease_until="2020-01-01T00:00:00Z")
    second = outbox.claim(connection.pk, answered.room_id)
    assert second is not None
    assert (second.id, second.was_sending) == (first.id, True)
    outbox.record_unsent(first, state="failed", error="late")
    assert states()[0] == "sending"


def test_a_reply_that_waited_too_long_is_held_back(
    connection: Connection, answered: Any, monkeypatch: Any
) -> None:
    network = through(monkeypatch, Network())
    head = Delivery.objects.order_by("id").first()
    assert head is not None
    Delivery.objects.filter(pk=head.pk).update(expires_at="2020-01-01T00:00:00Z")
    send(connection, answered)
    assert states() == ["expired", "sent"]
    assert len(network.ledger) == 1


def test_an_unknown_transport_is_a_failure_with_its_name(connection: Connection, answered: Any) -> None:
    Connection.objects.update(transport="pigeon")
    send(connection, answered)
    assert states() == ["failed", "failed"]
    assert "pigeon" in Delivery.objects.all()[0].error
