"""An export has all that is known of a person and nothing of others, as it stood at one moment, in a stated shape."""

from __future__ import annotations

import json
import re
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents import work
from agents.exports import export_person
from agents.exports.schema import PersonExport, json_schema
from agents.inbox import receive
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.models import Message, ModelCall, Participant, Person, Room
from agents.people.families import family_of, get_family
from memory.facts import remember_fact
from memory.models import Memory
from tests.doubles.lives import MARK, live

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).resolve().parents[3]


def exported(person: Person) -> tuple[str, dict[str, Any]]:
    parts: list[str] = []
    export_person(family_of(person), parts.append)
    text = "".join(parts)
    return text, json.loads(text)


@pytest.fixture
def life(agent: Any, connection: Any, monkeypatch: Any) -> Any:
    monkeypatch.setattr("agents.people.merging.LATE_PAUSE_SECONDS", 0.0)
    return live(agent, connection)


HERS = {
    "agents_account": "person_id = ANY(%(ids)s)",
    "agents_message": "person_id = ANY(%(ids)s)",
    "agents_turn": "person_id = ANY(%(ids)s)",
    "agents_step": "turn_id IN (SELECT id FROM agents_turn WHERE person_id = ANY(%(ids)s))",
    "agents_modelcall": "turn_id IN (SELECT id FROM agents_turn WHERE person_id = ANY(%(ids)s))",
    "agents_approval": "turn_id IN (SELECT id FROM agents_turn WHERE person_id = ANY(%(ids)s))",
    "agents_delivery": "message_id IN (SELECT id FROM agents_message WHERE person_id = ANY(%(ids)s))",
    "memory_memory": "person_id = ANY(%(ids)s)",
    "memory_relationship": "user_a_id = ANY(%(ids)s) OR user_b_id = ANY(%(ids)s)",
    "memory_goal": "person_id = ANY(%(ids)s)",
    "memory_objective": "goal_id IN (SELECT id FROM memory_goal WHERE person_id = ANY(%(ids)s))",
    "plugins_pluginstate": "person_id = ANY(%(ids)s)",
    "plugins_scheduledtask": "person_id = ANY(%(ids)s)",
    "plugins_taskrun": "task_id IN (SELECT id FROM plugins_scheduledtask WHERE person_id = ANY(%(ids)s))",
    "agents_auditentry": "object_kind = 'person'",
    "auth_user": "username LIKE %(user)s",
}
"""Which rows of each table are Ann's."""

LEFT_OUT = {
    "agents_message.platform_data": "in rooms of others, as networks quote others in it",
    "agents_message.reply_to_external_id": "the network's id of what it answers, which may be another's",
    "agents_turn.error": "in rooms of others the kind alone",
    "agents_step.error": "in rooms of others the kind alone",
    "agents_modelcall.error": "in rooms of others the kind alone",
    "agents_modelcall.prompt": "in rooms of others her own lines alone",
    "agents_delivery.error": "in rooms of others the kind alone",
    "agents_delivery.answer": "in rooms of others empty",
    "agents_approval.decided_by": "an operator",
    "agents_approval.step": "the name of the step, which is in the steps",
    "memory_memory.source_key": "a hash",
    "memory_memory.source_messages": "those that are hers alone",
    "memory_relationship.evidence": "those that are hers alone",
    "agents_auditentry.details": "counts and ids",
    "auth_user.password": "a hash",
}


def test_every_column_of_her_rows_is_in_it_or_left_out_for_a_reason(life: Any) -> None:
    text, _export = exported(life.ann)
    missing = set()
    names = {"ids": [life.ann.pk, life.anna], "user": f"{MARK}%"}
    for table, which in HERS.items():
        with database.cursor() as cursor:
            cursor.execute(
                f"SELECT cell.key, cell.value FROM {table} AS line, jsonb_each_text(to_jsonb(line)) AS cell"
                f" WHERE {which}",
                names,
            )
            for column, value in cursor.fetchall():
                if {mark for mark in re.findall(rf"{MARK}\d+", value or "") if mark not in text}:
                    missing.add(f"{table}.{column}")
    assert missing <= LEFT_OUT.keys(), missing - LEFT_OUT.keys()


def test_it_has_the_stated_shape_and_all_its_sections_are_filled(life: Any) -> None:
    text, export = exported(life.ann)
    PersonExport.model_validate_json(text)
    empty = {name for name, rows in export.items() if rows == []}
    assert empty == {"unasked"}
    assert export["person"]["merged"] == [str(life.anna)]
    assert export["sign_ins"][0]["email"] == f"{MARK}@mail.example"
    assert json.loads((ROOT / "docs/person-export.schema.json").read_text()) == json_schema()


def test_of_vectors_it_has_the_models_names_and_no_number(life: Any) -> None:
    text, export = exported(life.ann)
    assert Memory.objects.filter(person=life.ann).exclude(embedding=None).exists()
    assert {memory["embedding_model"] for memory in export["memories"]} >= {"hashed-384"}
    assert "0.1, 0.1" not in text


