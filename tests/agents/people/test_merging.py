"""Merging two people: one lane in the end, nothing lost on the way, and no deadlock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.db import connection as database
from django.db import transaction

from agents import lanes, work
from agents.inbox import receive
from agents.learning import evaluation
from agents.models import Account, Agent, AuditEntry, Lane, Message, Participant, Person, Turn
from agents.people import merging
from agents.people.merging import Busy, CannotMerge, merge
from memory.models import Memory
from plugins.models import PluginState
from tests.doubles.threads import in_threads


def join(old: Any, kept: Any) -> None:
    merge(old.person_id, kept.person_id, by="ada", why="The same voice.")


def waiting() -> list[str]:
    turns = Turn.objects.filter(state="waiting").order_by("sequence")
    return list(turns.values_list("message__text", flat=True))


@pytest.fixture
def two(incoming: Any) -> tuple[Any, Any]:
    """Ann and Bea, who are one, with two messages each that wait."""
    receive(incoming("a1", person="ann"))
    receive(incoming("b1", person="bea"))
    return receive(incoming("a2", person="ann")), receive(incoming("b2", person="bea"))


def test_what_waits_of_both_lines_up_in_one_lane_in_the_order_of_receipt(
    two: tuple[Any, Any], incoming: Any, model: Any
) -> None:
    old, kept = two
    join(old, kept)
    assert waiting() == ["a1", "b1", "a2", "b2"]
    assert set(Turn.objects.values_list("lane", flat=True)) == {kept.lane_id}
    assert list(Lane.objects.values_list("pk", flat=True)) == [kept.lane_id]
    assert set(Message.objects.values_list("person", flat=True)) == {kept.person_id}
    assert Person.objects.get(pk=old.person_id).merged_into_id == kept.person_id

    later = receive(incoming("a3", person="ann"))
    assert (later.lane_id, later.person_id) == (kept.lane_id, kept.person_id)
    assert work.drain_lane(kept.lane_id) == 5
    assert [request.messages[-1].content for request in model.requests] == ["a1", "b1", "a2", "b2", "a3"]
    assert set(Memory.objects.values_list("person", flat=True)) == {kept.person_id}


def test_what_has_ended_keeps_its_place_before_what_waits(
    two: tuple[Any, Any], incoming: Any, model: Any
) -> None:
    old, kept = two
    work.drain_lane(old.lane_id)
    receive(incoming("a3", person="ann"))
    join(old, kept)
    order = list(Turn.objects.order_by("sequence").values_list("message__text", flat=True))
    assert order == ["a1", "a2", "b1", "b2", "a3"]
    assert Lane.objects.get().last_sequence >= max(Turn.objects.values_list("sequence", flat=True))


def test_a_lane_that_the_other_has_not_becomes_theirs(incoming: Any, connection: Any, model: Any) -> None:
    old = receive(incoming("hello", person="ann"))
    kept = Person.objects.create(name="Bea")
    merge(old.person_id, kept.pk, by="ada", why="The same.")
    assert Lane.objects.get().person_id == kept.pk
    assert receive(incoming("again", person="ann")).lane_id == old.lane_id
    assert work.drain_lane(old.lane_id) == 2


def test_rooms_and_what_plugins_keep_are_joined(incoming: Any, agent: Agent) -> None:
    old = receive(incoming("hello", person="ann", room="group", room_type="GROUP"))
    kept = receive(incoming("hello", person="bea", room="group", room_type="GROUP"))
    receive(incoming("hello", person="ann"))
    Participant.objects.filter(person=old.person_id, room=old.room_id).update(state="MUTED")
    for person, state in ((old, {"a": 1, "b": 1}), (kept, {"b": 2})):
        PluginState.objects.create(plugin="p", agent=agent, person_id=person.person_id, state=state)
    PluginState.objects.create(plugin="q", agent=agent, person_id=old.person_id, state={"c": 3})
    join(old, kept)
    assert sorted(Participant.objects.values_list("person", "state")) == [
        (kept.person_id, ""),
        (kept.person_id, "MUTED"),
    ]
    states = PluginState.objects.order_by("plugin").values_list("person", "state")
    assert list(states) == [(kept.person_id, {"a": 1, "b": 2}), (kept.person_id, {"c": 3})]


def test_nobody_is_merged_into_themselves_in_a_circle_or_without_a_reason(two: tuple[Any, Any]) -> None:
    old, kept = two
    third = Person.objects.create(name="Cleo")
    refused: list[Callable[[], None]] = [
        lambda: merge(old.person_id, old.person_id, by="ada", why="x"),
        lambda: merge(old.person_id, kept.person_id, by="ada", why=" "),
        lambda: merge(old.person_id, UUID(int=1), by="ada", why="x"),
    ]
    for attempt in refused:
        with pytest.raises(CannotMerge):
            attempt()
    assert AuditEntry.objects.count() == 0
    join(old, kept)
    join(old, kept)
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.verb, entry.object_kind, entry.object_id, entry.reason, entry.details) == (
        "ada",
        "merge",
        "person",
        str(old.person_id),
        "The same voice.",
        {"into": str(kept.person_id)},
    )
    for person, into in ((kept.person_id, old.person_id), (old.person_id, third.pk)):
        with pytest.raises(CannotMerge):
            merge(person, into, by="ada", why="x")
    merge(kept.person_id, third.pk, by="ada", why="x")
    assert set(Person.objects.exclude(pk=third.pk).values_list("merged_into", flat=True)) == {third.pk}
    assert set(Account.objects.values_list("person", flat=True)) == {third.pk}


@pytest.mark.parametrize("bot", [0, 1])
def test_a_human_and_a_bot_are_not_one(two: tuple[Any, Any], bot: int) -> None:
    """Merged into a bot, a human was no company any more: others' private words surfaced in the room of both."""
    Person.objects.filter(pk=two[bot].person_id).update(is_bot=True)
    with pytest.raises(CannotMerge, match="is a bot, the other a human"):
        join(*two)
    Person.objects.update(is_bot=True)
    join(*two)


