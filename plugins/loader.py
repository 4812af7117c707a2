"""Loads plugins: import, read components, register services and components, validate, initialise.

`plugins.registry` calls it on first use, never at import. Built-ins are loaded exactly as strangers are: by
dotted path. A plugin that is broken is refused by name, with the reason and the cure; the others load.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog
from django.conf import settings

from plugins.api import Plugin
from plugins.services import (
    RegisteredServices,
    has_service,
    register_service,
    withdraw_services,
)
from plugins.validation import faults, normalised

log = structlog.get_logger(__name__)

ENTRY_POINT_GROUP = "eliza.plugins"
BUILTINS = (
    "plugins.builtin.character",
    "plugins.builtin.clock",
    "plugins.builtin.documents",
    "plugins.builtin.episodes",
    "plugins.builtin.facts",
    "plugins.builtin.goals",
    "plugins.builtin.recent_messages",
    "plugins.builtin.reflection",
    "plugins.builtin.relationships",
    "plugins.builtin.reply",
)
# Names of these kinds are one namespace over all plugins; a task is known by its plugin and its name.
_SHARED_NAMES = ("actions", "providers", "evaluators", "services")


class Origin(StrEnum):
    """Who vouches for a plugin."""

    BUILTIN = "builtin"
    SITE = "site"
    INSTALLED = "installed"


class PluginRefused(Exception):
    """The plugin was not let in; the text says why, and the cure."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A plugin that was not let in: where it came from, why, and what helps."""

    path: str
    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class LoadedPlugin:
    """A plugin that was let in. `aliases` are the names by which a character file may ask for it."""

    plugin: Plugin
    path: str
    origin: Origin
    aliases: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What one load brought."""

    plugins: tuple[LoadedPlugin, ...]
    refused: tuple[Refusal, ...]


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    path: str
    origin: Origin
    entry_point: importlib.metadata.EntryPoint | None = None


def import_builtins() -> None:
    """Import the modules of the built-ins; nothing is registered or begun."""
    for path in BUILTINS:
        importlib.import_module(path)


def load_plugins(builtins: Sequence[str] = BUILTINS, site_plugins: Sequence[str] | None = None) -> Loaded:
    """Load the built-ins, what ELIZA_PLUGINS names, and what installed packages bring as entry points."""
    named = tuple(settings.PLUGINS if site_plugins is None else site_plugins)
    loaded: list[LoadedPlugin] = []
    refused: list[Refusal] = []
    for candidate in _candidates(builtins, named):
        try:
            loaded.append(_load(candidate, loaded))
        except PluginRefused as error:
            refusal = Refusal(path=candidate.path, name=_name(candidate), reason=str(error))
            refused.append(refusal)
            log.error("plugin_refused", plugin=refusal.name, path=refusal.path, reason=refusal.reason)
    return Loaded(plugins=tuple(loaded), refused=tuple(refused))


def _candidates(builtins: Sequence[str], named: Sequence[str]) -> Iterator[_Candidate]:
    points = {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)}
    for path in builtins:
        yield _Candidate(path=path, origin=Origin.BUILTIN)
    for name in dict.fromkeys(entry.strip() for entry in named if entry.strip()):
        point = points.pop(name, None)
        yield _Candidate(path=point.value if point else name, origin=Origin.SITE, entry_point=point)
    for point in points.values():
        yield _Candidate(path=point.value, origin=Origin.INSTALLED, entry_point=point)


def _name(candidate: _Candidate) -> str:
    return candidate.entry_point.name if candidate.entry_point else candidate.path


def _load(candidate: _Candidate, loaded: Sequence[LoadedPlugin]) -> LoadedPlugin:
    plugin = _imported(candidate)
    _validate(plugin, loaded)
    try:
        for service in plugin.services:
            register_service(service.name, service.start, stop=service.stop)
        if plugin.initialise is not None:
            plugin.initialise(RegisteredServices())
    except Exception as error:
        withdraw_services(service.name for service in plugin.services)
        log.exception("plugin_initialise_failed", plugin=plugin.name)
        raise PluginRefused(
            f"`initialise` of {plugin.name!r} raised {type(error).__name__}: {error}. Mend it in"
            f" {candidate.path}, or take the plugin out of ELIZA_PLUGINS."
        ) from error
    aliases = {plugin.name, candidate.path, _name(candidate)}
    return LoadedPlugin(
        plugin=plugin, path=candidate.path, origin=candidate.origin, aliases=frozenset(aliases)
    )


def _imported(candidate: _Candidate) -> Plugin:
    module_name, _, attribute = candidate.path.partition(":")
    try:
        found: Any
        if candidate.entry_point is not None:
            found = candidate.entry_point.load()
            found = getattr(found, "plugin", found)
        else:
            found = getattr(importlib.import_module(module_name), attribute or "plugin")
    # A plugin is a stranger's code: whatever its import raises costs that plugin only.
    except (Exception, SystemExit) as error:
        raise PluginRefused(
            f"importing {candidate.path!r} raised {type(error).__name__}: {error}. Check the path"
            " (`package.module` or `package.module:attribute`), that its package is installed, and that the"
            " module ends with `plugin = Plugin(...)`."
        ) from error
    if not isinstance(found, Plugin):
        raise PluginRefused(
            f"{candidate.path!r} holds a {type(found).__name__}, not a plugins.api.Plugin. End the module"
            " with `plugin = Plugin(...)`, or name the attribute as `package.module:attribute`."
        )
    return found


def _validate(plugin: Plugin, loaded: Sequence[LoadedPlugin]) -> None:
    """Refuse a plugin that is at fault by itself or takes a name that another one has.

    This runs before anything of the plugin is registered, so that a refused one leaves nothing behind.
    """
    found = list(faults(plugin)) or list(_clashes(plugin, loaded))
    if found:
        raise PluginRefused(f"{'; '.join(found)}. Correct it in the plugin {plugin.name!r}.")


def _clashes(plugin: Plugin, loaded: Sequence[LoadedPlugin]) -> Iterator[str]:
    for other in loaded:
        if normalised(other.plugin.name) == normalised(plugin.name):
            yield f"the name {plugin.name!r} is taken by {other.path}"
            return
    for kind in _SHARED_NAMES:
        taken = {
            normalised(component.name): other.plugin.name
            for other in loaded
            for component in getattr(other.plugin, kind)
        }
        for component in getattr(plugin, kind):
            if normalised(component.name) in taken:
                holder = taken[normalised(component.name)]
                yield f"{component.name!r} of its {kind} is brought by the plugin {holder!r} already"
    for service in plugin.services:
        if has_service(service.name):
            yield f"the service {service.name!r} is registered by the runtime already"
