"""The scene of a turn: who speaks with whom, where, and what is known. Frozen; steps return what they add."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from agents.facts import AgentFacts, agent_facts
from agents.lanes import ClaimedTurn
from agents.models import Message
from agents.outbox import Destination
from agents.states import plugin_states_for
from memory.goals import find_active_goals
from memory.memories import MemoryDraft, scope_for
from plugins.api import (
    ActionResult,
    Attachment,
    Context,
    GoalView,
    JSONObject,
    MessageView,
    PersonView,
    RoomView,
    SecurityContext,
    State,
)
from plugins.registry import SERVICES

TALK = "talk"
"""What everyone may do who can reach an agent at all."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """All that the steps of one turn start from."""

    turn: ClaimedTurn
    agent: AgentFacts
    message: MessageView
    state: State
    security: SecurityContext
    now: dt.datetime

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
    ) -> Context:
        """Return what a function of this plugin receives."""
        plugin_settings = self.agent.settings.get(plugin)
        return Context(
            turn_id=self.turn.id,
            now=self.now,
            message=self.message,
            state=self.state,
            security=self.security,
            services=SERVICES,
            arguments=arguments or {},
            previous_results=previous_results,
            settings=plugin_settings if isinstance(plugin_settings, dict) else {},
        )


def read_scene(turn: ClaimedTurn) -> Scene:
    """Read what a turn starts from: the agent, the room, the person, and the room's last messages."""
    agent = agent_facts(turn.agent_id, turn.agent_revision, turn.character_version)
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
        recent_messages=_recent_messages(turn, agent.view.name),
        conversation_context=turn.room_name,
        goals=_goals(turn),
        plugin_states=_plugin_states(turn),
    )
    return Scene(
        turn=turn,
        agent=agent,
        message=message_of(turn),
        state=state,
        security=security_of(turn),
        now=timezone.now(),
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


def _recent_messages(turn: ClaimedTurn, agent_name: str) -> tuple[MessageView, ...]:
    rows = (
        Message.objects.filter(room_id=turn.room_id, agent_id=turn.agent_id)
        .filter(Q(direction=Message.Direction.OUT) | Q(received_at__lt=turn.received_at))
        .exclude(pk=turn.message_id)
        .order_by("-received_at")
        .values_list("id", "direction", "text", "person_id", "person__name", "said_at", "attachments")
    )
    return tuple(
        MessageView(
            id=row[0],
            text=row[2],
            speaker=agent_name if row[1] == Message.Direction.OUT else row[4] or "",
            person_id=None if row[1] == Message.Direction.OUT else row[3],
            said_at=row[5],
            attachments=tuple(Attachment(**attachment) for attachment in row[6]),
        )
        for row in reversed(rows[: settings.RECENT_MESSAGES])
    )


def _goals(turn: ClaimedTurn) -> tuple[GoalView, ...]:
    if not turn.has_goals:
        return ()
    return tuple(find_active_goals(turn.agent_id, turn.room_id, turn.person_id))


def _plugin_states(turn: ClaimedTurn) -> dict[str, JSONObject]:
    if not turn.has_plugin_states:
        return {}
    return plugin_states_for(turn.agent_id, turn.room_id, turn.person_id)
