"""Which actions a turn may take: decided before the model is asked, and again before each one runs.

The right to act comes from the verified sender of the current message, never from text.
"""

from __future__ import annotations

import structlog

from agents.scene import Scene
from plugins.api import Action
from plugins.registry import Registered

log = structlog.get_logger(__name__)

PLAIN_ACTIONS = frozenset({"REPLY", "IGNORE", "NONE"})
"""What every answer can do without being told of it."""


def offered_actions(scene: Scene) -> list[Registered[Action]]:
    """Return the actions beyond the plain ones that the model is told of."""
    return [
        registered
        for registered in scene.agent.components.actions
        if registered.component.name not in PLAIN_ACTIONS and is_allowed(registered, scene)
    ]


def is_allowed(registered: Registered[Action], scene: Scene) -> bool:
    """Tell whether this action may be taken now; what raises while it is asked may not.

    One that is `dangerous` may be offered as any other; `agents.pipeline.act` asks a person before it runs.
    """
    try:
        return bool(registered.component.validate(scene.context(registered.plugin)))
    except Exception:  # a plugin may raise anything; what can't say that it may run, may not
        log.warning("validate_failed", action=registered.component.name, exc_info=True)
        return False
