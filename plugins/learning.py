"""The part of the contract that learning takes: what is looked at, questions to a model, and what was learnt.

An evaluator that `looks_at="conversation"` receives a `Conversation` in its context. Whoever is granted
`Permission.CALL_MODEL` asks the service `model`. Plain Python; `plugins.api` hands all of it on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from uuid import UUID

from plugins import quotations
from plugins.views import MessageView, PersonView

LINE_CHARACTERS = 600
"""So much of one message is shown to a model that learns from it."""


@dataclass(frozen=True, kw_only=True)
class KnownFact:
    """A fact that holds where the conversation is. `subject_id` None is about nobody."""

    id: UUID
    text: str
    subject_id: UUID | None = None
    attribute: str = ""


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """What was said in a room since it was looked at last, and what bears on it.

    `messages` are those of people and the agent's replies to them, oldest first; none where only a pause is
    to be noted. `people` are whom something can be learnt about: the agent's own person first, then who spoke
    or was named of the room's participants. `answered` counts each person's messages that got a reply.
    `earlier` is the summary of the episode before this one, `summary` and `outcome` of this one so far;
    `is_closing` says that it ends with this look.
    """

    own_person: PersonView
    messages: tuple[MessageView, ...] = ()
    people: tuple[PersonView, ...] = ()
    facts: tuple[KnownFact, ...] = ()
    answered: Mapping[UUID, int] = field(default_factory=dict)
    earlier: str = ""
    summary: str = ""
    outcome: str = ""
    is_closing: bool = False

    def lines(self) -> str:
        """Return the messages numbered from 1, a line each, the words as quotations that nothing in them ends."""
        return "\n".join(
            f"{number}. {' '.join(message.speaker.split())}: {quote(message.text)}"
            for number, message in enumerate(self.messages, 1)
        )


def quote(text: str, characters: int = LINE_CHARACTERS) -> str:
    """Return the text as one line's quotation, cut at so many characters."""
    line = " ".join(text.split())
    return quotations.quote(line if len(line) <= characters else line[:characters] + " …")


# Questions to a model ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a plugin asks the agent's small model: an object of the JSON schema `schema`.

    `purpose` stands in the trace. `list_key` is what a bare list is taken for, `text_key` what plain words
    are; without one, they are no answer. `aliases` are other names of keys. `kept` is recorded with the answer:
    what the numbers in the text stand for, so that an answer which is read again later still means the same.
    """

    purpose: str
    instruction: str
    text: str
    schema: Mapping[str, Any]
    list_key: str = ""
    text_key: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict)
    kept: Mapping[str, Any] = field(default_factory=dict)
    max_tokens: int = 800


@dataclass(frozen=True, kw_only=True)
class ModelAnswer:
    """What a model answered, by whichever `path` it took: tool, json, xml or text; None where it is no answer.

    What `value` holds has the schema's shape as far as it is there: keys may be missing or None.
    """

    value: Mapping[str, Any] | None
    path: str
    kept: Mapping[str, Any] = field(default_factory=dict)


class Model(Protocol):
    """The service `model`, as an evaluator reaches it."""

    def ask(self, question: Question) -> ModelAnswer:
        """Ask the agent's small model once; an answer that was recorded is not asked for again.

        Raises: ModelError where no answer came; PermissionDenied; TooManyQuestions.
        """


def chosen(items: Sequence[UUID], number: object, *, start: int = 1) -> UUID | None:
    """Return what a model's number stands for, counted from `start`, or None where it stands for nothing."""
    if not isinstance(number, int) or isinstance(number, bool):
        return None
    return items[number - start] if start <= number < start + len(items) else None


# What was learnt -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Remember:
    """Keep this as a memory; `about_person` scopes it to the turn's person."""

    text: str
    kind: Literal["fact", "episode", "document"] = "fact"
    importance: float = 0.5
    about_person: bool = True


@dataclass(frozen=True, kw_only=True)
class LearnFact:
    """Merge this fact into what is known where it was said.

    `subject_id` is a person of the conversation, or None for nobody; `message_ids` are messages of it.
    `attribute` and `value` say it in short: a new value of what somebody has one of, such as `lives_in`, ends
    the old one. `same_as` and `replaces` are ids of known facts.
    """

    text: str
    message_ids: tuple[UUID, ...]
    subject_id: UUID | None = None
    type: Literal["identity", "preference", "event", "fact"] = "fact"
    attribute: str = ""
    value: str = ""
    confidence: float = 0.5
    same_as: UUID | None = None
    replaces: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class Relate:
    """Note a relationship between two people: the turn's person, or `person_id`, and another.

    `interactions` let it grow as speaking with each other does; `message_ids` are its evidence, else the turn's
    message. It is spoken of in its room alone; one that `is_everywhere`, wherever the first of the two speaks.
    """

    other_person_id: UUID
    relationship_type: str
    strength_change: float = 0.1
    person_id: UUID | None = None
    interactions: int = 0
    tags: tuple[str, ...] = ()
    message_ids: tuple[UUID, ...] = ()
    is_everywhere: bool = False


@dataclass(frozen=True, kw_only=True)
class SetGoal:
    """Create the goal of this name for the agent, or change its status and objectives."""

    name: str
    status: Literal["active", "completed", "failed", "cancelled"] = "active"
    objectives: tuple[str, ...] = ()
    completed_objectives: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AdvanceGoal:
    """Mark objectives of a goal that may be spoken of here as done, with the message that shows it."""

    goal_id: UUID
    completed_objectives: tuple[str, ...]
    message_id: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class Summarise:
    """Keep this as the summary of the episode that goes on, and how things stand at its end."""

    summary: str
    outcome: str = ""
