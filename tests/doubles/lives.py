"""A person's life with an agent, with a marker planted in each column that may hold a person's words or ids.

Ann speaks in private and in a group with Bob; Anna was merged into her; she signs in on the web. What is Bob's and
stays has her words in it too, wherever the runtime may have put them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import UUID

from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connection as database
from django.db.models import CharField, Field, JSONField, TextField
from django.utils import timezone

from agents import streams, work
from agents.envelopes import Incoming, IncomingPerson, IncomingRoom
from agents.inbox import receive
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.models import (
    Account,
    Agent,
    Approval,
    AuditEntry,
    Delivery,
    Message,
    ModelCall,
    Person,
    Room,
    Step,
    Turn,
)
from agents.people import merging
from agents.streams import StreamEvent
from memory.memories import MemoryDraft, remember
from memory.models import Conversation, Episode, Fact, Goal, Memory, Objective, Relationship
from plugins.models import Event, PluginState, ScheduledTask, TaskRun
from transports.models import ApiKey, Connection

MARK = "zqmark"
"""Stands in all that is Ann's, and in nothing that is anybody else's."""
BOBS = "Bob likes long walks by the river."
NOW = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
_numbers = count(1)
_said: list[str] = []


def mark() -> str:
    """Return a new word of Ann's; she has said all of them in the group in the end."""
    _said.append(f"{MARK}{next(_numbers)}")
    return _said[-1]


@dataclass(frozen=True, kw_only=True)
class Life:
    """Whom the tests ask about."""

    agent: Agent
    connection: Connection
    ann: Person
    anna: UUID
    bob: Person
    group: Room
    private: list[UUID]
    bobs_turn: UUID


def text_columns() -> set[tuple[str, str]]:
    """Return every column of every table of the site that holds text or JSON, as (table, column)."""
    kinds = (CharField, TextField, JSONField)
    fields: Iterator[Field[Any, Any]] = (
        field for model in apps.get_models() for field in model._meta.concrete_fields
    )
    return {
        (field.model._meta.db_table, field.column)
        for field in fields
        if isinstance(field, kinds) and not field.choices
    }


def tables() -> list[str]:
    """Return every table of the database. SQLite's index of words has tables of its own, which no row is read from."""
    return [name for name in database.introspection.table_names() if not name.startswith("memory_search")]


def columns_with(word: str) -> set[tuple[str, str]]:
    """Return the (table, column) of every value of the database that holds the word, in whatever kind of column."""
    found = set()
    with database.cursor() as cursor:
        for table in tables():
            cursor.execute(f'SELECT * FROM "{table}"')
            columns = [column[0] for column in cursor.description]
            for row in cursor.fetchall():
                cells = zip(columns, row, strict=True)
                found |= {(table, column) for column, value in cells if word.lower() in str(value).lower()}
    for session in Session.objects.all():
        if word in str(session.get_decoded()):
            found.add(("django_session", "session_data"))
    return found


def live(agent: Agent, connection: Connection) -> Life:
    """Live it: what was said goes through the pipeline, the rest is planted."""
    _said.clear()
    stage = _Stage(agent, connection)
    with answering_with(ScriptedModel(stage.answer)):
        ann = stage.say(mark(), "ann", "group", "GROUP")
        bob = stage.say(BOBS, "bob", "group", "GROUP")
        private = stage.say(f"{mark()} in private", "ann", "dm-ann", "DM")
        anna = stage.say(mark(), "anna", "dm-anna", "DM")
        merging.merge(anna.person_id, ann.person_id, by="ada", why=f"The same voice {mark()}.")
        stage.say("What do you remember?", "bob", "group", "GROUP")
        stage.say("A secret of Bob's.", "bob", "dm-bob", "DM")
    Delivery.objects.update(state=Delivery.State.SENT, sent_at=timezone.now())
    life = Life(
        agent=agent,
        connection=connection,
        ann=Person.objects.get(pk=ann.person_id),
        anna=anna.person_id,
        bob=Person.objects.get(pk=bob.person_id),
        group=Room.objects.get(pk=ann.room_id),
        private=[private.room_id, anna.room_id],
        bobs_turn=bob.turn_id,
    )
    _plant_conversation(life)
    _plant_kept(life)
    _plant_site(life)
    first = Message.objects.filter(person=life.ann, room=life.group, direction="in").earliest("received_at")
    Message.objects.filter(pk=first.pk).update(text=" ".join(_said))
    return life


