"""The whole contract between the runtime and a plugin, in plain Python.

A plugin is one module whose last statement is `plugin = Plugin(...)`. Its functions receive a `Context` and
return values; what they want changed in the database they return as effects, which the pipeline applies in
the transaction that saves the step. Nothing here knows Django or Celery, so the same file runs in a worker
and in a sandbox.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol
from uuid import UUID

from plugins.citations import Citation as Citation
from plugins.learning import AdvanceGoal as AdvanceGoal
from plugins.learning import Conversation as Conversation
from plugins.learning import KnownFact as KnownFact
from plugins.learning import LearnFact as LearnFact
from plugins.learning import Model as Model
from plugins.learning import ModelAnswer as ModelAnswer
from plugins.learning import Question as Question
from plugins.learning import Relate as Relate
from plugins.learning import Remember as Remember
from plugins.learning import SetGoal as SetGoal
from plugins.learning import Summarise as Summarise
from plugins.views import AgentView as AgentView
from plugins.views import Attachment as Attachment
from plugins.views import CharacterView as CharacterView
from plugins.views import GoalView as GoalView
from plugins.views import JSONObject as JSONObject
from plugins.views import MessageView as MessageView
from plugins.views import PersonView as PersonView
from plugins.views import RecalledMemory as RecalledMemory
from plugins.views import RoomView as RoomView


class Permission(StrEnum):
    """What a plugin may ask for and an operator may grant."""

    READ_MEMORY = "memory.read"
    WRITE_MEMORY = "memory.write"
    READ_GOALS = "goals.read"
    WRITE_GOALS = "goals.write"
    SAY = "message.say"
    SCHEDULE = "task.schedule"
    CALL_MODEL = "model.call"
    NETWORK = "network.fetch"


# What is known when a turn is worked ---------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class State:
    """All that is known when a turn is worked. Frozen: plugins return changes, they don't write."""

    agent: AgentView
    room: RoomView
    person: PersonView | None
    recent_messages: tuple[MessageView, ...] = ()
    conversation_context: str = ""
    goals: tuple[GoalView, ...] = ()
    known: tuple[RecalledMemory, ...] = ()
    user_context: JSONObject = field(default_factory=dict)
    plugin_states: Mapping[str, JSONObject] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SecurityContext:
    """Who speaks and what that person may do. It comes from the verified sender, never from text."""

    person_id: UUID | None
    platform: str
    platform_verified: bool
    permissions: frozenset[str] = frozenset()
    rate_limit_bucket: str = ""
    request_count: int = 0


class Services(Protocol):
    """How a plugin reaches a service by name."""

    def get_service(self, name: str) -> Any:
        """Return the service registered as `name`.

        Raises: UnknownService where nothing has that name.
        """


@dataclass(frozen=True, kw_only=True)
class Context:
    """What each plugin function receives; `conversation` only an evaluator that looks at one."""

    turn_id: UUID
    now: dt.datetime
    message: MessageView
    state: State
    security: SecurityContext
    services: Services
    arguments: JSONObject = field(default_factory=dict)
    previous_results: tuple[ActionResult, ...] = ()
    settings: JSONObject = field(default_factory=dict)
    conversation: Conversation | None = None


# What a plugin wants changed -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Say:
    """Say this in the turn's room, as a message of its own."""

    text: str
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SetPluginState:
    """Replace the plugin's own state for the turn's person or room, or the agent's own.

    Where there is no person or no room, as in a scheduled task, their scope is refused.
    """

    state: JSONObject
    scope: Literal["agent", "room", "person"] = "person"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Run the plugin's task `task` at `at`, with `arguments`, in this room."""

    task: str
    at: dt.datetime
    arguments: JSONObject = field(default_factory=dict)


Effect = Say | Remember | SetGoal | AdvanceGoal | LearnFact | Relate | Summarise | SetPluginState | Schedule


