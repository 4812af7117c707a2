"""Receiving: stored once, in order, or refused with a word."""

from __future__ import annotations

import datetime as dt
import threading
import unicodedata
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connection as database
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agents import wakeups
from agents.envelopes import IncomingPerson, IncomingRoom
from agents.inbox import Refused, TooMany, receive
from agents.models import Account, Agent, Lane, Message, Participant, Person, Room, Turn
from agents.people.senders import forget_connection_facts
from transports.models import Connection


def test_a_first_message_makes_the_acquaintance_of_everyone(incoming: Any) -> None:
    receipt = receive(incoming("hello", person="ann", room="dm-1"))

    message = Message.objects.get(pk=receipt.message_id)
    assert (message.text, message.direction, message.turn_id) == ("hello", "in", None)
    assert Person.objects.get().name == "Ann"
    assert Account.objects.get().external_id == "ann"
    assert Room.objects.get().external_id == "dm-1"
    assert Participant.objects.count() == 1
    turn = Turn.objects.get(pk=receipt.turn_id)
    assert (turn.state, turn.sequence, turn.lane_id) == ("waiting", 1, receipt.lane_id)


def test_a_second_copy_changes_nothing_and_is_told_so(incoming: Any) -> None:
    first = receive(incoming(external_id="m1"))
    second = receive(incoming("changed", external_id="m1"))

    assert first.is_new
    assert not second.is_new
    assert (second.message_id, second.turn_id) == (first.message_id, first.turn_id)
    assert Message.objects.get().text == "hello"
    assert Lane.objects.get().last_sequence == 1


def test_one_person_has_one_lane_over_rooms_and_their_turns_are_numbered(incoming: Any) -> None:
    receipts = [receive(incoming(room=f"room-{number % 2}")) for number in range(4)]

    assert len({receipt.lane_id for receipt in receipts}) == 1
    assert list(Turn.objects.order_by("sequence").values_list("sequence", flat=True)) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("scope", "lanes"),
    [(Agent.LaneScope.PERSON, 2), (Agent.LaneScope.PERSON_IN_ROOM, 4), (Agent.LaneScope.ROOM, 2)],
)
def test_the_scope_of_a_lane_is_the_agents_setting(
    agent: Agent, incoming: Any, scope: Agent.LaneScope, lanes: int
) -> None:
    Agent.objects.update(lane_scope=scope)
    for person in ("ann", "bob"):
        for room in ("one", "two"):
            receive(incoming(person=person, room=room))
            receive(incoming(person=person, room=room))

    assert Lane.objects.count() == lanes


@pytest.mark.django_db(transaction=True)
def test_a_known_persons_message_costs_one_statement(incoming: Any, django_assert_num_queries: Any) -> None:
    receive(incoming())
    with django_assert_num_queries(1):
        receive(incoming())


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"text": "   \n"}, "empty"),
        ({"text": "\x00\x01"}, "empty"),
        ({"text": "x" * 20_001}, "20,001 characters"),
        ({"external_id": ""}, "message's id"),
        ({"external_id": "x" * 201}, "message's id"),
        ({"person": "\x00"}, "person's id"),
        ({"said_at": dt.datetime(2026, 1, 1)}, "zone"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_a_word_and_leaves_nothing(
    incoming: Any, changes: dict[str, Any], word: str
) -> None:
    with pytest.raises(Refused, match=word):
        receive(incoming(**changes))
    assert not Message.objects.exists()
    assert not Lane.objects.exists()


def test_control_characters_and_lone_surrogates_are_cleaned(incoming: Any) -> None:
    receipt = receive(
        incoming(
            "a\x00b\ud800c\r\nd\te\x1b[0m",
            platform_data={"raw\x00": ["\ud83d", {"deep": "\x00"}], "number": float("nan")},
        )
    )
    message = Message.objects.get(pk=receipt.message_id)
    assert message.text == "ab\ufffdc\nd\te[0m"
    assert message.platform_data == {"raw": ["\ufffd", {"deep": ""}], "number": None}


def test_words_and_names_are_composed_and_ids_stay_as_they_were_given(incoming: Any) -> None:
    apart = unicodedata.normalize("NFD", "zoé")
    room = IncomingRoom(
        external_id=apart, type="GROUP", name=apart, world_external_id=apart, world_name=apart
    )
    receipt = receive(replace(incoming(f"I am {apart}", person=apart, external_id=apart), room=room))
    message = Message.objects.select_related("person", "room__world").get(pk=receipt.message_id)
    assert (message.text, message.person.name) == ("I am zoé", "Zoé")
    assert (message.room.name, message.room.world.name) == ("zoé", "zoé")
    assert message.external_id == message.room.external_id == apart
    assert message.person.accounts.get().external_id == apart

    nameless = receive(replace(incoming(), person=IncomingPerson(external_id=f"{apart}@home")))
    assert Person.objects.get(pk=nameless.person_id).name == "zoé@home"


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(st.characters(), max_size=200), name=st.text(st.characters(), max_size=30))
def test_any_text_is_stored_or_refused_and_never_an_error(incoming: Any, text: str, name: str) -> None:
    try:
        receipt = receive(incoming(text, person=name or "nobody"), is_limited=False)
    except Refused:
        return
    assert Message.objects.get(pk=receipt.message_id).text.strip()


