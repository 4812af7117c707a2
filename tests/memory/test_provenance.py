"""Where a memory came from, what took the place of what, and which turns had it in mind: true, bounded, by indexes."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents.models import Lane, Message, Turn
from memory import provenance
from memory.facts import NewFact, Place, learn_facts
from memory.memories import remember
from memory.models import Memory
from memory.provenance import (
    MemoryNotFound,
    chain_of,
    find_memory,
    known_ids,
    looked_through,
    maker_of,
    prompted_by,
    sources_of,
)
from tests.memory.conftest import Scene
from transports.models import Connection

NOW = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
NOBODYS = UUID("0197f000-0000-7000-8000-00000000dead")


@pytest.fixture
def said(scene: Scene) -> Any:
    """Say something in a room, and have it worked in a turn that recalled these memories."""
    link = Connection.objects.create(agent=scene.agent, platform="discord", transport="fake")
    lane = Lane.objects.create(
        agent=scene.agent, person=scene.ann, next_run_at=NOW, woke_at=NOW, bucket_started_at=NOW
    )

    def say(text: str, *, room: Any = None, memories: Any = (), replies: int = 0) -> Turn:
        message = Message.objects.create(
            agent=scene.agent,
            connection=link,
            room=room or scene.group,
            person=scene.ann,
            direction="in",
            text=text,
            said_at=NOW,
            received_at=timezone.now(),
        )
        turn = Turn.objects.create(
            lane=lane,
            sequence=Turn.objects.count() + 1,
            agent=scene.agent,
            room=message.room,
            person=scene.ann,
            connection=link,
            message=message,
            cause_kind="message",
            cause_id=message.pk,
            received_at=message.received_at,
        )
        hits = [{"id": str(memory.pk), "score": 2.5, "scores": {"vector": 2.5}} for memory in memories]
        turn.steps.create(position=1, name="recall", output={"memories": hits})
        for position in range(replies):
            Message.objects.create(
                agent=scene.agent,
                connection=link,
                room=message.room,
                person=scene.ann,
                direction="out",
                text="Indeed.",
                turn=turn,
                position=position,
                said_at=NOW,
                received_at=timezone.now(),
            )
        return turn

    return say


def kept(scene: Scene, text: str, **changes: Any) -> Memory:
    remember([scene.draft(text, **changes)])
    return Memory.objects.get(text=text)


def learn(scene: Scene, value: str, *, days: int, source: UUID = NOBODYS) -> Memory:
    fact = NewFact(
        text=f"Ann lives in {value}.",
        said_at=NOW + dt.timedelta(days=days),
        subject_id=scene.ann.pk,
        attribute="lives_in",
        value=value,
        sources=[source],
    )
    learn_facts(Place(agent_id=scene.agent.pk, scope="room", room_id=scene.group.pk), [fact])
    return Memory.objects.filter(text=fact.text).latest("pk")


def test_a_source_says_who_said_it_where_and_when_and_which_turn_it_was_of(scene: Scene, said: Any) -> None:
    turn = said("I plant roses.", replies=1)
    heard, reply = turn.message, turn.replies.get()

    sources = sources_of([str(reply.pk), heard.pk, NOBODYS, "no id at all"])

    assert set(sources) == {heard.pk, reply.pk}
    assert (sources[heard.pk].speaker, sources[heard.pk].is_from_agent) == (scene.ann.name, False)
    assert (sources[reply.pk].speaker, sources[reply.pk].is_from_agent) == (scene.agent.name, True)
    assert {source.turn_id for source in sources.values()} == {turn.pk}
    assert sources[heard.pk].room_id == scene.group.pk
    assert sources[heard.pk].said_at == NOW


def test_many_sources_are_one_statement_and_none_is_none(scene: Scene, said: Any) -> None:
    keys = [said(f"Number {number}.").message_id for number in range(12)]

    with CaptureQueriesContext(connection) as caught:
        assert len(sources_of(keys)) == 12
        assert sources_of([]) == {}
    assert len(caught) == 1


def test_a_plugin_may_have_kept_anything_as_a_source() -> None:
    assert known_ids(["x", str(NOBODYS), NOBODYS, 7, None]) == [NOBODYS]  # type: ignore[list-item]


def test_the_whole_chain_of_a_fact_stands_in_order_with_when_and_by_which_message(
    scene: Scene, said: Any
) -> None:
    messages = [said(f"Move {number}.").message_id for number in range(4)]
    cities = ("Lyon", "Rome", "Oslo", "Bern")
    facts = [learn(scene, city, days=day, source=messages[day]) for day, city in enumerate(cities)]

    for place, fact in enumerate(facts):
        chain = chain_of(fact.pk)
        assert [version.id for version in chain] == [one.pk for one in facts]
        assert [version.place for version in chain] == [number - place for number in range(4)]
    assert [version.replaced_by for version in chain] == [*(one.pk for one in facts[1:]), None]
    assert [version.ended_by for version in chain] == [*messages[1:], None]
    assert [version.held_until for version in chain] == [
        NOW + dt.timedelta(days=1), NOW + dt.timedelta(days=2), NOW + dt.timedelta(days=3), None,
    ]  # fmt: skip


def test_all_that_one_took_the_place_of_are_there(scene: Scene) -> None:
    memories = [kept(scene, f"Number {number}.") for number in range(4)]
    Memory.objects.filter(pk__in=[one.pk for one in memories[:3]]).update(superseded_by=memories[3])

    assert {version.id for version in chain_of(memories[3].pk)} == {one.pk for one in memories}
    # What else was replaced by the same is no part of this one's history.
    assert [version.id for version in chain_of(memories[0].pk)] == [memories[0].pk, memories[3].pk]


def test_a_long_chain_is_cut_and_a_circle_ends(scene: Scene) -> None:
    memories = [kept(scene, f"Number {number}.") for number in range(provenance.LONGEST_CHAIN + 5)]
    for older, newer in itertools.pairwise(memories):
        Memory.objects.filter(pk=older.pk).update(superseded_by=newer)

    assert len(chain_of(memories[0].pk)) == provenance.LONGEST_CHAIN + 1
    assert len(chain_of(memories[-1].pk)) == provenance.LONGEST_CHAIN + 1

    Memory.objects.filter(pk=memories[1].pk).update(superseded_by=memories[0])
    assert {version.id for version in chain_of(memories[0].pk)} == {memories[0].pk, memories[1].pk}


def test_turns_that_recalled_a_memory_of_a_room_are_found_the_newest_first(scene: Scene, said: Any) -> None:
    memory, other = kept(scene, "Roses."), kept(scene, "Bees.")
    first = said("One.", memories=[other, memory], replies=1)
    said("Two.", memories=[other])
    third = said("Three.", memories=[memory])

    found = prompted_by(memory)

    assert [one.turn_id for one in found] == [third.pk, first.pk]
    assert [one.score for one in found] == [2.5, 2.5]
    assert "200 messages of each room" in looked_through(memory)


def test_no_more_messages_of_a_room_are_looked_through_than_is_said(
    scene: Scene, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "LOOKED_AT_MESSAGES", 3)
    memory = kept(scene, "Roses.")
    said("Long ago.", memories=[memory])
    turns = [said(f"Number {number}.", memories=[memory]) for number in range(3)]

    assert [one.turn_id for one in prompted_by(memory)] == [turn.pk for turn in reversed(turns)]


def test_a_private_memory_is_looked_for_in_all_private_rooms_of_its_person(scene: Scene, said: Any) -> None:
    memory = kept(scene, "Bees.", scope="person", room_id=scene.dm_of_ann.pk)
    second = scene.make_room("DM", scene.ann)
    here = said("One.", room=scene.dm_of_ann, memories=[memory])
    there = said("Two.", room=second, memories=[memory])
    said("Not a place for it.", room=scene.group, memories=[memory])

    assert {one.turn_id for one in prompted_by(memory)} == {here.pk, there.pk}


def test_what_may_surface_anywhere_is_looked_for_among_the_newest_turns(
    scene: Scene, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = kept(scene, "Roses.", scope="agent", room_id=None, person_id=None)
    old = said("One.", memories=[memory])
    new = said("Two.", room=scene.dm_of_ann, memories=[memory])

    assert [one.turn_id for one in prompted_by(memory)] == [new.pk, old.pk]
    monkeypatch.setattr(provenance, "LOOKED_AT_TURNS", 1)
    assert [one.turn_id for one in prompted_by(memory)] == [new.pk]
    assert "among the last 1 of this site" in looked_through(memory)


def test_what_is_nobodys_yet_was_in_no_prompt(scene: Scene) -> None:
    memory = kept(scene, "Staged.", kind="document", scope="nobody")

    with CaptureQueriesContext(connection) as caught:
        assert prompted_by(memory) == []
    assert not caught.captured_queries


@pytest.mark.parametrize("scope", ["room", "person", "agent"])
def test_indexes_answer_and_nothing_is_read_in_whole(scene: Scene, scope: str) -> None:
    memory = kept(scene, "Roses.", scope=scope)
    with CaptureQueriesContext(connection) as caught:
        prompted_by(memory)
        chain_of(memory.pk)
        sources_of([NOBODYS])

    for query in caught.captured_queries:
        with connection.cursor() as cursor:
            # Small tables are read in whole by choice; where that is dear, only what no index can answer still is.
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("EXPLAIN " + query["sql"].replace("%", "%%"))
            plan = "\n".join(row[0] for row in cursor.fetchall())
        assert "Seq Scan" not in plan, plan


def test_a_message_memory_was_made_by_the_turn_of_its_message(scene: Scene, said: Any) -> None:
    turn = said("I plant roses.", replies=1)
    for message in (turn.message, turn.replies.get()):
        memory = kept(scene, f"As {message.direction}.", source_messages=[message.pk])
        assert maker_of(memory, sources_of(memory.source_messages).values()) == turn.pk


def test_what_an_action_kept_was_made_by_its_turn_and_what_a_look_learnt_by_none(
    scene: Scene, said: Any
) -> None:
    turn = said("Remember the roses.")
    source = {"source_messages": [turn.message_id], "kind": "episode"}
    by_action = kept(scene, "Roses.", source_key=f"effect:{turn.pk}:act:0:NOTE:0", **source)
    by_look = kept(scene, "Bees.", source_key=f"effect:{NOBODYS}:4:reflection:0:0", **source)
    learnt = learn(scene, "Lyon", days=0, source=turn.message_id)

    makers = [maker_of(one, sources_of(one.source_messages).values()) for one in (by_action, by_look, learnt)]

    assert makers == [turn.pk, None, None]


def test_a_memory_is_found_by_its_id_and_by_a_beginning_that_is_its_own(scene: Scene) -> None:
    ids = ("0197f000-0000-7000-8000-000000000001", "0197f000-0000-7000-8000-000000000002")
    remember([scene.draft(f"Number {number}.", id=UUID(id)) for number, id in enumerate(ids)])

    assert find_memory(ids[0]).text == "Number 0."
    assert find_memory(ids[1].replace("-", "").upper()).text == "Number 1."
    with pytest.raises(MemoryNotFound) as several:
        find_memory("0197f000")
    assert str(several.value).splitlines() == [
        "More than one memory has an id that begins with 0197f000: give more of it.",
        *(f"{id}  {NOW:%Y-%m-%d %H:%M:%S}  Number {number}." for number, id in enumerate(ids)),
    ]
    with pytest.raises(
        MemoryNotFound, match=f"^No memory has the id {NOBODYS}. `manage.py recall` and the admin show"
    ):
        find_memory(str(NOBODYS))
    for name in ("", "roses", "0197f00", "0197f000-0000-7000-8000-0000000000011"):
        with pytest.raises(MemoryNotFound, match="is no id: give a memory's id, or at least 8 digits of its"):
            find_memory(name)


def test_a_memory_is_found_without_its_vector(scene: Scene) -> None:
    remember([scene.embedded("Roses.")])

    with CaptureQueriesContext(connection) as caught:
        memory = find_memory(str(Memory.objects.get().pk))
        assert memory.agent.name
        assert memory.person
        assert memory.room
    assert "embedding" not in set(memory.__dict__)
    assert len(caught) == 2
