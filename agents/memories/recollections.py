"""What an agent recalls, asked from outside of a turn. The command `recall`, the admin and the API call it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from django.conf import settings

from agents import audit
from agents.agents import get_agent
from agents.models import Agent, Message, Person, Room
from agents.people.families import PRIVATE_TYPES
from agents.people.finding import UnknownRoom, find_person, find_room
from memory.documents.citations import cite
from memory.embeddings import get_embedder
from memory.embeddings.base import Embedder, EmbeddingError
from memory.provenance import Kept, kept_of
from memory.retrieval import RecallQuery, Recollection, recall
from plugins.api import Citation
from plugins.time_limits import TimeLimitExceeded, call_within


class NoDirectChat(UnknownRoom):
    """The person has no direct chat with the agent, so that the room must be named."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where, and before whom, an agent recalls."""

    agent: Agent
    room: Room | None = None
    person: Person | None = None


def find_place(agent_name: str, *, room_name: str = "", person_name: str = "") -> Place:
    """Find where an agent is to recall. A person without a room stands for their newest direct chat with it.

    A direct chat without a person is that of the one person in it. Without both, only what may surface anywhere
    does.
    Raises: UnknownAgent, UnknownPerson, UnknownRoom, NoDirectChat.
    """
    agent = get_agent(agent_name)
    room = find_room(room_name) if room_name else None
    person = find_person(person_name) if person_name else None
    if person is not None and room is None:
        room = _direct_chat(agent, person)
    if room is not None and person is None and room.type in PRIVATE_TYPES:
        humans = Person.objects.filter(participations__room=room, is_bot=False, merged_into=None)[:2]
        person = humans[0] if len(humans) == 1 else None
    return Place(agent=agent, room=room, person=person)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came to mind in a place, and what it cost. `kept` has what a hit does not say of its memory.

    Unit: milliseconds; of the search without the embedder's, of the embedder alone.
    """

    place: Place
    found: Recollection
    search_milliseconds: float
    embedder_milliseconds: float
    kept: Mapping[UUID, Kept] = field(default_factory=dict)


def recollect(place: Place, text: str, *, limit: int) -> Answer:
    """Recall what a turn there would recall, with its citations. It reads only."""
    clock = _Clock()
    query = RecallQuery(
        agent_id=place.agent.pk,
        room_id=place.room.pk if place.room else None,
        person_id=place.person.pk if place.person else None,
        text=text,
        limit=limit,
    )
    began = time.perf_counter()
    found = recall(query, embedder=clock.start)
    found = replace(found, memories=tuple(cite(found.memories)))
    took = (time.perf_counter() - began) * 1000
    return Answer(
        place=place,
        found=found,
        search_milliseconds=took - clock.milliseconds,
        embedder_milliseconds=clock.milliseconds,
        kept=kept_of([memory.id for memory in found.memories]),
    )


def recollect_noted(place: Place, text: str, *, limit: int, by: str) -> Answer:
    """Recall as `recollect`, for a person who reads others' words: the audit says who it was, and before whom.

    What was asked stands nowhere: it may be somebody's words.
    """
    answer = recollect(place, text, limit=limit)
    about = place.person or place.room or place.agent
    details = {
        "agent": str(place.agent.pk),
        "room": str(place.room.pk) if place.room else None,
        "hits": len(answer.found.memories),
    }
    audit.record(by, "recall", about._meta.model_name or "", {about.pk: details}, why="")
    return answer


class _Clock:
    """The installation's embedder, with the time that it took, and no more of it than a page can wait for."""

    name = ""
    dimensions = 0

    def __init__(self) -> None:
        self.milliseconds = 0.0

    def start(self) -> Embedder:
        """Become the embedder in use, whose name and vectors belong together.

        Raises: EmbeddingError where the settings allow none.
        """
        self._embedder = get_embedder()
        self.name, self.dimensions = self._embedder.name, self._embedder.dimensions
        return self

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Embed the texts.

        Raises: EmbeddingError.
        """
        began = time.perf_counter()
        try:
            return call_within(settings.EMBEDDING_TIMEOUT_SECONDS, self._embedder.embed, texts)
        except TimeLimitExceeded as error:
            raise EmbeddingError(str(error)) from error
        finally:
            self.milliseconds = (time.perf_counter() - began) * 1000


def report_answer(answer: Answer) -> dict[str, Any]:
    """Return the answer as plain JSON."""
    place = answer.place
    return {
        "agent": place.agent.slug,
        "room": str(place.room.pk) if place.room else None,
        "person": str(place.person.pk) if place.person else None,
        "error": answer.found.error,
        "search_milliseconds": round(answer.search_milliseconds, 2),
        "embedder_milliseconds": round(answer.embedder_milliseconds, 2),
        "memories": [
            {
                "id": str(memory.id),
                "kind": memory.kind,
                "scope": answer.kept[memory.id].scope if memory.id in answer.kept else None,
                "speaker": memory.speaker,
                "said_at": memory.said_at.isoformat() if memory.said_at else None,
                "text": memory.text,
                "score": round(memory.score, 4),
                "scores": {name: round(score, 4) for name, score in memory.scores.items()},
                "source_messages": [str(message) for message in memory.source_message_ids],
                "citation": report_citation(memory.citation),
            }
            for memory in answer.found.memories
        ],
    }


def report_citation(citation: Citation | None) -> dict[str, Any] | None:
    """Return where in a document a memory stands as plain JSON. Reports of turns and memories have it too."""
    if citation is None:
        return None
    return {
        "document": citation.document,
        "document_id": str(citation.document_id),
        "name": citation.name,
        "headings": list(citation.headings),
        "page": citation.page,
        "last_page": citation.last_page,
    }


def _direct_chat(agent: Agent, person: Person) -> Room:
    chats: dict[str, Any] = {"agent": agent, "person": person, "room__type__in": PRIVATE_TYPES}
    newest = Message.objects.filter(**chats).select_related("room").order_by("-received_at").first()
    if newest is None:
        raise NoDirectChat(f"{person.name} has no direct chat with {agent.name}: name a room.")
    return newest.room
