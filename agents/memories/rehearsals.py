"""Rehearsals: conversations are remembered as a turn remembers, and recall is asked about them.

The command `evaluate_recall` calls it. All of it hangs on an agent of its own, which is removed at the end with
its rooms, people and memories; what a rehearsal that was killed left behind is removed by a later one.
"""

from __future__ import annotations

import datetime as dt
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

from agents import agents
from agents.characters import CharacterDocument, save_characters
from agents.memories.rehearsal_files import Name, RehearsalQuestion, RehearsalTurn
from agents.models import Agent, Participant, Person, Room
from memory.embeddings import get_embedder
from memory.embeddings.base import EmbeddingError
from memory.memories import MemoryDraft, forget_agent, remember, scope_for
from memory.retrieval import RecallQuery, recall

MARK = "rehearsal_seen_at"
"""The key of an agent's settings that says when its rehearsal last went on, in seconds since 1970."""
SIGN_SECONDS, DEAD_SECONDS = 30.0, 600.0
PLATFORM = "rehearsal"
BATCH = 128
Told = Callable[[str, int, int], None]
"""Is told what is done, how much of it, and out of how much."""


@dataclass(frozen=True, kw_only=True)
class RehearsalAnswer:
    """The turns that a question brought, best first, and how long recall took, without the embedder's time."""

    conversation: Name
    question_id: Name
    retrieved: tuple[Name, ...]
    milliseconds: float


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A conversation's room, its people by their names, and when the last word was said there."""

    room_id: UUID
    people: dict[str, UUID]
    ended_at: dt.datetime


def rehearse(
    turns: Sequence[RehearsalTurn], questions: Sequence[RehearsalQuestion], *, limit: int, told: Told
) -> list[RehearsalAnswer]:
    """Remember the turns, each conversation in a room of its own, and ask the questions there.

    A question is asked right after the last turn of its conversation.
    Raises: EmbeddingError.
    """
    remove_rehearsals()
    with _stage() as agent:
        told = _signing(agent, told)
        places = _make_places(agent, turns)
        turns_by_message = _remember(agent, places, turns, told)
        answers = []
        for number, question in enumerate(questions, start=1):
            place = places[question.conversation]
            answers.append(_ask(agent, place, question, turns_by_message, limit))
            told("asked", number, len(questions))
        return answers


def remove_rehearsals() -> None:
    """Remove what rehearsals left behind that were killed: those that have not gone on for DEAD_SECONDS."""
    for agent in Agent.objects.filter(settings__has_key=MARK):
        if float(agent.settings[MARK]) < time.time() - DEAD_SECONDS:
            _remove(agent)


@contextmanager
def _stage() -> Iterator[Agent]:
    name = f"Rehearsal {uuid4().hex[:8]}"
    (saved,) = save_characters([CharacterDocument(content={"name": name, "bio": ["Asks itself."]})])
    agent = saved.agent
    _sign(agent)
    agents.stop(agent)
    try:
        yield agent
    finally:
        _remove(agent)


def _sign(agent: Agent) -> None:
    Agent.objects.filter(pk=agent.pk).update(settings={MARK: time.time()})


def _signing(agent: Agent, told: Told) -> Told:
    """Let whoever is told that the rehearsal goes on write it down now and then, so that no other one removes it."""
    signed_at = time.monotonic()

    def tell(what: str, done: int, total: int) -> None:
        nonlocal signed_at
        if time.monotonic() - signed_at > SIGN_SECONDS:
            _sign(agent)
            signed_at = time.monotonic()
        told(what, done, total)

    return tell


def _remove(agent: Agent) -> None:
    # The agent goes last, so that a removal which breaks off is taken up again.
    forget_agent(agent.pk)
    own = f"{agent.pk}:"
    Room.objects.filter(platform=PLATFORM, external_id__startswith=own).delete()
    Person.objects.filter(accounts__platform=PLATFORM, accounts__external_id__startswith=own).delete()
    character = agent.character
    agent.delete()
    character.delete()


