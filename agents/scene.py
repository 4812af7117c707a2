"""The scene of a turn: who speaks with whom, where, and what is known. Frozen; steps return what they add."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from django.conf import settings
from django.db import connection

from agents.collecting import CollectedMessage, collected_messages
from agents.facts import AgentFacts, agent_facts
from agents.lanes import ClaimedTurn
from agents.outbox import Destination
from agents.states import plugin_states_for
from memory.goals import find_active_goals
from memory.memories import MemoryDraft, scope_for
from plugins.api import (
    ActionResult,
    Attachment,
    Context,
    Conversation,
    GoalView,
    JSONObject,
    MessageView,
    PersonView,
    RoomView,
    SecurityContext,
    Services,
    State,
)
from plugins.registry import SERVICES

TALK = "talk"
"""What everyone may do who can reach an agent at all."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """All that the steps of one turn start from.

    `message` is what is answered: where messages were collected, all of them, a line each, and
    `collected_ids` are those before the turn's own.
    """

    turn: ClaimedTurn
    agent: AgentFacts
    message: MessageView
    state: State
    security: SecurityContext
    now: dt.datetime
    is_addressed: bool | None = None
    collected_ids: frozenset[UUID] = frozenset()

    @property
    def is_private(self) -> bool:
        """Tell whether only the person and the agent are in the room."""
        return self.turn.room_type in {"DM", "VOICE_DM", "API", "SELF"}

    def context(
        self,
        plugin: str,
        *,
        arguments: JSONObject | None = None,
        previous_results: tuple[ActionResult, ...] = (),
        services: Services = SERVICES,
        conversation: Conversation | None = None,
    ) -> Context:
        """Return what a function of this plugin receives."""
        plugin_settings = self.agent.settings.get(plugin)
        return Context(
            turn_id=self.turn.id,
            now=self.now,
            message=self.message,
            state=self.state,
            security=self.security,
            services=services,
            conversation=conversation,
            arguments=arguments or {},
            previous_results=previous_results,
            settings=plugin_settings if isinstance(plugin_settings, dict) else {},
        )


def read_scene(turn: ClaimedTurn) -> Scene:
    """Read what a turn starts from: the agent, the room, the person, and the room's last messages."""
    agent = agent_facts(turn.agent_id, turn.agent_revision, turn.character_version)
    collected = collected_messages(turn)
    collected_ids = frozenset(message.id for message in collected)
    recent = [
        message for message in _recent_messages(turn, agent.view.name) if message.id not in collected_ids
    ]
    return replace(
        _scene(turn, agent, recent, _goals(turn)),
        message=_together(message_of(turn), collected),
        is_addressed=_is_addressed(turn, collected),
        collected_ids=collected_ids,
    )


def scene_of(turn: ClaimedTurn, messages: Sequence[MessageView], goals: Sequence[GoalView]) -> Scene:
    """Return the scene of a look at these messages, whose last one is the turn's."""
    agent = agent_facts(turn.agent_id, turn.agent_revision, turn.character_version)
    return _scene(turn, agent, messages, goals)


def _scene(
    turn: ClaimedTurn, agent: AgentFacts, messages: Sequence[MessageView], goals: Sequence[GoalView]
) -> Scene:
    person = turn.person_id and PersonView(
        id=turn.person_id, name=turn.person_name, is_bot=turn.person_is_bot
    )
    state = State(
        agent=agent.view,
        room=RoomView(
            id=turn.room_id,
            platform=turn.room_platform,
            platform_id=turn.room_external_id,
            type=turn.room_type,
            name=turn.room_name,
        ),
        person=person or None,
        recent_messages=tuple(messages),
        conversation_context=turn.conversation_context,
        goals=tuple(goals),
        user_context={"relationships": json.loads(turn.relationships or "[]")},
        plugin_states=_plugin_states(turn),
    )
    return Scene(
        turn=turn,
        agent=agent,
        message=message_of(turn),
        state=state,
        security=security_of(turn),
        now=turn.now,
    )


