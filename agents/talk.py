"""How much an agent talks in a room, so that agents and bots that answer each other come to an end.

`agents.pipeline.respond` asks where a bot spoke; a human is answered whatever the figures.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection

from agents.scene import Scene

SHARE_FROM_MESSAGES = 6
"""A share of fewer messages says nothing: of the first two, one is half."""

TURNS_WITHOUT_HUMAN = """
SELECT count(DISTINCT said.turn_id) FROM agents_message AS said
WHERE said.room_id = %(room)s AND said.agent_id = %(agent)s AND said.direction = 'out'
  AND said.received_at > coalesce(
      (SELECT heard.received_at
       FROM agents_message AS heard JOIN agents_person AS person ON person.id = heard.person_id
       WHERE heard.room_id = %(room)s AND heard.agent_id = %(agent)s AND heard.direction = 'in'
         AND NOT person.is_bot
       ORDER BY heard.received_at DESC LIMIT 1), '-infinity')
"""
"""The agent's own turns in the room since a human last said something there."""


@dataclass(frozen=True, kw_only=True)
class TalkWithBots:
    """The figures by which an agent stops answering bots, each beside its limit.

    Unit: shares in percent of the room's recent messages. A limit that is None is none.
    """

    turns_without_human: int
    turn_limit: int | None
    share: int
    share_limit: int

    @property
    def reached(self) -> str:
        """Say in words which limit is reached; empty where none is."""
        if self.turn_limit is not None and self.turns_without_human >= self.turn_limit:
            return f"a bot, after {self.turns_without_human} turns without a human (limit {self.turn_limit})"
        if self.share > self.share_limit:
            return f"a bot, and {self.share} % of the talk is the agent's (limit {self.share_limit} %)"
        return ""


def talk_with_bots(scene: Scene) -> TalkWithBots:
    """Count how much the agent has said in the scene's room, in one statement and from what was read."""
    recent = scene.state.recent_messages
    heard = len(recent) + 1
    own = sum(message.is_from_agent for message in recent)
    return TalkWithBots(
        turns_without_human=_turns_without_human(scene) if scene.agent.bot_turn_limit is not None else 0,
        turn_limit=scene.agent.bot_turn_limit,
        share=own * 100 // heard if heard >= SHARE_FROM_MESSAGES else 0,
        share_limit=scene.agent.talk_share_limit,
    )


def _turns_without_human(scene: Scene) -> int:
    with connection.cursor() as cursor:
        cursor.execute(TURNS_WITHOUT_HUMAN, {"room": scene.turn.room_id, "agent": scene.turn.agent_id})
        count: int = cursor.fetchone()[0]
    return count