@dataclass(frozen=True, kw_only=True)
class ActionResult:
    """What an action did. Silence is a result: an action may succeed and say nothing."""

    success: bool = True
    text: str = ""
    values: JSONObject = field(default_factory=dict)
    effects: tuple[Effect, ...] = ()
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """What an evaluator learnt from a finished turn."""

    note: str = ""
    effects: tuple[Effect, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Provided:
    """What a provider adds to the prompt (`text`) and to the values that templates may name."""

    text: str = ""
    values: Mapping[str, str] = field(default_factory=dict)


# Components ----------------------------------------------------------------------------------------------


def _always(_context: Context) -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Action:
    """Something that the agent can do.

    `validate` decides whether it is offered, and is asked again just before `execute` runs. `parameters` is
    the JSON schema of the arguments. An action that changes anything but through its effects says
    `works_outward`: cut short, it runs again only where it is `idempotent`, and a person is asked elsewhere.
    One that is `dangerous` never runs before a person was asked.
    Unit: `time_limit_seconds` in seconds.
    """

    name: str
    description: str
    execute: Callable[[Context], ActionResult]
    validate: Callable[[Context], bool] = _always
    similes: tuple[str, ...] = ()
    examples: tuple[tuple[str, ...], ...] = ()
    parameters: JSONObject = field(default_factory=dict)
    works_outward: bool = False
    idempotent: bool = False
    dangerous: bool = False
    time_limit_seconds: float = 30.0


@dataclass(frozen=True, kw_only=True)
class Provider:
    """Something that tells what is known. Lower `position` stands earlier in the prompt.

    A `dynamic` provider is asked only when an action or the model names it. A `cheap` one neither waits nor
    computes for long, and is called in line instead of on a thread with a time limit.
    Unit: `time_limit_seconds` in seconds.
    """

    name: str
    get: Callable[[Context], Provided | str]
    description: str = ""
    position: int = 0
    dynamic: bool = False
    cheap: bool = False
    time_limit_seconds: float = 5.0


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Something that learns from a finished turn; it runs after the reply, never in its way.

    One that `looks_at` conversations is called once after every so many messages in a room, and when it has
    paused, in place of once a turn; `always_run` is for the others.
    Unit: `time_limit_seconds` in seconds.
    """

    name: str
    evaluate: Callable[[Context], EvaluationResult]
    description: str = ""
    validate: Callable[[Context], bool] = _always
    always_run: bool = False
    looks_at: Literal["turn", "conversation"] = "turn"
    time_limit_seconds: float = 60.0


@dataclass(frozen=True, kw_only=True)
class TaskContext:
    """What a scheduled task receives."""

    run_id: UUID
    agent: AgentView
    slot: dt.datetime
    services: Services
    arguments: JSONObject = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Task:
    """Work by the clock: a cron expression, an interval in seconds, or once.

    Unit: `schedule` is a cron expression in UTC, or `every <seconds>`, or `once`.
    """

    name: str
    schedule: str
    execute: Callable[[TaskContext], Sequence[Effect] | None]
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Service:
    """Something long-lived that others reach by name. `start` builds it on first use; `stop` ends it."""

    name: str
    start: Callable[[], Any]
    stop: Callable[[Any], None] | None = None


@dataclass(frozen=True, kw_only=True)
class EventHandler:
    """A function that is called, at least once, for each durable event of this name."""

    event: str
    handle: Callable[[JSONObject], None]


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A plugin: its name, what it brings, and the permissions that it needs."""

    name: str
    description: str
    version: str = "1"
    actions: tuple[Action, ...] = ()
    providers: tuple[Provider, ...] = ()
    evaluators: tuple[Evaluator, ...] = ()
    tasks: tuple[Task, ...] = ()
    services: tuple[Service, ...] = ()
    events: tuple[EventHandler, ...] = ()
    permissions: frozenset[str] = frozenset()
    initialise: Callable[[Services], None] | None = None
