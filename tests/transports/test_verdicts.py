"""The verdict: each fault that is planted in the ledger or in the rows is found, and named."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection as database

from agents import work
from agents.inbox import receive
from transports.delivery import deliver_room
from transports.fake.ledger import Arrival
from transports.verdicts import Fate, Said, Verdict, find_open, judge, read_fates

ENDED_AT = dt.datetime(2026, 5, 1, 12, 0, 7, tzinfo=dt.UTC)
SAID = [Said(external_id=f"m{number}", conversation="ann") for number in range(3)]
FATES = [
    Fate(
        external_id=f"m{number}",
        turn_id=f"t{number}",
        state="done",
        outcome="replied",
        reply_id=f"r{number}",
        position=0,
        delivery_state="sent",
        ended_at=ENDED_AT,
    )
    for number in range(3)
]
ARRIVALS = [
    Arrival(
        at="2026-05-01T12:00:00+00:00",
        connection="c",
        room="dm-ann",
        message=f"r{number}",
        reply_to=f"m{number}",
        nonce=f"n{number}",
        attempt=1,
        answer="acknowledged",
        is_shown=True,
    )
    for number in range(3)
]


def verdict_with(*changed: Fate, **more: Any) -> Verdict:
    by_id = {fate.external_id: fate for fate in changed}
    return judge(SAID, ARRIVALS, [by_id.get(fate.external_id, fate) for fate in FATES], **more)


def test_what_went_well_is_clean() -> None:
    verdict = judge(SAID, ARRIVALS, FATES, faults_ended_at=ENDED_AT - dt.timedelta(seconds=7))
    assert verdict.is_clean
    assert (verdict.said, verdict.received, verdict.answered, verdict.silent) == (3, 3, 3, 0)
    assert verdict.seconds_to_converge == 7.0


def test_a_message_that_is_not_stored_is_lost() -> None:
    verdict = judge(SAID, ARRIVALS, FATES[1:])
    assert verdict.lost == ("m0 is not stored",)
    assert verdict.received == 2
    assert verdict.seconds_to_converge is None


def test_a_message_without_a_turn_is_lost() -> None:
    assert verdict_with(Fate(external_id="m0")).lost == ("m0 is stored without a turn",)


@pytest.mark.parametrize("state", ["waiting", "running"])
def test_an_open_turn_is_lost(state: str) -> None:
    verdict = verdict_with(replace(FATES[1], state=state))
    assert verdict.lost == (f"m1 is still {state}",)
    assert verdict.seconds_to_converge is None


def test_a_dead_letter_is_lost_unless_it_is_at_fault() -> None:
    dead = replace(FATES[1], state="dead", outcome="apologised", error="boom")
    verdict = verdict_with(dead)
    assert (len(verdict.lost), len(verdict.dead_letters), verdict.answered) == (1, 1, 2)
    verdict = verdict_with(dead, guilty={"m1"})
    assert verdict.is_clean
    assert verdict.dead_letters == ("m1 became a dead letter: boom",)


def test_a_reply_that_is_marked_as_sent_and_was_never_shown_is_lost() -> None:
    verdict = judge(SAID, ARRIVALS[:2], FATES)
    assert verdict.lost == ("m2 has a reply that is marked as sent, and was never shown",)
    assert verdict.answered == 2


def test_a_suppressed_arrival_is_no_second_showing() -> None:
    again = replace(ARRIVALS[1], attempt=2, is_shown=False)
    assert judge(SAID, [*ARRIVALS, again], FATES).is_clean


@pytest.mark.parametrize("state", ["pending", "sending", ""])
def test_an_open_delivery_is_lost(state: str) -> None:
    verdict = verdict_with(replace(FATES[2], delivery_state=state))
    assert len(verdict.lost) == 1
    assert find_open(SAID, [*FATES[:2], replace(FATES[2], delivery_state=state)]) == {"m2"}


def test_a_turn_that_ended_as_replied_without_a_reply_is_lost() -> None:
    verdict = verdict_with(replace(FATES[0], reply_id=None, delivery_state=""))
    assert verdict.lost == ("m0 ended as replied, without a reply",)


def test_silence_is_a_result() -> None:
    silent = replace(FATES[0], outcome="silent", reply_id=None, delivery_state="")
    verdict = judge(SAID, ARRIVALS[1:], [silent, *FATES[1:]])
    assert verdict.is_clean
    assert (verdict.answered, verdict.silent) == (2, 1)


def test_a_reply_that_was_shown_twice_is_doubled() -> None:
    again = replace(ARRIVALS[1], attempt=2)
    verdict = judge(SAID, [*ARRIVALS, again], FATES)
    assert verdict.doubled == ("m1 has a reply that was shown 2 times",)
    assert not verdict.out_of_order, "the second showing of a reply is no inversion"


def test_a_reply_that_the_database_does_not_know_is_doubled() -> None:
    stray = replace(ARRIVALS[0], message="r9", nonce="n9")
    verdict = judge(SAID, [stray, *ARRIVALS], FATES)
    assert verdict.doubled == ("m0 was answered by a message that is not stored",)


def test_a_message_that_two_turns_worked_is_doubled() -> None:
    second = replace(FATES[1], turn_id="t9", reply_id="r9")
    shown = replace(ARRIVALS[1], message="r9", nonce="n9")
    verdict = judge(SAID, [ARRIVALS[0], ARRIVALS[1], shown, ARRIVALS[2]], [*FATES, second])
    assert verdict.doubled == ("m1 was worked as 2 turns",)


def test_replies_in_another_order_than_the_messages_are_found() -> None:
    verdict = judge(SAID, [ARRIVALS[1], ARRIVALS[0], ARRIVALS[2]], FATES)
    assert verdict.out_of_order == ("m0 was answered after m1",)


def test_parts_of_a_reply_in_another_order_are_found() -> None:
    parts = [replace(FATES[0], reply_id=f"p{place}", position=place) for place in range(2)]
    shown = [replace(ARRIVALS[0], message=f"p{place}") for place in (1, 0)]
    assert judge(SAID[:1], shown, parts).out_of_order == ("m0 was answered after m0",)
    assert judge(SAID[:1], shown[::-1], parts).is_clean


def test_two_conversations_have_no_order_between_them() -> None:
    said = [SAID[0], replace(SAID[1], conversation="ben"), SAID[2]]
    assert judge(said, [ARRIVALS[1], ARRIVALS[0], ARRIVALS[2]], FATES).is_clean


def test_what_is_uncertain_is_listed_and_breaks_nothing() -> None:
    fates = [replace(fate, delivery_state="uncertain") for fate in FATES]
    verdict = judge(SAID, ARRIVALS[:1], fates)
    assert verdict.is_clean
    assert verdict.uncertain[:2] == (
        "m0 has an uncertain reply, which was shown",
        "m1 has an uncertain reply, which was not shown",
    )
    assert verdict.answered == 1
    assert "m1" in str(verdict)


@pytest.mark.parametrize("state", ["failed", "expired"])
def test_what_was_refused_or_held_back_is_named(state: str) -> None:
    verdict = verdict_with(replace(FATES[0], delivery_state=state))
    assert not verdict.is_clean
    assert verdict.undelivered == (f"m0 has a reply that {state}",)


def test_the_rows_of_the_database_are_read(incoming: Any, model: Any, connection: Any) -> None:
    receipt = receive(incoming(external_id="m0"))
    with database.cursor() as cursor:
        (waiting,) = read_fates(cursor, ["m0", "m1"])
        assert (waiting.external_id, waiting.state, waiting.ended_at) == ("m0", "waiting", None)
        work.drain_lane(receipt.lane_id)
        deliver_room(connection.pk, receipt.room_id)
        (fate,) = read_fates(cursor, ["m0", "m1"])
    assert (fate.turn_id, fate.state, fate.outcome) == (str(receipt.turn_id), "done", "replied")
    assert (fate.position, fate.delivery_state) == (0, "sent")
    assert fate.ended_at is not None
    said = [Said(external_id=name, conversation="ann") for name in ("m0", "m1")]
    assert find_open(said, [waiting]) == {"m0", "m1"}
    assert find_open(said, [fate]) == {"m1"}
