"""The part of the contract that tells what is known: an agent, who speaks where, what was said and comes to mind.

Plain Python; `plugins.api` hands all of it on.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from plugins.citations import Citation

JSONObject = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class CharacterView:
    """The persona as a plugin sees it: elizaOS' fields, lists always lists, secrets left out."""

    name: str
    username: str = ""
    system: str = ""
    bio: tuple[str, ...] = ()
    lore: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    adjectives: tuple[str, ...] = ()
    style: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    message_examples: tuple[tuple[Mapping[str, str], ...], ...] = ()
    post_examples: tuple[str, ...] = ()
    templates: Mapping[str, str] = field(default_factory=dict)
    settings: JSONObject = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AgentView:
    """The agent that works the turn."""

    id: UUID
    name: str
    character: CharacterView


@dataclass(frozen=True, kw_only=True)
class PersonView:
    """Whom the agent speaks with."""

    id: UUID
    name: str
    is_bot: bool = False


@dataclass(frozen=True, kw_only=True)
class RoomView:
    """Where they speak; `type` is elizaOS' channel type, such as `DM` or `GROUP`."""

    id: UUID
    platform: str
    platform_id: str
    type: str
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """A file that came with a message: where it lies and what it is said to be."""

    url: str
    content_type: str = ""
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class MessageView:
    """One message of the room, in either direction. `person` is None where the agent itself spoke."""

    id: UUID
    text: str
    speaker: str
    person_id: UUID | None
    said_at: dt.datetime
    attachments: tuple[Attachment, ...] = ()

    @property
    def is_from_agent(self) -> bool:
        """Tell whether the agent said this."""
        return self.person_id is None


@dataclass(frozen=True, kw_only=True)
class RecalledMemory:
    """A memory that recall brought, with the scores that brought it there, and its place if it is a document's."""

    id: UUID
    kind: str
    text: str
    said_at: dt.datetime | None
    score: float
    speaker: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    source_message_ids: tuple[UUID, ...] = ()
    citation: Citation | None = None


@dataclass(frozen=True, kw_only=True)
class GoalView:
    """A goal with its objectives as (description, is done)."""

    id: UUID
    name: str
    status: str
    objectives: tuple[tuple[str, bool], ...] = ()
