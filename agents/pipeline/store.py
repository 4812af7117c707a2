"""The first step: sets the scene from the stored message and what was said before it in the room."""

from __future__ import annotations

from agents.lanes import ClaimedTurn
from agents.scene import Scene, read_scene
from agents.trace import Trace


def open_scene(turn: ClaimedTurn, trace: Trace) -> Scene:
    """Read what the turn starts from: the agent, the room, the person, and the room's last messages."""
    with trace.step("store", message=str(turn.message_id)) as step:
        scene = read_scene(turn)
        step.output = {
            "recent_messages": len(scene.state.recent_messages),
            "goals": len(scene.state.goals),
        }
        return scene
