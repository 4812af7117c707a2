"""The API's operations on memories: what a message would recall, what a turn recalled, where a memory came from.

They are for those who may see the same in the admin. `eliza_site.api` mounts the router.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest
from ninja import Router, Schema
from ninja.errors import HttpError
from pydantic import Field

from agents.agents import UnknownAgent
from agents.cleaning import clean_text, clean_words
from agents.conversations import Caller
from agents.memories.recollections import find_place, recollect_noted, report_answer
from agents.people.finding import NotFound
from agents.reports.memories import report_memory
from agents.reports.turns import TurnNotFound, find_turn, report_recalled
from memory.provenance import MemoryNotFound, find_memory

router = Router(tags=["memories"])

MOST_HITS = 50
VIEW_MEMORIES = "memory.view_memory"
VIEW_SOURCES = (VIEW_MEMORIES, "agents.view_message", "agents.view_turn")


class CallerRequest(HttpRequest):
    """A request after authentication."""

    auth: Caller


class RecallIn(Schema):
    """A message, and where it would be said by whom: ids, names, or `platform:id`."""

    text: str
    room: str = ""
    person: str = ""
    limit: Annotated[int, Field(ge=1, le=MOST_HITS)] = Field(
        default_factory=lambda: int(settings.RECALL_LIMIT)
    )


class CitationOut(Schema):
    """Where in a document a memory stands; `name` is what the document was added by, `document` its title."""

    document: str
    document_id: UUID
    name: str
    headings: list[str]
    page: int | None
    last_page: int | None


class HitOut(Schema):
    """A memory that came to mind; `scores` has what each signal added to its `score`."""

    id: UUID
    kind: str
    scope: str | None
    speaker: str
    said_at: dt.datetime | None
    text: str
    score: float
    scores: dict[str, float]
    source_messages: list[UUID]
    citation: CitationOut | None


class RecallOut(Schema):
    """What came to mind, best first. `error` says why only words were compared, where that was so."""

    agent: str
    room: UUID | None
    person: UUID | None
    error: str
    search_milliseconds: float
    embedder_milliseconds: float
    memories: list[HitOut]


class SourceOut(Schema):
    """A message that a memory came from; all but its id is null where it was deleted."""

    id: UUID
    speaker: str | None
    room: str | None
    said_at: dt.datetime | None
    turn: UUID | None
    text: str | None


class RecalledOut(Schema):
    """A memory that a turn had in its prompt; its id and scores alone are left where it was forgotten since."""

    id: UUID
    score: float
    scores: dict[str, float]
    kind: str | None
    scope: str | None
    speaker: str | None
    said_at: dt.datetime | None
    text: str | None
    citation: CitationOut | None
    source_messages: list[SourceOut]


class VersionOut(Schema):
    """A memory in a chain of replacements; `place` is 0 for the one that was asked for."""

    id: UUID
    place: int
    text: str
    said_at: dt.datetime
    replaced_by: UUID | None
    held_until: dt.datetime | None
    ended_by_message: UUID | None


class PromptedOut(Schema):
    """A turn that recalled the memory."""

    turn: UUID
    at: dt.datetime
    score: float


class MemoryOut(Schema):
    """All that is known of a memory; `turn` made it, `prompted` recalled it lately."""

    memory: UUID
    agent: str
    kind: str
    scope: str
    person: str | None
    room: str | None
    speaker: str
    said_at: dt.datetime
    created_at: dt.datetime
    importance: float
    embedding_model: str
    source_key: str | None
    text: str
    fact: dict[str, Any] | None
    citation: CitationOut | None
    source_messages: list[SourceOut]
    turn: UUID | None
    history: list[VersionOut]
    prompted: list[PromptedOut]
    looked_through: str


@router.post("/agents/{agent}/recall", response=RecallOut, summary="Say what a message would recall")
def recall_message(request: CallerRequest, agent: str, body: RecallIn) -> dict[str, Any]:
    """Recall what a turn would, and say why. Nothing is said or kept but that you looked; for staff."""
    user = _staff(request, VIEW_MEMORIES)
    text = clean_words(body.text)
    if not text.strip() or len(text) > settings.MESSAGE_MAX_CHARACTERS:
        raise HttpError(422, f"text: send 1 to {settings.MESSAGE_MAX_CHARACTERS:,} characters.")
    try:
        place = find_place(agent, room_name=clean_text(body.room), person_name=clean_text(body.person))
    except UnknownAgent as error:
        raise HttpError(404, str(error)) from None
    except NotFound as error:
        raise HttpError(422, f"{error.kind}: {error}") from None
    return report_answer(recollect_noted(place, text, limit=body.limit, by=user.get_username()))


@router.get("/turns/{turn}/memories", response=list[RecalledOut], summary="List what a turn recalled")
def list_recalled(request: CallerRequest, turn: str) -> list[dict[str, Any]]:
    """List the memories that the turn had for its prompt, best first, with scores and messages; for staff."""
    _staff(request, *VIEW_SOURCES)
    try:
        found = find_turn(turn)
    except TurnNotFound as error:
        raise HttpError(404, str(error)) from None
    return report_recalled(found.steps.filter(name="recall"))


@router.get("/memories/{memory}", response=MemoryOut, summary="Say where a memory came from")
def show_memory(request: CallerRequest, memory: str) -> dict[str, Any]:
    """Return the memory with its messages, its history and the turns that recalled it lately; for staff."""
    _staff(request, *VIEW_SOURCES)
    try:
        return report_memory(find_memory(memory))
    except MemoryNotFound as error:
        raise HttpError(404, str(error)) from None


def _staff(request: CallerRequest, *permissions: str) -> User:
    """Return the user who calls, who must be let into the admin and have these permissions there.

    Raises: HttpError 403.
    """
    key = request.auth.user_id
    user = User.objects.filter(pk=key, is_active=True, is_staff=True).first() if key is not None else None
    if user is None or not user.has_perms(permissions):
        raise HttpError(403, f"This takes a user of the admin with the permissions {', '.join(permissions)}.")
    return user
