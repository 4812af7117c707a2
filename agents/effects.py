"""Applies what plugins want changed, in the transaction that saves the step: done exactly once with it.

Called by the pipeline for actions and evaluators, and by the scheduler for tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.utils import timezone

from agents import outbox
from agents.models import Agent, Room
from agents.outbox import Destination, Reply
from agents.states import NoSuchScope, keep_plugin_state
from memory.facts import NewFact, Place, learn_facts, remember_fact
from memory.goals import advance, find_active_goals, set_goal
from memory.memories import MemoryDraft, remember, scope_for
from memory.relationships import relate
from plugins.api import (
    AdvanceGoal,
    Effect,
    LearnFact,
    Relate,
    Remember,
    Say,
    Schedule,
    SetGoal,
    SetPluginState,
    Summarise,
)
from plugins.calendar import schedule_task


class CannotApply(Exception):
    """An effect asks for something that is not there: a room to speak in, a person to relate or to keep a state of."""


@dataclass(frozen=True, kw_only=True)
class _Cause:
    plugin: str
    agent_id: UUID
    room_id: UUID | None
    person_id: UUID | None
    message_id: UUID | None
    cause_id: UUID | str


def apply_effects(
    effects: Sequence[Effect],
    *,
    plugin: str,
    agent_id: UUID,
    cause_id: UUID | str,
    room_id: UUID | None = None,
    person_id: UUID | None = None,
    message_id: UUID | None = None,
    is_in_turn: bool = False,
) -> None:
    """Apply the effects in the caller's transaction. Within a turn, what is said is left to the turn's end.

    Raises: CannotApply.
    """
    cause = _Cause(
        plugin=plugin,
        agent_id=agent_id,
        room_id=room_id,
        person_id=person_id,
        message_id=message_id,
        cause_id=cause_id,
    )
    for position, effect in enumerate(effects):
        if not isinstance(effect, Say):
            _apply(effect, cause, position)
    said = [effect for effect in effects if isinstance(effect, Say)]
    if said and not is_in_turn:
        _say(said, cause)


def _apply(effect: Effect, cause: _Cause, position: int) -> None:
    match effect:
        case Remember():
            _remember(effect, cause, position)
        case SetGoal():
            set_goal(
                agent_id=cause.agent_id,
                name=effect.name,
                person_id=cause.person_id,
                # A goal with one person is the same goal in each of their private rooms.
                room_id=None if _is_private(cause) else cause.room_id,
                status=effect.status,
                objectives=effect.objectives,
                completed_objectives=effect.completed_objectives,
            )
        case Relate():
            if cause.person_id is None:
                raise CannotApply(f"The plugin {cause.plugin} relates a person, but nobody spoke.")
            relate(
                agent_id=cause.agent_id,
                user_a_id=cause.person_id,
                user_b_id=effect.other_person_id,
                relationship_type=effect.relationship_type,
                strength_change=effect.strength_change,
                room_id=None if effect.is_everywhere else cause.room_id,
                tags=effect.tags,
                evidence=[cause.message_id] if cause.message_id else [],
            )
        case LearnFact():
            _learn_fact(effect, cause)
        case AdvanceGoal():
            _advance(effect, cause)
        case Summarise():
            raise CannotApply(f"The plugin {cause.plugin} sums up a conversation without looking at one.")
        case SetPluginState():
            try:
                keep_plugin_state(
                    cause.plugin,
                    effect,
                    agent_id=cause.agent_id,
                    room_id=cause.room_id,
                    person_id=cause.person_id,
                )
            except NoSuchScope as error:
                raise CannotApply(str(error)) from error
        case Schedule():
            schedule_task(
                agent_id=cause.agent_id,
                plugin=cause.plugin,
                task=effect.task,
                at=effect.at,
                room_id=cause.room_id,
                person_id=cause.person_id,
                arguments=effect.arguments,
            )


def _remember(effect: Remember, cause: _Cause, position: int) -> None:
    scope = _scope(cause)
    person_id = cause.person_id if effect.about_person else None
    if scope == "person" and person_id is None:
        scope = "room"
    sources = (cause.message_id,) if cause.message_id else ()
    if effect.kind == "fact":
        remember_fact(
            agent_id=cause.agent_id,
            text=effect.text,
            scope=scope,
            said_at=timezone.now(),
            person_id=person_id,
            room_id=cause.room_id,
            importance=effect.importance,
            source_messages=sources,
        )
        return
    remember(
        [
            MemoryDraft(
                agent_id=cause.agent_id,
                kind=effect.kind,
                scope=scope,
                text=effect.text,
                said_at=timezone.now(),
                person_id=person_id,
                room_id=cause.room_id,
                importance=effect.importance,
                source_messages=sources,
                source_key=f"effect:{cause.cause_id}:{position}"[:120],
            )
        ]
    )


def _learn_fact(effect: LearnFact, cause: _Cause) -> None:
    """Learn a fact of the turn's message, about its person or nobody; looks at conversations learn of others too."""
    if effect.subject_id not in (None, cause.person_id):
        raise CannotApply(
            f"The plugin {cause.plugin} learns of {effect.subject_id}, who does not speak here."
        )
    is_private = _is_private(cause)
    place = Place(
        agent_id=cause.agent_id,
        scope="person" if is_private else "room" if cause.room_id else "agent",
        room_id=cause.room_id,
        person_id=cause.person_id if is_private else None,
    )
    fact = NewFact(
        text=effect.text,
        said_at=timezone.now(),
        subject_id=effect.subject_id,
        type=effect.type,
        attribute=effect.attribute,
        value=effect.value,
        confidence=effect.confidence,
        sources=(cause.message_id,) if cause.message_id else (),
        same_as=effect.same_as,
        replaces=effect.replaces,
    )
    learn_facts(place, [fact])


def _advance(effect: AdvanceGoal, cause: _Cause) -> None:
    visible = find_active_goals(cause.agent_id, cause.room_id, cause.person_id)
    if effect.goal_id not in {goal.id for goal in visible}:
        raise CannotApply(f"The plugin {cause.plugin} advances {effect.goal_id}, which is no goal of here.")
    advance(
        effect.goal_id,
        completed_objectives=effect.completed_objectives,
        shown_by_message=cause.message_id,
    )


def _scope(cause: _Cause) -> str:
    if cause.room_id is None:
        return "agent"
    return scope_for(Room.objects.values_list("type", flat=True).get(pk=cause.room_id))


def _is_private(cause: _Cause) -> bool:
    return cause.person_id is not None and _scope(cause) == "person"


def _say(said: Sequence[Say], cause: _Cause) -> None:
    if cause.room_id is None:
        raise CannotApply(f"The plugin {cause.plugin} says something, but in no room.")
    connection_id = (
        Agent.objects.filter(
            pk=cause.agent_id, connections__is_enabled=True, connections__platform=_platform_of(cause.room_id)
        )
        .values_list("connections", flat=True)
        .first()
    )
    if connection_id is None:
        raise CannotApply(f"The agent has no open connection to the network of room {cause.room_id}.")
    outbox.put(
        Destination(
            agent_id=cause.agent_id,
            connection_id=connection_id,
            room_id=cause.room_id,
            person_id=cause.person_id,
        ),
        [Reply(text=effect.text, attachments=effect.attachments) for effect in said],
    )


def _platform_of(room_id: UUID) -> str:
    return Room.objects.values_list("platform", flat=True).get(pk=room_id)