def test_the_limit_of_a_person_is_told_with_the_time_to_wait(incoming: Any, settings: Any) -> None:
    settings.PERSON_MESSAGES_PER_MINUTE = 2
    for _number in range(2):
        receive(incoming())
    with pytest.raises(TooMany, match="more than 2 messages") as caught:
        receive(incoming())
    assert 0 < caught.value.retry_after_seconds <= 60
    assert Message.objects.count() == 2
    receive(incoming(person="bob"))
    receive(incoming(), is_limited=False)


def test_a_full_minute_later_the_count_starts_anew(incoming: Any, settings: Any) -> None:
    settings.PERSON_MESSAGES_PER_MINUTE = 1
    receive(incoming())
    Lane.objects.update(bucket_started_at=dt.datetime.now(dt.UTC) - dt.timedelta(seconds=61))
    assert receive(incoming()).is_new


def test_a_stopped_agent_and_a_closed_connection_take_nothing(
    agent: Agent, connection: Connection, incoming: Any
) -> None:
    Agent.objects.update(status=Agent.Status.STOPPED)
    with pytest.raises(Refused, match="stopped"):
        receive(incoming())
    Connection.objects.update(is_enabled=False)
    forget_connection_facts()
    with pytest.raises(Refused, match="no open connection"):
        receive(incoming())


def test_a_paused_agents_messages_wait(agent: Agent, incoming: Any) -> None:
    Agent.objects.update(status=Agent.Status.PAUSED)
    assert Turn.objects.get(pk=receive(incoming()).turn_id).state == Turn.State.WAITING


def test_an_agent_does_not_hear_its_own_account(connection: Connection, incoming: Any) -> None:
    Connection.objects.update(external_id="eliza-bot")
    forget_connection_facts()
    with pytest.raises(Refused, match="own account"):
        receive(incoming(person="eliza-bot"))


def test_the_lane_is_woken_after_the_commit(incoming: Any, django_capture_on_commit_callbacks: Any) -> None:
    with (
        patch.object(wakeups._publisher, "publish", return_value=True) as publish,
        django_capture_on_commit_callbacks(execute=True),
    ):
        receipt = receive(incoming())
        assert not publish.called
    publish.assert_called_once_with("agents.drain_lane", {"lane_id": str(receipt.lane_id)})


@pytest.mark.django_db(transaction=True)
def test_twenty_copies_at_once_are_stored_once(incoming: Any) -> None:
    messages = [incoming(external_id="same") for _copy in range(20)]
    receipts: list[Any] = []

    def deliver(message: Any) -> None:
        try:
            receipts.append(receive(message))
        finally:
            database.close()

    threads = [threading.Thread(target=deliver, args=(message,)) for message in messages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(receipts) == 20
    assert sum(receipt.is_new for receipt in receipts) == 1
    assert len({receipt.message_id for receipt in receipts}) == 1
    assert Message.objects.count() == Turn.objects.count() == Person.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_what_was_acknowledged_and_woken_for_is_there_for_everyone(incoming: Any, monkeypatch: Any) -> None:
    seen: list[int] = []

    def look() -> None:
        seen.append(Turn.objects.count())
        database.close()

    def look_from_elsewhere(*_wakeup: Any) -> bool:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        return True

    monkeypatch.setattr(wakeups._publisher, "publish", look_from_elsewhere)
    try:
        receive(incoming())
        look_from_elsewhere()
    finally:
        database.close()
    assert seen == [1, 1]
