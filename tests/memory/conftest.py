"""A small world for the tests of memory: one agent, two people, their rooms, and a quick embedder."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from agents.models import Agent, Character, Participant, Person, Room
from memory.embeddings import get_embedder
from memory.embeddings.base import Embedder, EmbeddingError
from memory.memories import MemoryDraft
from memory.retrieval import RecallQuery, recall
from memory.stores.postgres_words import forget_common_words
from plugins.api import RecalledMemory

NOW = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Ann and Bob speak to one agent, each in a direct chat, and both in a group."""

    agent: Agent
    ann: Person
    bob: Person
    dm_of_ann: Room
    dm_of_bob: Room
    group: Room
    embedder: Embedder

    def make_agent(self, name: str = "Other") -> Agent:
        return make_agent(name)

    def make_person(self, name: str) -> Person:
        return Person.objects.create(name=name)

    def make_room(self, type: str, *people: Person) -> Room:
        return make_room(type, *people)

    def embedded(self, text: str, **changes: Any) -> MemoryDraft:
        (vector,) = self.embedder.embed([text])
        return self.draft(text, embedding=vector, embedding_model=self.embedder.name, **changes)

    def query(self, text: str, **changes: Any) -> RecallQuery:
        fields: dict[str, Any] = {
            "agent_id": self.agent.id,
            "room_id": self.group.id,
            "person_id": self.ann.id,
            "text": text,
            "limit": 10,
            "now": NOW,
        }
        return RecallQuery(**{**fields, **changes})

    def recall(self, text: str, **changes: Any) -> tuple[RecalledMemory, ...]:
        return recall(self.query(text, **changes)).memories

    def recall_by_words(self, text: str, **changes: Any) -> tuple[RecalledMemory, ...]:
        """Recall while the embedder is away."""
        return recall(self.query(text, **changes), embed=away).memories

    def draft(self, text: str = "hello", **changes: Any) -> MemoryDraft:
        fields: dict[str, Any] = {
            "agent_id": self.agent.id,
            "kind": "message",
            "scope": "room",
            "room_id": self.group.id,
            "person_id": self.ann.id,
            "text": text,
            "said_at": NOW,
        }
        return MemoryDraft(**{**fields, **changes})


def away(_texts: Sequence[str]) -> list[list[float]]:
    raise EmbeddingError("The embedder is away.")


def make_agent(name: str = "Eliza") -> Agent:
    key = f"{name}-{uuid4()}"
    character = Character.objects.create(name=key, slug=key, document={"name": name})
    return Agent.objects.create(character=character, name=name, slug=key)


def make_room(type: str, *people: Person) -> Room:
    room = Room.objects.create(platform="fake", external_id=str(uuid4()), type=type)
    for person in people:
        Participant.objects.create(room=room, person=person)
    return room


@pytest.fixture(autouse=True)
def _no_statistics_of_other_tests() -> None:
    forget_common_words()


@pytest.fixture
def hashed_embedder(settings: Any) -> Embedder:
    settings.EMBEDDING_MODEL, settings.EMBEDDING_BASE_URL, settings.EMBEDDING_DIMENSIONS = "hashed", "", 0
    return get_embedder()


@pytest.fixture
def scene(db: None, hashed_embedder: Embedder) -> Scene:
    ann, bob = Person.objects.create(name="Ann"), Person.objects.create(name="Bob")
    return Scene(
        agent=make_agent(),
        ann=ann,
        bob=bob,
        dm_of_ann=make_room("DM", ann),
        dm_of_bob=make_room("DM", bob),
        group=make_room("GROUP", ann, bob),
        embedder=hashed_embedder,
    )
