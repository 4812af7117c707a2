"""The fake networks: what they show, what their senders see, and what stands in the ledger."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from agents.envelopes import Outgoing
from transports.base import ConnectionView, TransportError
from transports.fake import ledger
from transports.fake.transport import FakeTransport, KeylessFakeTransport
from transports.registry import get_transport


def outgoing(number: int = 1) -> Outgoing:
    return Outgoing(
        delivery_id=number,
        message_id=UUID(int=number),
        room_id=uuid4(),
        room_external_id="dm-ann",
        room_type="DM",
        text="Hello.",
        nonce=f"nonce-{number}",
        reply_to_external_id=f"m-{number}",
    )


def view(**settings: Any) -> ConnectionView:
    return ConnectionView(id=uuid4(), agent_id=uuid4(), platform="telegram", settings=settings)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def test_without_a_ledger_everything_is_taken() -> None:
    assert FakeTransport().deliver(view(), outgoing()).external_id == "fake-nonce-1"


def test_a_keyed_network_shows_a_message_once_and_notes_the_second_arrival(path: Path) -> None:
    network = get_transport("fake")
    answers = [network.deliver(view(ledger=str(path)), outgoing()) for _attempt in range(2)]
    assert len({answer.external_id for answer in answers}) == 1
    first, second = ledger.read(path)
    assert (first.is_shown, first.attempt, first.reply_to, first.room) == (True, 1, "m-1", "dm-ann")
    assert (second.is_shown, second.is_suppressed, second.attempt) == (False, True, 2)


def test_a_keyless_network_shows_it_twice(path: Path) -> None:
    network = get_transport("fake-keyless")
    assert not network.supports_idempotency_key
    for _attempt in range(2):
        network.deliver(view(ledger=str(path)), outgoing())
    assert [arrival.is_shown for arrival in ledger.read(path)] == [True, True]


@pytest.mark.parametrize(
    ("fail", "permanent", "may_have_arrived", "is_shown"),
    [
        ("permanent", True, False, False),
        ("temporary", False, False, False),
        ("lost_acknowledgement", False, True, True),
        ("timeout", False, True, False),
    ],
)
def test_each_failure_is_seen_by_its_sender_and_stands_in_the_ledger(
    path: Path, fail: str, permanent: bool, may_have_arrived: bool, is_shown: bool
) -> None:
    with pytest.raises(TransportError) as caught:
        FakeTransport().deliver(view(ledger=str(path), fail=fail, retry_after_seconds=7), outgoing())
    assert (caught.value.permanent, caught.value.may_have_arrived) == (permanent, may_have_arrived)
    assert caught.value.retry_after_seconds == (7.0 if fail == "temporary" else None)
    (arrival,) = ledger.read(path)
    assert (arrival.answer, arrival.is_shown) == (fail, is_shown)


def test_what_arrived_without_acknowledgement_is_not_shown_again(path: Path) -> None:
    connection = view(ledger=str(path), fail="lost_acknowledgement", fail_attempts=1)
    with pytest.raises(TransportError):
        FakeTransport().deliver(connection, outgoing())
    FakeTransport().deliver(connection, outgoing())
    assert [arrival.is_shown for arrival in ledger.read(path)] == [True, False]


def test_a_slow_network_takes_the_message_first(path: Path) -> None:
    connection = view(ledger=str(path), fail="slow", slow_seconds=0.0)
    assert FakeTransport().deliver(connection, outgoing()).external_id == "fake-nonce-1"
    assert ledger.read(path)[0].is_shown


def test_a_share_of_the_messages_fails_and_always_the_same_ones(path: Path) -> None:
    connection = view(ledger=str(path), fail="permanent", fail_share=0.5)
    for number in [*range(40), *range(40)]:
        try:
            FakeTransport().deliver(connection, outgoing(number))
        except TransportError:
            continue
    answers = Counter((arrival.nonce, arrival.answer) for arrival in ledger.read(path))
    assert set(answers.values()) == {2}
    assert len({answer for _nonce, answer in answers}) == 2


def _send_twenty(path: str) -> None:
    for number in range(20):
        FakeTransport().deliver(view(ledger=path), outgoing(number))


def test_many_processes_share_one_ledger(path: Path) -> None:
    workers = [
        multiprocessing.get_context("fork").Process(target=_send_twenty, args=(str(path),)) for _ in "abc"
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    arrivals = ledger.read(path)
    assert len(arrivals) == 60
    assert Counter(arrival.nonce for arrival in arrivals if arrival.is_shown) == Counter(
        f"nonce-{number}" for number in range(20)
    )
    assert KeylessFakeTransport.name != FakeTransport.name