class _Stage:
    def __init__(self, agent: Agent, connection: Connection) -> None:
        self.agent, self.connection = agent, connection

    def answer(self, request: Any) -> str:
        """Repeat what was said last, and quote everything that the prompt told."""
        told = " ".join(message.content for message in request.messages)
        quoted = " ".join(sorted({word for word in told.split() if MARK in word}))
        return f"You said {request.messages[-1].content} and I know {quoted}."

    def say(self, text: str, who: str, room: str, type_: str) -> Any:
        """Say it, and have it answered."""
        account = who if who == "bob" else f"{MARK}-{who}"
        name = who.title() if who == "bob" else f"{who.title()} {MARK.title()}son"
        receipt = receive(
            Incoming(
                connection_id=self.connection.pk,
                external_id=f"{account}/{next(_numbers)}",
                room=IncomingRoom(external_id=room, type=type_),
                person=IncomingPerson(external_id=account, name=name, username=account.replace("-", "_")),
                text=text,
                said_at=NOW,
                is_addressed=True,
            )
        )
        assert work.drain_lane(receipt.lane_id) == 1
        return receipt


def _plant_conversation(life: Life) -> None:
    """Plant what hangs on messages and turns: Ann's own, and those of Bob's turn that stays."""
    own = Turn.objects.filter(person=life.ann).first()
    assert own is not None
    for turn_id in (own.pk, life.bobs_turn):
        reply = Message.objects.filter(turn=turn_id).first()
        assert reply is not None
        Turn.objects.filter(pk=turn_id).update(error=f"ValueError: {mark()}")
        Step.objects.create(
            turn_id=turn_id, position=90, name=f"act:0:{mark()}", input={"a": [mark()]}, output={mark(): {"b": mark()}},
            error=mark(),
        )  # fmt: skip
        ModelCall.objects.create(
            turn_id=turn_id, position=90, purpose="answer", provider="p", model="m", answer=mark(), error=mark(),
            prompt=[{"role": "user", "content": f"Ann: {mark()}"}], milliseconds=1.0,
        )  # fmt: skip
        approval = Approval.objects.create(
            turn_id=turn_id, position=90, step=f"act:0:{mark()}", plugin="p", action=mark(), arguments={"to": mark()},
            argument_hash="0" * 64, kind="dangerous", requested_at=NOW, state="refused", decided_by=mark(),
            reason=mark(),
        )  # fmt: skip
        delivery = Delivery.objects.get(message=reply)
        Delivery.objects.filter(pk=delivery.pk).update(answer={"echo": {"text": mark()}}, error=mark())
        Message.objects.filter(pk=reply.pk).update(
            attachments=[{"url": f"https://files.example/{mark()}", "name": mark()}]
        )
        for kind, key in (("turn", turn_id), ("approval", approval.pk), ("delivery", delivery.pk)):
            reason = f"because of {mark()}" if turn_id == own.pk else "because"
            AuditEntry.objects.create(
                actor="ada",
                verb="decide",
                object_kind=kind,
                object_id=key,
                reason=reason,
                details={"r": reason},
            )
    Message.objects.filter(person=life.ann, direction="in").update(
        platform_data={"from": mark()}, attachments=[{"url": mark()}]
    )
    said = Message.objects.filter(person=life.ann, direction="in", room=life.group).first()
    assert said is not None
    Message.objects.filter(person=life.bob, direction="in", room=life.group).update(
        reply_to_external_id=said.external_id,
        platform_data={
            "id": 7,
            "quoted": {"author": {"id": f"{MARK}-ann"}, "text": mark()},
            "mentions": ["Ann"],
        },
    )