def _make_places(agent: Agent, turns: Sequence[RehearsalTurn]) -> dict[Name, _Place]:
    speakers: dict[Name, dict[str, None]] = {}
    ends: dict[Name, dt.datetime] = {}
    for turn in turns:
        speakers.setdefault(turn.conversation, {}).setdefault(turn.speaker)
        ends[turn.conversation] = max(turn.at, ends.get(turn.conversation, turn.at))
    return {
        conversation: _make_place(agent, list(speakers[conversation]), end)
        for conversation, end in ends.items()
    }


def _make_place(agent: Agent, speakers: Sequence[str], ended_at: dt.datetime) -> _Place:
    room = Room.objects.create(
        platform=PLATFORM, external_id=f"{agent.pk}:{uuid4().hex}", type=Room.Type.GROUP
    )
    people = {}
    for speaker in speakers:
        person = Person.objects.create(name=speaker[:200])
        person.accounts.create(platform=PLATFORM, external_id=f"{agent.pk}:{uuid4().hex}")
        Participant.objects.create(room=room, person=person)
        people[speaker] = person.pk
    return _Place(room_id=room.pk, people=people, ended_at=ended_at)


def _remember(
    agent: Agent, places: dict[Name, _Place], turns: Sequence[RehearsalTurn], told: Told
) -> dict[UUID, Name]:
    """Keep each turn as the memory of a message, with its vector; return the turns by their messages' ids."""
    embedder = get_embedder()
    turns_by_message: dict[UUID, Name] = {}
    for start in range(0, len(turns), BATCH):
        batch = turns[start : start + BATCH]
        vectors = embedder.embed([turn.text for turn in batch])
        drafts = []
        for turn, vector in zip(batch, vectors, strict=True):
            message_id = uuid4()
            turns_by_message[message_id] = turn.id
            drafts.append(_draft(agent, places[turn.conversation], turn, message_id, vector, embedder.name))
        remember(drafts)
        told("remembered", start + len(batch), len(turns))
    return turns_by_message


def _draft(
    agent: Agent,
    place: _Place,
    turn: RehearsalTurn,
    message_id: UUID,
    vector: Sequence[float],
    embedding_model: str,
) -> MemoryDraft:
    return MemoryDraft(
        agent_id=agent.pk,
        kind="message",
        scope=scope_for(Room.Type.GROUP.value),
        person_id=place.people[turn.speaker],
        room_id=place.room_id,
        speaker=turn.speaker,
        text=turn.text,
        said_at=turn.at,
        source_key=f"message:{message_id}",
        source_messages=(message_id,),
        embedding=array("f", vector),
        embedding_model=embedding_model,
    )


def _ask(
    agent: Agent,
    place: _Place,
    question: RehearsalQuestion,
    turns_by_message: dict[UUID, Name],
    limit: int,
) -> RehearsalAnswer:
    embedder = get_embedder()
    embedding_seconds = 0.0

    def embed(texts: Sequence[str]) -> list[list[float]]:
        nonlocal embedding_seconds
        started = time.perf_counter()
        vectors = embedder.embed(texts)
        embedding_seconds += time.perf_counter() - started
        return vectors

    started = time.perf_counter()
    found = recall(
        RecallQuery(
            agent_id=agent.pk,
            room_id=place.room_id,
            person_id=None,
            text=question.question,
            limit=limit,
            now=place.ended_at,
        ),
        embed=embed,
        embedder=lambda: embedder,
    )
    seconds = time.perf_counter() - started
    if found.error:
        raise EmbeddingError(found.error)
    return RehearsalAnswer(
        conversation=question.conversation,
        question_id=question.question_id,
        retrieved=tuple(turns_by_message[hit.source_message_ids[0]] for hit in found.memories),
        milliseconds=(seconds - embedding_seconds) * 1000,
    )
