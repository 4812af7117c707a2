"""Fills every table of the admin with as many rows as a test asks for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from types import SimpleNamespace

from django.contrib.auth.models import Group, User
from django.utils import timezone

from agents.models import (
    Account,
    Agent,
    Approval,
    AuditEntry,
    Character,
    CharacterVersion,
    Delivery,
    Lane,
    Message,
    ModelCall,
    Participant,
    Person,
    Room,
    Step,
    Turn,
    World,
)
from memory.models import (
    Chunk,
    Conversation,
    Document,
    Episode,
    Fact,
    Goal,
    Memory,
    Objective,
    Relationship,
    VectorSpace,
)
from plugins.models import Event, Plugin, PluginState, ScheduledTask, TaskRun
from transports.models import ApiKey, Connection

PROMPT = [
    {"role": "system", "content": "You are Ada.\n\n# About Ada\nAda keeps notes in the margins of engines."},
    {"role": "user", "content": "Can a machine originate anything?"},
]


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many rows there are to be, what their names begin with, and when all was."""

    count: int
    prefix: str
    now: datetime


def make_history(count: int, prefix: str = "a") -> SimpleNamespace:
    """Make `count` rows of each table, and as many rows below the first of each that has any."""
    rows, size = SimpleNamespace(), Size(count=count, prefix=prefix, now=timezone.now())
    for make in (
        _personas,
        _places,
        _turns,
        _answers,
        _deliveries,
        _steps,
        _memories,
        _documents,
        _learnt,
        _aims,
        _plugins,
        _staff,
    ):
        make(rows, size)
    made = [made[0] for made in vars(rows).values()]
    rows.firsts = {type(first): first.pk for first in made}
    return rows


def create(model, made):
    """Store the rows at once."""
    return model.objects.bulk_create(list(made))


def _personas(rows, size):
    """Characters with their versions, agents and their connections."""
    rows.characters = create(
        Character,
        (
            Character(
                name=f"{size.prefix} Ada {n}",
                slug=f"{size.prefix}-ada-{n}",
                document={"name": f"{size.prefix} Ada {n}", "bio": ["Notes in the margins."]},
                version=1,
            )
            for n in range(size.count)
        ),
    )
    rows.versions = create(
        CharacterVersion,
        (
            CharacterVersion(
                character=rows.characters[0],
                number=n + 1,
                document={**rows.characters[0].document, "topics": [f"topic {n}"]},
            )
            for n in range(size.count)
        ),
    )
    rows.agents = create(
        Agent,
        (
            Agent(character=character, name=character.name, slug=character.slug)
            for character in rows.characters
        ),
    )
    rows.connections = create(
        Connection,
        (Connection(agent=agent, platform="web", transport="fake", name="own") for agent in rows.agents),
    ) + create(
        Connection,
        (
            Connection(agent=rows.agents[0], platform="web", transport="fake", name=f"more {n}")
            for n in range(size.count)
        ),
    )


def _places(rows, size):
    """Worlds, rooms, and the people in them."""
    rows.worlds = create(
        World,
        (
            World(platform="discord", external_id=f"{size.prefix}{n}", name=f"World {n}")
            for n in range(size.count)
        ),
    )
    rows.rooms = create(
        Room,
        (
            Room(world=world, platform="discord", external_id=f"{size.prefix}{n}", name=f"Room {n}")
            for n, world in enumerate(rows.worlds)
        ),
    )
    rows.people = create(Person, (Person(name=f"{size.prefix} Person {n}") for n in range(size.count)))
    Person.objects.filter(pk__in=[person.pk for person in rows.people[1:]]).update(merged_into=rows.people[0])
    create(
        Account,
        (
            Account(person=rows.people[0], platform="discord", external_id=f"{size.prefix}{n}")
            for n in range(size.count)
        ),
    )
    create(Participant, (Participant(room=rows.rooms[0], person=person) for person in rows.people))


def _turns(rows, size):
    """Lanes, and what was said in them."""
    rows.lanes = create(
        Lane,
        (
            Lane(
                agent=agent,
                person=person,
                last_sequence=1,
                next_run_at=size.now,
                woke_at=size.now,
                bucket_started_at=size.now,
            )
            for agent, person in zip(rows.agents, rows.people, strict=True)
        ),
    )
    rows.messages = create(
        Message,
        (
            Message(
                agent=rows.agents[n],
                connection=rows.connections[n],
                room=rows.rooms[n],
                person=rows.people[n],
                direction=Message.Direction.IN,
                text="Can a machine originate anything?",
                external_id=f"{size.prefix}{n}",
                platform_data={"id": n},
                said_at=size.now,
                received_at=size.now,
            )
            for n in range(size.count)
        ),
    )


