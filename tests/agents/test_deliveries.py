"""What people decide about deliveries that were not sent."""

from __future__ import annotations

from typing import Any

import pytest

from agents import deliveries, outbox, work
from agents.inbox import receive
from agents.models import AuditEntry, Delivery
from transports.delivery import deliver_room

UNSENT = ("uncertain", "failed", "expired")


@pytest.fixture
def answered(incoming: Any, model: Any) -> Any:
    """A message of Ann's that was answered three times, and waits to be sent."""
    for _number in range(3):
        receipt = receive(incoming())
    work.drain_lane(receipt.lane_id)
    return receipt


def ids(*states: str) -> list[int]:
    rows = Delivery.objects.order_by("id")
    for row, state in zip(rows, states, strict=True):
        Delivery.objects.filter(pk=row.pk).update(state=state, attempts=5, expires_at="2020-01-01T00:00:00Z")
    return [row.pk for row in rows]


def states() -> list[str]:
    return list(Delivery.objects.order_by("id").values_list("state", flat=True))


def test_what_is_sent_again_gets_time_and_attempts_anew_and_keeps_its_key(
    connection: Any, answered: Any, monkeypatch: Any, django_capture_on_commit_callbacks: Any
) -> None:
    woken: list[str] = []
    monkeypatch.setattr("agents.wakeups.wake", lambda name, **arguments: woken.append(name))
    asked = ids(*UNSENT)
    with django_capture_on_commit_callbacks(execute=True):
        assert deliveries.resend(asked, by="ada", why="They asked for it.") == asked
    assert woken == ["transports.deliver_message"], "once a room"
    assert set(Delivery.objects.values_list("state", "attempts", "tried_at")) == {("pending", 0, None)}
    claimed = outbox.claim(connection.pk, answered.room_id)
    assert claimed is not None
    assert claimed.id == asked[0]
    assert (claimed.is_expired, claimed.may_have_arrived) == (False, False)
    assert claimed.outgoing.nonce == outbox.nonce_of(claimed.outgoing.message_id)
    Delivery.objects.update(state="pending", lease_until=None)
    assert deliver_room(connection.pk, answered.room_id) == 3


@pytest.mark.parametrize(("verb", "state"), [("mark_sent", "sent"), ("drop", "failed")])
def test_a_decision_stands_in_the_audit(answered: Any, verb: str, state: str) -> None:
    asked = ids(*UNSENT)
    assert getattr(deliveries, verb)(asked, by="ada", why="Seen in the channel.") == asked
    assert set(states()) == {state}
    entries = AuditEntry.objects.filter(object_kind="delivery", actor="ada", verb=verb)
    assert list(entries.order_by("id").values_list("object_id", "reason", "details")) == [
        (str(key), "Seen in the channel.", {"from": was}) for key, was in zip(asked, UNSENT, strict=True)
    ]


@pytest.mark.parametrize("state", ["pending", "sending", "sent"])
def test_what_is_open_or_sent_is_not_decided_about(answered: Any, state: str) -> None:
    asked = ids(state, "uncertain", state)
    assert deliveries.resend(asked, by="ada", why="All of them.") == [asked[1]]
    assert deliveries.drop(asked, by="bob", why="None of them.") == [], "the second to decide comes late"
    assert AuditEntry.objects.get().object_id == str(asked[1])


def test_a_decision_without_a_reason_is_refused(answered: Any) -> None:
    asked = ids(*UNSENT)
    with pytest.raises(deliveries.NoReason):
        deliveries.resend(asked, by="ada", why="  ")
    assert (states(), AuditEntry.objects.count()) == (list(UNSENT), 0)