def say(incoming: Any, who: str, text: str, **more: Any) -> Any:
    place = {"room": "group", "room_type": "GROUP", "is_addressed": True, **more}
    with answering_with(ScriptedModel(lambda request: f"You said {request.messages[-1].content}")):
        receipt = receive(incoming(text, person=who, **place))
        work.drain_lane(receipt.lane_id)
    return receipt


def test_nothing_of_others_is_in_it(incoming: Any, agent: Any) -> None:
    ann = say(incoming, "ann", "annword one")
    bob = say(incoming, "bob", "bobword one", platform_data={"quoted": {"text": "annword"}})
    quoting = {"reply_to_message": {"from": {"id": "bob"}, "text": "bobword one"}}
    last = say(incoming, "ann", "annword two", platform_data=quoting)
    say(incoming, "bob", "bobword in private", room="dm-bob", room_type="DM")
    remember_fact(
        agent_id=agent.pk, text="bobword is a fact.", scope="room", said_at=timezone.now(), person_id=bob.person_id,
        room_id=bob.room_id,
    )  # fmt: skip
    remember_fact(
        agent_id=agent.pk, text="annword is a fact.", scope="room", said_at=timezone.now(), person_id=ann.person_id,
        room_id=bob.room_id, source_messages=[ann.message_id, bob.message_id],
    )  # fmt: skip
    third = say(incoming, "ann", "annword three")
    assert "bobword" in str(ModelCall.objects.get(turn=third.turn_id).prompt)
    text, export = exported(Person.objects.get(pk=ann.person_id))
    assert "bobword" not in text
    for others in (bob.person_id, bob.message_id):
        assert str(others) not in text
    assert [fact["source_messages"] for fact in export["facts"]] == [[str(ann.message_id)]]
    prompt = next(turn for turn in export["turns"] if turn["id"] == str(third.turn_id))["model_calls"][0][
        "prompt"
    ]
    hers = [line["content"] for line in prompt if line["content"]]
    assert hers == ["Ann: annword one", "Ann: annword two", "Ann: annword three"]
    assert all(line["withheld_characters"] for line in prompt if line["content"] is None)
    said = next(message for message in export["messages"] if message["id"] == str(last.message_id))
    assert said["platform_data"] is None
    assert [reply["text"] for reply in said["replies"]] == ["You said Ann: annword two"]


def test_in_private_the_trace_is_whole(incoming: Any) -> None:
    ann = say(incoming, "ann", "annword", room="dm", room_type="DM", platform_data={"lang": "en"})
    _text, export = exported(Person.objects.get(pk=ann.person_id))
    (call,) = export["turns"][0]["model_calls"]
    assert [line["role"] for line in call["prompt"]] == ["system", "user"]
    assert "You are Eliza" in call["prompt"][0]["content"]
    assert export["messages"][0]["platform_data"] == {"lang": "en"}
    assert export["turns"][0]["steps"][0]["name"] == "store"


def test_who_quotes_another_said_that_themselves(incoming: Any) -> None:
    say(incoming, "bob", "bobword one")
    ann = say(incoming, "ann", "> bobword one\nI agree")
    _text, export = exported(Person.objects.get(pk=ann.person_id))
    assert export["messages"][0]["text"] == "> bobword one\nI agree"


def test_it_is_one_moment_however_long_it_takes(incoming: Any) -> None:
    for number in range(3):
        ann = say(incoming, "ann", f"before {number}", room="dm", room_type="DM")
    parts: list[str] = []

    def write(text: str) -> None:
        if '"messages": [' in text:
            thread = threading.Thread(target=meanwhile)
            thread.start()
            thread.join()
        parts.append(text)

    def meanwhile() -> None:
        try:
            receive(incoming("meanwhile", person="ann", room="dm"))
            Memory.objects.all().delete()
        finally:
            database.close()

    export_person(get_family(str(ann.person_id)), write)
    export = json.loads("".join(parts))
    assert [message["text"] for message in export["messages"]] == ["before 0", "before 1", "before 2"]
    assert len(export["turns"]) == 3
    assert len(export["memories"]) == 6, "they were there at that moment"
    assert Message.objects.filter(text="meanwhile").exists()


def test_many_messages_are_streamed_and_cost_few_statements(agent: Any, connection: Any) -> None:
    ann = Person.objects.create(name="Ann")
    room = Room.objects.create(platform="telegram", external_id="dm", type="DM")
    Participant.objects.create(room=room, person=ann)
    now, count = timezone.now(), 8000
    Message.objects.bulk_create(
        [
            Message(
                agent=agent, connection=connection, room=room, person=ann, direction="in", said_at=now,
                text=f"{number} " + "x" * 2000, external_id=str(number), received_at=now,
            )
            for number in range(count)
        ],
        batch_size=1000,
    )  # fmt: skip
    written = 0

    def write(text: str) -> None:
        nonlocal written
        written += len(text)

    export_person(family_of(ann), write)
    tracemalloc.start()
    with CaptureQueriesContext(database) as captured:
        written = 0
        counts = export_person(family_of(ann), write)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counts["messages"] == count
    assert written > 16_000_000
    assert peak < 6_000_000, f"{peak:,} bytes for {written:,} written"
    assert len(captured) < 2 * count / 200 + 40