def _plant_kept(life: Life) -> None:
    """Plant what memory and plugins keep: of Ann, and for the room, the agent and Bob."""
    ann, bob, group, agent = life.ann, life.bob, life.group, life.agent
    words = [mark() for _number in range(8)]
    source = Message.objects.filter(person=ann, room=group, direction="in").values_list("pk", flat=True)[0]
    draft: dict[str, Any] = {"agent_id": agent.pk, "room_id": group.pk, "said_at": NOW, "scope": "room"}
    remember(
        [
            MemoryDraft(text=f"Ann likes {mark()}.", kind="fact", person_id=ann.pk, speaker=mark(),
                        source_messages=(source,), source_key=f"fact:{mark()}", embedding=[0.1] * 384,
                        embedding_model=mark(), **draft),
            MemoryDraft(text="Bob is a friend.", kind="fact", person_id=bob.pk, source_messages=(source,), **draft),
            MemoryDraft(text=f"They spoke of {words[0]}.", kind="episode", **draft),
            MemoryDraft(text="Bob sings.", kind="fact", person_id=bob.pk, **draft),
            MemoryDraft(text=f"{words[1]} everywhere", kind="fact", **{**draft, "scope": "agent"}),
            MemoryDraft(text=f"In private: {mark()}", kind="fact", person_id=ann.pk, **{**draft, "scope": "person"}),
        ]
    )  # fmt: skip
    Memory.objects.filter(person=ann).update(source_messages=[str(source), mark()])
    likes = Memory.objects.get(person=ann, scope="room", kind="fact")
    Fact.objects.create(memory=likes, subject=ann, attribute=mark(), value=mark(), last_seen_at=NOW)
    bobs = Memory.objects.get(text="Bob is a friend.")
    Fact.objects.create(
        memory=bobs, subject_id=life.anna, attribute="friend_of", value=mark(), last_seen_at=NOW
    )
    spoke = Memory.objects.get(kind="episode")
    Episode.objects.create(
        memory=spoke,
        first_message=source,
        last_message=source,
        began_at=NOW,
        ended_at=NOW,
        participants=[str(ann.pk), mark()],
        outcome=mark(),
    )
    Conversation.objects.update_or_create(
        agent=agent, room=group,
        defaults={
            "earlier": mark(), "summary": mark(), "outcome": mark(), "error": mark(), "unseen": [source],
            "last_message": source, "episode_first": source, "episode_began_at": NOW, "episode_count": 1,
            "episode_people": [ann.pk, bob.pk],
        },
    )  # fmt: skip
    for a, b in ((ann, bob), (bob, ann)):
        Relationship.objects.create(
            agent=agent, user_a=a, user_b=b, relationship_type=mark(), tags=[mark()], evidence=[mark()]
        )
    own = Person.objects.create(name="Eliza", is_bot=True)
    Relationship.objects.create(
        agent=agent, user_a=own, user_b=bob, relationship_type="knows", tags=[words[2], "walks"],
        evidence=["m", words[2]],
    )  # fmt: skip
    _plant_aims(life, words[3:])


def _plant_aims(life: Life, words: list[str]) -> None:
    """Plant goals, and what plugins keep, plan and have been told."""
    ann, bob, group, agent = life.ann, life.bob, life.group, life.agent
    for person, room, name in (
        (ann, None, mark()),
        (ann, group, mark()),
        (None, group, f"Ask about {words[0]}"),
    ):
        goal = Goal.objects.create(agent=agent, person=person, room=room, name=name)
        Objective.objects.create(goal=goal, description=f"do {name}")
    for person, room, state in (
        (ann, None, {mark(): mark()}),
        (None, group, {"last": words[1], words[1]: 1, "walks": True}),
        (None, None, {"who": f"{MARK}-ann", "count": 3}),
        (bob, None, {"bobs": "own"}),
    ):
        PluginState.objects.create(plugin="p", agent=agent, person=person, room=room, state=state)
    for person, room, arguments in (
        (ann, group, {"say": mark()}),
        (None, group, {"say": words[2]}),
        (None, None, {"to": str(ann.pk)}),
        (None, group, {"say": "Good morning."}),
    ):
        task = ScheduledTask.objects.create(
            plugin="p", task="t", schedule="once", agent=agent, person=person, room=room, arguments=arguments
        )
        TaskRun.objects.create(task=task, slot=NOW, error=f"ValueError: {words[3]}")
    for payload in ({"person": str(ann.pk)}, {"person": str(bob.pk), "name": f"{words[4]} and walks"}):
        Event.objects.create(name="goal:completed", payload=payload, error=f"it broke at {words[4]}")


def _plant_site(life: Life) -> None:
    """Plant what the site knows: sign-ins, sessions, the admin's log, streams."""
    user = User.objects.create_user(
        f"{MARK}_user",
        email=f"{MARK}@mail.example",
        first_name=MARK.title(),
        last_name=MARK.title(),
        password="x",
    )
    User.objects.filter(pk=user.pk).update(password=mark())
    ApiKey.objects.create(name=mark(), prefix=mark()[:12], key_hash=mark(), user=user)
    for external_id in (f"user:{user.pk}", f"visitor:{MARK}visitor"):
        Account.objects.create(person=life.ann, platform="web", external_id=external_id, username=mark())
    for known in ({"visitor": f"{MARK}visitor"}, {"_auth_user_id": str(user.pk), "note": mark()}):
        session = SessionStore()
        session.update(known)
        session.create()
    operator = User.objects.create_user("operator", is_staff=True)
    for row, text in ((life.ann, f"Ann {mark()}"), (life.bob, f"merged {MARK}_ann")):
        LogEntry.objects.create(
            user=operator, content_type=ContentType.objects.get_for_model(row), object_id=str(row.pk), object_repr=text,
            action_flag=CHANGE, change_message=f'[{{"changed": "{text}"}}]',
        )  # fmt: skip
    for room_id in (life.group.pk, *life.private):
        streams.put_event(room_id, StreamEvent.REPLY, {"text": mark()})