def message_of(turn: ClaimedTurn) -> MessageView:
    """Return the message that the turn answers."""
    return MessageView(
        id=turn.message_id,
        text=turn.message_text,
        speaker=turn.person_name,
        person_id=turn.person_id,
        said_at=turn.message_said_at,
        attachments=tuple(Attachment(**attachment) for attachment in turn.message_attachments),
    )


def _together(last: MessageView, collected: Sequence[CollectedMessage]) -> MessageView:
    if not collected:
        return last
    texts = [*(message.text for message in collected), last.text]
    before = tuple(attachment for message in collected for attachment in message.attachments)
    return replace(last, text="\n".join(filter(None, texts)), attachments=(*before, *last.attachments))


def _is_addressed(turn: ClaimedTurn, collected: Sequence[CollectedMessage]) -> bool | None:
    known = [turn.message_is_addressed, *(message.is_addressed for message in collected)]
    return True if True in known else None if None in known else False


def security_of(turn: ClaimedTurn) -> SecurityContext:
    """Return what the sender may do; it hangs on the network's word for the sender, never on text."""
    return SecurityContext(
        person_id=turn.person_id,
        platform=turn.room_platform,
        platform_verified=turn.message_is_verified,
        permissions=frozenset({TALK}),
        rate_limit_bucket=f"lane:{turn.lease.lane_id}",
        request_count=turn.bucket_count,
    )


def destination_of(turn: ClaimedTurn) -> Destination:
    """Return where the turn's replies go."""
    return Destination(
        agent_id=turn.agent_id,
        connection_id=turn.connection_id,
        room_id=turn.room_id,
        person_id=turn.person_id,
        turn_id=turn.id,
        reply_to_external_id=turn.message_external_id or "",
        said_count=turn.said_count,
    )


def message_draft(
    turn: ClaimedTurn, *, embedding: Sequence[float] | None = None, embedding_model: str = ""
) -> MemoryDraft:
    """Return the memory of the message that the turn answers."""
    return MemoryDraft(
        agent_id=turn.agent_id,
        kind="message",
        scope=scope_for(turn.room_type),
        person_id=turn.person_id,
        room_id=turn.room_id,
        speaker=turn.person_name,
        text=turn.message_text,
        said_at=turn.message_said_at,
        source_key=f"message:{turn.message_id}",
        source_messages=(turn.message_id,),
        embedding=embedding,
        embedding_model=embedding_model,
    )


RECENT_MESSAGES = """
SELECT message.id, message.direction = 'out', message.text, person.name, message.person_id, message.said_at,
       nullif(message.attachments, '[]'::jsonb)::text
FROM agents_message AS message LEFT JOIN agents_person AS person ON person.id = message.person_id
WHERE message.room_id = %(room)s AND message.agent_id = %(agent)s AND message.id <> %(message)s
  AND (message.direction = 'out' OR message.received_at < %(received_at)s)
ORDER BY message.received_at DESC LIMIT %(limit)s
"""
"""What was said in the room before this message, and what the agent has said since. By hand: a queryset of the
same took a tenth of a turn's Python.
"""


def _recent_messages(turn: ClaimedTurn, agent_name: str) -> tuple[MessageView, ...]:
    with connection.cursor() as cursor:
        cursor.execute(
            RECENT_MESSAGES,
            {
                "room": turn.room_id,
                "agent": turn.agent_id,
                "message": turn.message_id,
                "received_at": turn.received_at,
                "limit": settings.RECENT_MESSAGES,
            },
        )
        rows = cursor.fetchall()
    return tuple(
        MessageView(
            id=id,
            text=text,
            speaker=agent_name if is_from_agent else name or "",
            person_id=None if is_from_agent else person_id,
            said_at=said_at,
            attachments=tuple(Attachment(**attachment) for attachment in json.loads(attachments or "[]")),
        )
        for id, is_from_agent, text, name, person_id, said_at, attachments in reversed(rows)
    )


def _goals(turn: ClaimedTurn) -> tuple[GoalView, ...]:
    if not turn.has_goals:
        return ()
    return tuple(find_active_goals(turn.agent_id, turn.room_id, turn.person_id))


def _plugin_states(turn: ClaimedTurn) -> dict[str, JSONObject]:
    if not turn.has_plugin_states:
        return {}
    return plugin_states_for(turn.agent_id, turn.room_id, turn.person_id)