@pytest.mark.parametrize("worked", [0, 1])
def test_a_person_who_is_being_answered_is_left_alone(two: tuple[Any, Any], worked: int) -> None:
    old, kept = two
    assert lanes.claim(two[worked].lane_id) is not None
    with pytest.raises(Busy):
        join(old, kept)
    assert Person.objects.get(pk=old.person_id).merged_into is None
    Lane.objects.update(lease_until="2020-01-01T00:00:00Z")
    join(old, kept)


def test_a_holder_from_before_the_merge_is_fenced(two: tuple[Any, Any]) -> None:
    old, kept = two
    before = lanes.claim(kept.lane_id)
    assert before is not None
    Lane.objects.update(lease_until="2020-01-01T00:00:00Z")
    join(old, kept)
    assert lanes.renew([before[0]]) == set()


def test_a_person_of_whom_is_being_learnt_is_left_alone(two: tuple[Any, Any], model: Any) -> None:
    old, kept = two
    work.drain_lane(old.lane_id)
    Turn.objects.filter(state="done").update(evaluation="due")
    parameters = {"lane": old.lane_id, "lease": 30}
    assert lanes.take_turn_by(evaluation.CLAIM, parameters) is not None
    with pytest.raises(Busy):
        join(old, kept)
    Turn.objects.update(evaluation_lease_until=None)
    join(old, kept)


