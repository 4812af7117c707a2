"""Sending: in order, never blindly again, and every end recorded."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from agents import outbox, work
from agents.envelopes import Acknowledgement, Outgoing
from agents.inbox import receive
from agents.models import Agent, Delivery
from agents.outbox import MARGIN_SHARE, SEND_SHARE
from agents.processes import shutdown
from transports import delivery
from transports.base import ConnectionView, TransportError
from transports.delivery import deliver_room
from transports.models import Connection


class Network:
    """A network that fails as told and keeps what reached it."""

    name = "ledger"
    supports_streaming = False

    def __init__(
        self, *errors: Exception | None, supports_key: bool = False, key_lasts: float | None = None
    ) -> None:
        self.supports_idempotency_key = supports_key
        self.idempotency_key_lasts_seconds = key_lasts
        self.errors = list(errors)
        self.ledger: list[Outgoing] = []

    def deliver(self, _connection: ConnectionView, outgoing: Outgoing) -> Acknowledgement:
        error = self.errors.pop(0) if self.errors else None
        if error is None or getattr(error, "may_have_arrived", True):
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
    assert (second.id, second.may_have_arrived) == (first.id, True)
    outbox.record_unsent(first, state="failed", error="late")
    assert states()[0] == "sending"
    acknowledged = Acknowledgement(external_id="late", acknowledged_at=timezone.now())
    outbox.record_sent(first, acknowledged)
    assert states()[0] == "sending"
    outbox.record_sent(second, acknowledged)
    assert states()[0] == "sent"


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


def head() -> Delivery:
    first = Delivery.objects.order_by("id").first()
    assert first is not None
    return first


def expire(row: Delivery) -> None:
    Delivery.objects.filter(pk=row.pk).update(expires_at="2020-01-01T00:00:00Z")


def test_a_send_that_has_run_into_its_limit_ends_within_the_lease() -> None:
    assert SEND_SHARE + MARGIN_SHARE < 1


def test_a_worker_that_was_paused_after_its_claim_does_not_start_to_send(
    connection: Connection, answered: Any, monkeypatch: Any, settings: Any
) -> None:
    network = through(monkeypatch, Network())
    Delivery.objects.exclude(pk=head().pk).delete()
    real = outbox.claim
    pauses = [settings.DELIVERY_LEASE_SECONDS - outbox.send_timeout_seconds()]

    def paused(*places: Any) -> Any:
        claimed = real(*places)
        return claimed and replace(claimed, taken_at=claimed.taken_at - (pauses.pop() if pauses else 0.0))

    monkeypatch.setattr(outbox, "claim", paused)
    send(connection, answered)
    assert network.ledger == []
    assert (head().state, head().attempts, head().tried_at) == ("pending", 0, None)
    assert send(connection, answered) == 1, "it is known that it was not sent"


def test_a_transport_that_hangs_is_left_behind_and_its_message_uncertain(
    connection: Connection, answered: Any, monkeypatch: Any
) -> None:
    network = through(monkeypatch, Network())
    monkeypatch.setattr(outbox, "send_timeout_seconds", lambda: 0.1)
    quick = network.deliver
    hangs = [0.5]

    def hang(*given: Any) -> Acknowledgement:
        if hangs:
            time.sleep(hangs.pop())
        return quick(*given)

    monkeypatch.setattr(network, "deliver", hang)
    send(connection, answered)
    assert states() == ["uncertain", "sent"]
    assert "0.1 s" in head().error
    time.sleep(0.6)  # what was left behind reaches the network late, and changes nothing here
    assert states() == ["uncertain", "sent"]


def test_a_transport_that_breaks_in_an_unknown_way_leaves_its_message_uncertain(
    connection: Connection, answered: Any, monkeypatch: Any
) -> None:
    through(monkeypatch, Network(KeyError("id")))
    send(connection, answered)
    assert states() == ["uncertain", "sent"]


@pytest.mark.parametrize(("seconds_ago", "state"), [(20, "sent"), (100, "uncertain")])
def test_a_key_is_used_again_only_while_its_network_remembers_it(
    connection: Connection, answered: Any, monkeypatch: Any, seconds_ago: int, state: str
) -> None:
    claimed = outbox.claim(connection.pk, answered.room_id)
    assert claimed is not None
    Delivery.objects.filter(pk=claimed.id).update(
        lease_until="2020-01-01T00:00:00Z", tried_at=timezone.now() - timezone.timedelta(seconds=seconds_ago)
    )
    through(monkeypatch, Network(supports_key=True, key_lasts=120.0))
    send(connection, answered)
    assert states() == [state, "sent"]


def test_the_time_of_a_key_counts_from_the_first_attempt_that_may_have_arrived(
    connection: Connection, answered: Any, monkeypatch: Any
) -> None:
    busy = TransportError("busy", retry_after_seconds=0)
    lost = TransportError("the line went dead", may_have_arrived=True)
    through(monkeypatch, Network(busy, lost, lost, supports_key=True, key_lasts=120.0))
    send(connection, answered)
    assert head().tried_at is None, "a refusal is no arrival"
    send(connection, answered)
    first = head().tried_at
    assert first is not None
    send(connection, answered)
    assert head().tried_at == first


def test_waiting_as_long_as_the_network_asks_is_no_attempt(
    connection: Connection, answered: Any, monkeypatch: Any, settings: Any
) -> None:
    waits = settings.DELIVERY_MAX_ATTEMPTS + 3
    network = through(monkeypatch, Network(*[TransportError("busy", retry_after_seconds=1)] * waits))
    for _wait in range(waits):
        assert send(connection, answered) == 0
    assert (head().state, head().attempts) == ("pending", 0)
    assert send(connection, answered) == 2
    assert len(network.ledger) == 2


def test_a_wait_ends_when_the_reply_expires(connection: Connection, answered: Any, monkeypatch: Any) -> None:
    through(monkeypatch, Network(TransportError("busy", retry_after_seconds=86_400)))
    send(connection, answered)
    row = head()
    assert row.next_run_at == row.expires_at


def test_a_reply_that_expired_between_two_attempts_is_held_back(
    connection: Connection, answered: Any, monkeypatch: Any
) -> None:
    network = through(monkeypatch, Network(TransportError("busy")))
    send(connection, answered)
    assert head().attempts == 1
    expire(head())
    send(connection, answered)
    assert states() == ["expired", "sent"]
    assert len(network.ledger) == 1


@pytest.mark.parametrize(
    ("supports_key", "on_uncertain", "state"),
    [
        (True, Agent.OnUncertain.DROP, "sent"),
        (False, Agent.OnUncertain.DROP, "uncertain"),
        (False, Agent.OnUncertain.RESEND, "uncertain"),
    ],
)
def test_an_expired_reply_that_may_have_arrived_is_never_called_expired(
    connection: Connection,
    answered: Any,
    monkeypatch: Any,
    supports_key: bool,
    on_uncertain: str,
    state: str,
) -> None:
    Agent.objects.update(on_uncertain=on_uncertain)
    claimed = outbox.claim(connection.pk, answered.room_id)
    assert claimed is not None
    Delivery.objects.filter(pk=claimed.id).update(lease_until="2020-01-01T00:00:00Z")
    expire(head())
    through(monkeypatch, Network(supports_key=supports_key))
    send(connection, answered)
    assert states() == [state, "sent"]


def test_what_was_sent_is_recorded_when_the_database_is_back(
    connection: Connection, answered: Any, monkeypatch: Any
) -> None:
    network = through(monkeypatch, Network())
    monkeypatch.setattr(delivery, "RECORD_PAUSES_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(delivery.connection, "close", lambda: None)
    real, failures = outbox.record_sent, [OperationalError("the server closed the connection")]

    def record(*given: Any) -> bool:
        if failures:
            raise failures.pop()
        return real(*given)

    monkeypatch.setattr(outbox, "record_sent", record)
    assert send(connection, answered) == 2
    assert states() == ["sent", "sent"]
    assert len(network.ledger) == 2


def test_a_worker_that_is_to_end_begins_to_send_nothing(
    connection: Connection, answered: Any, monkeypatch: Any
) -> None:
    network = through(monkeypatch, Network())
    shutdown.begin()
    try:
        assert send(connection, answered) == 0
    finally:
        shutdown.forget()
    assert (states(), network.ledger) == (["pending", "pending"], [])
    assert send(connection, answered) == 2