def _answers(rows, size):
    """The turns that answered, and their replies."""
    states = [Turn.State.DONE, Turn.State.DEAD, Turn.State.WAITING, Turn.State.RUNNING, Turn.State.STOPPED]
    rows.turns = create(
        Turn,
        (
            Turn(
                lane=rows.lanes[n],
                sequence=1,
                agent=rows.agents[n],
                room=rows.rooms[n],
                person=rows.people[n],
                connection=rows.connections[n],
                message=rows.messages[n],
                cause_kind=Turn.Cause.MESSAGE,
                cause_id=rows.messages[n].pk,
                state=states[n % len(states)],
                outcome=Turn.Outcome.REPLIED if n % len(states) == 0 else "",
                error="ModelFailure: the model answered nothing\n  in generate"
                if n % len(states) == 1
                else "",
                error_count=n % 3,
                character_version=rows.versions[n],
                received_at=size.now - timedelta(seconds=3),
                started_at=size.now - timedelta(seconds=2),
                ended_at=size.now if n % len(states) < 2 else None,
            )
            for n in range(size.count)
        ),
    )
    rows.replies = create(
        Message,
        (
            Message(
                agent=turn.agent,
                connection=turn.connection,
                room=turn.room,
                person=turn.person,
                direction=Message.Direction.OUT,
                text="It can do whatever we know how to order it to perform.",
                turn=turn,
                position=0,
                said_at=size.now,
                received_at=size.now,
            )
            for turn in rows.turns
        ),
    )


def _deliveries(rows, size):
    """The sending of each reply, in every state."""
    delivery_states = list(Delivery.State)
    rows.deliveries = create(
        Delivery,
        (
            Delivery(
                message=reply,
                connection=reply.connection,
                room=reply.room,
                state=delivery_states[n % len(delivery_states)],
                next_run_at=size.now,
                answer={"id": n},
            )
            for n, reply in enumerate(rows.replies)
        ),
    )


def _steps(rows, size):
    """What stands below a turn: steps, approvals, model calls."""
    create(
        Step,
        (
            Step(
                turn=rows.turns[0],
                position=n,
                name=["store", "recall", "providers", "respond", "generate", "act", "reply"][n % 7],
                input={"limit": 6},
                output={"found": ["Engines", "Bernoulli numbers"]},
                milliseconds=3.2 * n,
            )
            for n in range(size.count)
        ),
    )
    rows.approvals = create(
        Approval,
        (
            Approval(
                turn=rows.turns[0],
                position=n,
                step=f"act:{n}:PAY",
                plugin="purse",
                action="PAY",
                arguments={"amount": n},
                argument_hash="0" * 64,
                kind=Approval.Kind.DANGEROUS,
                requested_at=size.now,
                expires_at=size.now + timedelta(minutes=10),
            )
            for n in range(size.count)
        ),
    )
    create(
        ModelCall,
        (
            ModelCall(
                turn=rows.turns[0],
                position=n,
                purpose="reply",
                provider="http://127.0.0.1:8001/v1",
                model="SmolLM2-135M-Instruct",
                prompt=PROMPT,
                answer="It can do whatever we know how to order it to perform.\n\nNothing more.",
                parse_path="plain",
                finish_reason="stop",
                input_tokens=812,
                output_tokens=24,
                milliseconds=1412.0,
            )
            for n in range(size.count)
        ),
    )


def _memories(rows, size):
    """Memories, of which the first superseded the others."""
    rows.memories = create(
        Memory,
        (
            Memory(
                agent=message.agent,
                person=message.person,
                room=message.room,
                kind=Memory.Kind.MESSAGE,
                scope=Memory.Scope.ROOM,
                speaker=message.person.name,
                text=message.text,
                embedding=[0.1] * 8,
                embedding_model="hashed",
                source_messages=[str(message.pk)],
                said_at=size.now,
            )
            for message in rows.messages
        ),
    )
    Memory.objects.filter(pk__in=[kept.pk for kept in rows.memories[1:]]).update(
        superseded_by=rows.memories[0]
    )


