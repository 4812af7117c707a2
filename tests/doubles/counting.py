"""A plugin that counts, for the person, the room and the agent, how often it was asked to; and a worker that does so.

`python -m tests.doubles.counting LANE` works a lane in a process of its own, and ends.
"""

from __future__ import annotations

import sys
from uuid import UUID

from plugins.api import Action, ActionResult, Context, Permission, Plugin, Say, SetPluginState

SCRIPT = "scripted:<response><actions>COUNT</actions><text></text></response>"
SCOPES = ("person", "room", "agent")


def count(context: Context) -> ActionResult:
    """Count one more in each scope, and say how far it is."""
    state = context.state.plugin_states.get("counting", {})
    counts = {f"of_{scope}": int(state.get(f"of_{scope}", 0)) + 1 for scope in SCOPES}
    told = " ".join(f"{scope} {counts[f'of_{scope}']}" for scope in SCOPES)
    kept = tuple(
        SetPluginState(state={f"of_{scope}": counts[f"of_{scope}"]}, scope=scope)  # type: ignore[arg-type]
        for scope in SCOPES
    )
    return ActionResult(effects=(*kept, Say(text=told)))


plugin = Plugin(
    name="counting",
    description="Counts.",
    permissions=frozenset({Permission.SAY}),
    actions=(Action(name="COUNT", description="Count one more.", execute=count),),
)


def main(lane_id: str) -> None:
    """Work the lane."""
    import django

    django.setup()
    from agents import work

    sys.exit(0 if work.drain_lane(UUID(lane_id)) else 1)


if __name__ == "__main__":
    main(sys.argv[1])
