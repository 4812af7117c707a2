"""What a plugin asked for against what it was granted. `agents.effects` checks here before it applies.

Built-ins, and the plugins that the operator names in ELIZA_PLUGINS, are granted what they ask for. A plugin
that is only installed, and that a character file chose, may tell and read, but is granted no effect.
"""

from __future__ import annotations

from collections.abc import Iterable

from plugins.api import (
    AdvanceGoal,
    Effect,
    LearnFact,
    Permission,
    Relate,
    Remember,
    Say,
    Schedule,
    SetGoal,
    SetPluginState,
    Summarise,
)
from plugins.loader import Origin
from plugins.registry import get_registry

_NEEDED: dict[type, Permission | None] = {
    Say: Permission.SAY,
    Remember: Permission.WRITE_MEMORY,
    LearnFact: Permission.WRITE_MEMORY,
    Relate: Permission.WRITE_MEMORY,
    Summarise: Permission.WRITE_MEMORY,
    SetGoal: Permission.WRITE_GOALS,
    AdvanceGoal: Permission.WRITE_GOALS,
    Schedule: Permission.SCHEDULE,
    # A plugin's own state is its own.
    SetPluginState: None,
}


class PermissionDenied(Exception):
    """The plugin wants what it was not granted."""


def required_permission(effect: Effect) -> Permission | None:
    """Return the permission that an effect needs, or None where it needs none.

    Raises: TypeError where it is no effect of plugins.api.
    """
    try:
        return _NEEDED[type(effect)]
    except KeyError:
        known = ", ".join(kind.__name__ for kind in _NEEDED)
        raise TypeError(f"{effect!r} is no effect. Return one of {known} from plugins.api.") from None


def granted_permissions(plugin: str) -> frozenset[str]:
    """Return what the plugin of this name was granted; nothing where it is not loaded."""
    loaded = get_registry().find_plugin(plugin)
    if loaded is None or loaded.origin is Origin.INSTALLED:
        return frozenset()
    return frozenset(loaded.plugin.permissions)


def check_permission(plugin: str, needed: Permission, what: str) -> None:
    """Refuse what the plugin was not granted.

    Raises: PermissionDenied, naming the plugin, what it wants and the cure.
    """
    if needed not in granted_permissions(plugin):
        raise PermissionDenied(
            f"The plugin {plugin!r} may not {what}: that needs {needed.value!r}. {_cure(plugin, needed)}"
        )


def check_effects(plugin: str, effects: Iterable[Effect]) -> None:
    """Refuse effects that the plugin was not granted.

    Raises: PermissionDenied, naming the plugin, the effect and the cure.
    """
    granted: frozenset[str] | None = None
    for effect in effects:
        needed = required_permission(effect)
        if needed is None:
            continue
        if granted is None:
            granted = granted_permissions(plugin)
        if needed not in granted:
            raise PermissionDenied(
                f"The plugin {plugin!r} may not {type(effect).__name__}: that needs {needed.value!r}."
                f" {_cure(plugin, needed)}"
            )


def _cure(plugin: str, needed: Permission) -> str:
    loaded = get_registry().find_plugin(plugin)
    if loaded is None:
        return "No plugin of that name is loaded: add it to ELIZA_PLUGINS."
    if needed not in loaded.plugin.permissions:
        return f"Add Permission.{needed.name} to the `permissions` of its Plugin(...)."
    return "It is installed, but nobody vouched for it: name it in ELIZA_PLUGINS to grant what it asks for."