@pytest.mark.django_db(transaction=True)
def test_two_merges_in_opposite_directions_meet_without_a_deadlock(incoming: Any) -> None:
    for number in range(5):
        old = receive(incoming(person=f"ann{number}"))
        kept = receive(incoming(person=f"bea{number}"))
        outcomes = in_threads(lambda: join(old, kept), lambda: join(kept, old))  # noqa: B023
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["CannotMerge", "NoneType"]
    assert Person.objects.filter(merged_into=None).count() == 5


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("scope", [Agent.LaneScope.PERSON, Agent.LaneScope.PERSON_IN_ROOM])
def test_messages_that_come_during_a_merge_are_none_lost_and_the_persons_in_the_end(
    incoming: Any, agent: Agent, scope: str
) -> None:
    Agent.objects.update(lane_scope=scope)
    told = 12
    for round_ in range(3):
        names = (f"ann{round_}", f"bea{round_}")
        old, kept = (receive(incoming("first", person=name)) for name in names)

        def say(name: str) -> None:
            for number in range(told):
                receive(incoming(f"{name} {number}", person=name, room=f"dm-{name}-{number % 3}"))

        outcomes = in_threads(
            *[lambda name=name: say(name) for name in (*names, *names)],
            lambda old=old, kept=kept: (time.sleep(0.02), join(old, kept)),
        )
        assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)], outcomes
        messages = Message.objects.filter(person__in=[old.person_id, kept.person_id])
        assert messages.count() == 2 + 4 * told
        assert set(messages.values_list("person", flat=True)) == {kept.person_id}
        turns = Turn.objects.filter(message__in=messages, state="waiting")
        assert turns.count() == 2 + 4 * told
        assert set(turns.values_list("lane__person", flat=True)) == {kept.person_id}
        assert not Lane.objects.filter(person=old.person_id).exists()
        for lane in Lane.objects.filter(person=kept.person_id):
            assert lane.last_sequence >= max(lane.turns.values_list("sequence", flat=True), default=0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("scope", [Agent.LaneScope.PERSON, Agent.LaneScope.ROOM])
def test_a_message_that_waits_for_the_merge_goes_to_the_one_who_stands_for_both(
    incoming: Any, agent: Agent, scope: str, monkeypatch: Any
) -> None:
    """It has read the account before the merge and waits for the lane: what it read may not decide."""
    Agent.objects.update(lane_scope=scope)
    old, kept = (receive(incoming("first", person=name)) for name in ("ann", "bea"))
    may_go_on, is_locked = threading.Event(), threading.Event()
    real = merging._move_participants

    def slowly(pair: Any) -> None:
        is_locked.set()
        may_go_on.wait(5)
        real(pair)

    monkeypatch.setattr(merging, "_move_participants", slowly)

    def say() -> Any:
        is_locked.wait(5)
        return receive(incoming("during", person="ann"))

    def let_go() -> None:
        is_locked.wait(5)
        _until_somebody_waits()
        may_go_on.set()

    outcomes = in_threads(lambda: join(old, kept), say, let_go)
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)], outcomes
    during = Message.objects.get(text="during")
    assert during.person_id == kept.person_id
    turn = Turn.objects.get(message=during)
    assert turn.person_id == kept.person_id
    if scope == Agent.LaneScope.PERSON:
        assert turn.lane_id == kept.lane_id


@pytest.mark.django_db(transaction=True)
def test_a_newcomers_first_lane_and_a_merge_come_one_after_the_other(incoming: Any, agent: Agent) -> None:
    old, kept = (receive(incoming("first", person=name)) for name in ("ann", "bea"))
    Lane.objects.filter(person=old.person_id).delete()
    is_introduced, may_commit = threading.Event(), threading.Event()

    def say() -> None:
        with transaction.atomic():
            receive(incoming("newly", person="ann"))
            is_introduced.set()
            may_commit.wait(5)

    def joined() -> None:
        is_introduced.wait(5)
        join(old, kept)

    def let_go() -> None:
        is_introduced.wait(5)
        _until_somebody_waits()
        may_commit.set()

    outcomes = in_threads(say, joined, let_go)
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)], outcomes
    assert Lane.objects.get(person__isnull=False).person_id == kept.person_id
    assert set(Message.objects.values_list("person", flat=True)) == {kept.person_id}


def _until_somebody_waits() -> None:
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        with database.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            if cursor.fetchone()[0]:
                return
        time.sleep(0.02)
    raise AssertionError("nobody waits for a lock")