def _documents(rows, size):
    """Documents, the first with chunks."""
    rows.documents = create(
        Document,
        (
            Document(
                agent=rows.agents[n],
                room=rows.rooms[n],
                name=f"{size.prefix}{n}.md",
                title=f"Notes {n}",
                format="markdown",
                content_hash="0" * 64,
                chunk_count=size.count,
                edition="current",
                indexed_at=size.now,
            )
            for n in range(size.count)
        ),
    )
    create(
        Chunk,
        (
            Chunk(
                document=rows.documents[0],
                edition="current",
                position=n,
                memory=kept,
                headings=["Engines", "Notes"],
                page=n + 1,
                last_page=n + 2,
                start=0,
                end=100,
            )
            for n, kept in enumerate(rows.memories)
        ),
    )


def _learnt(rows, size):
    """What was learnt: facts, episodes, conversations; and vector spaces."""
    rows.facts = create(
        Fact,
        (
            Fact(
                memory=memory,
                subject=memory.person,
                attribute="lives_in",
                last_seen_at=size.now,
                ended_at=size.now if number else None,
                ended_by_message=rows.messages[0].pk if number else None,
            )
            for number, memory in enumerate(rows.memories)
        ),
    )
    rows.episodes = create(
        Episode,
        (
            Episode(
                memory=memory,
                first_message=rows.messages[0].pk,
                last_message=rows.messages[0].pk,
                began_at=size.now,
                ended_at=size.now,
            )
            for memory in rows.memories
        ),
    )
    rows.conversations = create(
        Conversation,
        (
            Conversation(agent=rows.agents[n], room=rows.rooms[n], heard_at=size.now)
            for n in range(size.count)
        ),
    )
    rows.spaces = create(
        VectorSpace,
        (
            VectorSpace(
                name=f"{size.prefix}-{n}",
                model=size.prefix,
                dimensions=64,
                kind="hashed",
                state="removed",
                rate=4.2,
            )
            for n in range(size.count)
        ),
    )


def _aims(rows, size):
    """Relationships, and goals with their objectives."""
    others = create(Person, (Person(name=f"{size.prefix} Other {n}") for n in range(size.count)))
    rows.relationships = create(
        Relationship,
        (
            Relationship(
                agent=rows.agents[n],
                user_a=rows.people[n],
                user_b=others[n],
                relationship_type="friend",
                strength=0.62,
                tags=["work"],
            )
            for n in range(size.count)
        ),
    )
    rows.goals = create(
        Goal,
        (
            Goal(agent=rows.agents[n], person=rows.people[n], room=rows.rooms[n], name=f"Learn {n}")
            for n in range(size.count)
        ),
    )
    create(
        Objective,
        (Objective(goal=rows.goals[0], position=n, description=f"Part {n}") for n in range(size.count)),
    )


def _plugins(rows, size):
    """Plugins with their states, tasks and events."""
    rows.plugins = create(
        Plugin,
        (
            Plugin(
                name=f"{size.prefix}-plugin-{n}",
                path="plugins.builtin.clock",
                permissions=["network", "schedule"],
            )
            for n in range(size.count)
        ),
    )
    rows.states = create(
        PluginState,
        (PluginState(plugin=f"p{n}", agent=rows.agents[n], room=rows.rooms[n]) for n in range(size.count)),
    )
    rows.tasks = create(
        ScheduledTask,
        (
            ScheduledTask(
                agent=rows.agents[n],
                room=rows.rooms[n],
                plugin="clock",
                task="remind",
                schedule="every 60",
                next_run_at=size.now,
            )
            for n in range(size.count)
        ),
    )
    create(
        TaskRun,
        (TaskRun(task=rows.tasks[0], slot=size.now + timedelta(minutes=n)) for n in range(size.count)),
    )
    rows.events = create(Event, (Event(name="message:received", payload={"n": n}) for n in range(size.count)))


def _staff(rows, size):
    """Decisions, API keys and groups."""
    rows.audit = create(
        AuditEntry,
        (
            AuditEntry(actor="ada", verb="discard", object_kind="turn", object_id=turn.pk)
            for turn in rows.turns
        ),
    )
    rows.users = create(User, (User(username=f"{size.prefix}-user-{n}") for n in range(size.count)))
    rows.keys = create(
        ApiKey,
        (
            ApiKey(name=f"key {n}", prefix=f"{size.prefix}{n}", key_hash="0" * 64, user=user)
            for n, user in enumerate(rows.users)
        ),
    )
    rows.groups = create(Group, (Group(name=f"{size.prefix} group {n}") for n in range(size.count)))
