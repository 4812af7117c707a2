"""The first step: sets the scene from the stored message and what was said before it in the room."""

from __future__ import annotations

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from agents.facts import agent_facts
from agents.lanes import ClaimedTurn
from agents.models import Message
from agents.scene import Scene, message_of, security_of
from agents.states import plugin_states_for
from agents.trace import Trace
from memory.goals import find_active_goals
from plugins.api import Attachment, GoalView, JSONObject, MessageView, PersonView, RoomView, State


def open_scene(turn: ClaimedTurn, trace: Trace) -> Scene:
    """Read what the turn starts from: the agent, the room, the person, and the room's last messages."""
    with trace.step("store", message=str(turn.message_id)) as step:
        agent = agent_facts(turn.agent_id, turn.agent_revision, turn.character_version)
        recent = _recent_messages(turn, agent.view.name)
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
            recent_messages=recent,
            conversation_context=turn.room_name,
            goals=_goals(turn),
            plugin_states=_plugin_states(turn),
        )
        step.output = {"recent_messages": len(recent), "goals": len(state.goals)}
    return Scene(
        turn=turn,
        agent=agent,
        message=message_of(turn),
        state=state,
        security=security_of(turn),
        now=timezone.now(),
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
