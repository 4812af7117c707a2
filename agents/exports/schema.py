"""The shape of an export, field by field: `export_person --schema` prints it as JSON Schema.

Times are ISO 8601 with their zone, ids are UUIDs. A new field is a new minor VERSION; one that changes or goes, a new
major one.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

NAME = "person-export"
VERSION = "1.0"


class Row(BaseModel):
    """What all rows share: no field that is not stated here."""

    model_config = ConfigDict(extra="forbid")


class Schema(Row):
    """Which shape this is."""

    name: Literal["person-export"]
    version: str


class Person(Row):
    """The person; `merged` are the ids of people who turned out to be the same."""

    id: str
    name: str
    is_bot: bool
    created_at: AwareDatetime
    merged: list[str]


class Account(Row):
    """The person on one network."""

    platform: str
    external_id: str
    username: str
    created_at: AwareDatetime


class SignIn(Row):
    """A user of this site that the person signs in as; without passwords and keys."""

    username: str
    first_name: str
    last_name: str
    email: str
    joined_at: AwareDatetime
    last_login_at: AwareDatetime | None
    api_keys: list[dict[str, Any]]


class Room(Row):
    """A room that the person was in. `is_private`: no other human was in it."""

    id: str
    platform: str
    external_id: str
    type: str
    name: str
    is_private: bool
    joined_at: AwareDatetime
    state: str


class Delivery(Row):
    """How a reply was sent."""

    state: str
    attempts: int
    created_at: AwareDatetime
    sent_at: AwareDatetime | None
    answer: dict[str, Any] = Field(description="What the network answered; empty in rooms of others.")
    error: str


class Reply(Row):
    """What an agent answered the person."""

    id: str
    text: str
    attachments: list[Any]
    said_at: AwareDatetime
    delivery: Delivery | None


class Message(Row):
    """What the person said, and the replies to it.

    `platform_data` is what the network sent along; in rooms of others it is left out, as networks quote others in it.
    """

    id: str
    agent: str
    room: str
    text: str
    attachments: list[Any]
    external_id: str | None
    is_addressed: bool | None
    is_verified: bool
    said_at: AwareDatetime
    received_at: AwareDatetime
    platform_data: dict[str, Any] | None
    turn: str | None
    replies: list[Reply]


class Unasked(Row):
    """What an agent said to the person without being asked, as by a scheduled task."""

    id: str
    agent: str
    room: str
    text: str
    attachments: list[Any]
    said_at: AwareDatetime
    delivery: Delivery | None


class Step(Row):
    """A part of the work on a message."""

    name: str
    state: str
    input: Any
    output: Any
    milliseconds: float
    error: str
    created_at: AwareDatetime


class PromptLine(Row):
    """A line of a prompt; where it is others' words, only how long it was."""

    role: str
    content: str | None
    withheld_characters: int = 0


class ModelCall(Row):
    """A request to a model."""

    purpose: str
    provider: str
    model: str
    prompt: list[PromptLine]
    answer: str
    parse_path: str
    finish_reason: str
    input_tokens: int | None
    output_tokens: int | None
    cost: str | None
    milliseconds: float
    first_token_milliseconds: float | None
    error: str
    created_at: AwareDatetime


class Approval(Row):
    """An action that waited for somebody's word; whose, is not the person's."""

    action: str
    plugin: str
    arguments: Any
    kind: str
    state: str
    requested_at: AwareDatetime
    expires_at: AwareDatetime | None
    decided_at: AwareDatetime | None
    used_at: AwareDatetime | None
    reason: str


class Turn(Row):
    """The work on one message, with its trace."""

    id: str
    message: str | None
    agent: str
    room: str
    state: str
    outcome: str
    attempts: int
    error: str
    received_at: AwareDatetime
    started_at: AwareDatetime | None
    ended_at: AwareDatetime | None
    steps: list[Step]
    model_calls: list[ModelCall]
    approvals: list[Approval]


class Memory(Row):
    """Something that an agent keeps of the person; of a vector, only by which model it was made."""

    id: str
    agent: str
    kind: str
    scope: str
    room: str | None
    speaker: str
    text: str
    importance: float
    source_messages: list[str] = Field(description="Those of the person's own messages that it came from.")
    embedding_model: str
    said_at: AwareDatetime
    created_at: AwareDatetime


class Fact(Memory):
    """A fact about the person, current or past: a past one names what took its place."""

    superseded_by: str | None


class Relationship(Row):
    """How the person stands to an agent or somebody else, who is not named."""

    agent: str
    with_: Literal["an agent", "another person"] = Field(alias="with")
    direction: Literal["from the person", "to the person"]
    relationship_type: str
    strength: float
    tags: list[Any]
    evidence: list[str] = Field(description="Those of the person's own messages that it came from.")
    created_at: AwareDatetime
    updated_at: AwareDatetime


class Objective(Row):
    """A part of a goal."""

    description: str
    is_done: bool
    done_at: AwareDatetime | None


class Goal(Row):
    """What an agent is after for the person."""

    agent: str
    room: str | None
    name: str
    status: str
    created_at: AwareDatetime
    completed_at: AwareDatetime | None
    objectives: list[Objective]


class PluginState(Row):
    """What a plugin keeps of the person, or for a room of theirs alone."""

    plugin: str
    agent: str
    room: str | None
    state: Any
    updated_at: AwareDatetime


class ScheduledTask(Row):
    """What a plugin is to do because of the person."""

    plugin: str
    task: str
    agent: str
    room: str | None
    schedule: str
    arguments: Any
    is_enabled: bool
    next_run_at: AwareDatetime | None
    created_at: AwareDatetime
    runs: list[dict[str, Any]]


class AuditEntry(Row):
    """What somebody decided about the person, or about what they said; who that was, is not the person's."""

    at: AwareDatetime
    verb: str
    object_kind: str
    object_id: str
    reason: str


class PersonExport(Row):
    """All that is known of one person."""

    schema_: Schema = Field(alias="schema")
    exported_at: AwareDatetime
    person: Person
    accounts: list[Account]
    sign_ins: list[SignIn]
    rooms: list[Room]
    messages: list[Message]
    unasked: list[Unasked]
    turns: list[Turn]
    memories: list[Memory]
    facts: list[Fact]
    relationships: list[Relationship]
    goals: list[Goal]
    plugin_states: list[PluginState]
    scheduled_tasks: list[ScheduledTask]
    audit_entries: list[AuditEntry]


def json_schema() -> dict[str, Any]:
    """Return the shape as JSON Schema (draft 2020-12)."""
    return PersonExport.model_json_schema(by_alias=True)
