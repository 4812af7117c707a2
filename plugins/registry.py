"""The registry: which plugins are loaded, what they bring, and services by name.

The pipeline asks `components_for` once a turn; whoever needs a service asks `get_service`. Plugins are loaded
on first use, once a process.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar

from plugins.api import Action, Evaluator, EventHandler, Provider, Task
from plugins.loader import Loaded, LoadedPlugin, Origin, Refusal, load_plugins
from plugins.services import (
    UnknownService,
    has_service,
    register_service,
    registered_service,
    stop_services,
    withdraw_services,
)
from plugins.validation import normalised

__all__ = [
    "SERVICES",
    "Components",
    "Registered",
    "Registry",
    "UnknownService",
    "components_for",
    "find_service",
    "get_registry",
    "get_service",
    "register_service",
    "reload_registry",
    "stop_services",
    "unknown_plugins",
]

_C = TypeVar("_C")
_KEPT_SELECTIONS = 1024


@dataclass(frozen=True, kw_only=True)
class Registered(Generic[_C]):
    """A component with the name of the plugin that brought it."""

    plugin: str
    component: _C


@dataclass(frozen=True, kw_only=True)
class Components:
    """All that one agent's plugins bring; providers stand in the order of their positions."""

    actions: tuple[Registered[Action], ...] = ()
    providers: tuple[Registered[Provider], ...] = ()
    evaluators: tuple[Registered[Evaluator], ...] = ()
    tasks: tuple[Registered[Task], ...] = ()
    events: tuple[Registered[EventHandler], ...] = ()

    def find_action(self, name: str) -> Registered[Action] | None:
        """Return the action of this name, else the first that has it as a simile, else None.

        Case and punctuation do not count; a part of a name or a likeness is no match.
        """
        return self._actions_by_name.get(normalised(name))

    def find_provider(self, name: str) -> Registered[Provider] | None:
        """Return the provider of this name, or None; case and punctuation do not count."""
        return self._providers_by_name.get(normalised(name))

    def find_task(self, plugin: str, name: str) -> Registered[Task] | None:
        """Return the task of this plugin and name, or None."""
        for task in self.tasks:
            if task.plugin == plugin and task.component.name == name:
                return task
        return None

    @cached_property
    def turn_evaluators(self) -> tuple[Registered[Evaluator], ...]:
        """The evaluators that look at each turn."""
        return tuple(found for found in self.evaluators if found.component.looks_at == "turn")

    @cached_property
    def conversation_evaluators(self) -> tuple[Registered[Evaluator], ...]:
        """The evaluators that look at what was said in a room since the last look."""
        return tuple(found for found in self.evaluators if found.component.looks_at == "conversation")

    @cached_property
    def _actions_by_name(self) -> dict[str, Registered[Action]]:
        names = {normalised(action.component.name): action for action in self.actions}
        for action in self.actions:
            for simile in action.component.similes:
                names.setdefault(normalised(simile), action)
        return names

    @cached_property
    def _providers_by_name(self) -> dict[str, Registered[Provider]]:
        return {normalised(provider.component.name): provider for provider in self.providers}


@dataclass(frozen=True, kw_only=True)
class Registry:
    """The plugins of this process, and the refused ones with their reasons."""

    plugins: tuple[LoadedPlugin, ...]
    refused: tuple[Refusal, ...]
    _kept: dict[tuple[str, ...], Components] = field(default_factory=dict, repr=False, compare=False)

    def components_for(self, plugin_names: tuple[str, ...] | None = None) -> Components:
        """Return what the built-ins, the site's plugins and the installed ones named here bring.

        The names come from a character file, which is text from outside: they choose among what is loaded
        and make nothing be imported. Unknown ones are left out; `unknown_plugins` reports them.
        """
        names = tuple(plugin_names or ())
        components = self._kept.get(names)
        if components is None:
            chosen = [
                loaded
                for loaded in self.plugins
                if loaded.origin is not Origin.INSTALLED or not loaded.aliases.isdisjoint(names)
            ]
            components = _collected(chosen)
            if len(self._kept) < _KEPT_SELECTIONS:
                self._kept[names] = components
        return components

    def unknown_plugins(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of the names that no loaded plugin has."""
        known = frozenset().union(*(loaded.aliases for loaded in self.plugins))
        return tuple(name for name in names if name not in known)

    def find_plugin(self, name: str) -> LoadedPlugin | None:
        """Return the loaded plugin of this name, or None."""
        return self._plugins_by_name.get(name)

    def handlers_of(self, event: str) -> tuple[Registered[EventHandler], ...]:
        """Return the handlers of all loaded plugins that listen to this event."""
        return self._handlers_by_event.get(event, ())

    @cached_property
    def heard_events(self) -> frozenset[str]:
        """The names of the events that a loaded plugin listens to."""
        return frozenset(self._handlers_by_event)

    @cached_property
    def _plugins_by_name(self) -> dict[str, LoadedPlugin]:
        return {loaded.plugin.name: loaded for loaded in self.plugins}

    @cached_property
    def _handlers_by_event(self) -> dict[str, tuple[Registered[EventHandler], ...]]:
        handlers: dict[str, tuple[Registered[EventHandler], ...]] = {}
        for handler in _collected(self.plugins).events:
            handlers[handler.component.event] = (*handlers.get(handler.component.event, ()), handler)
        return handlers


def _collected(chosen: Iterable[LoadedPlugin]) -> Components:
    brought = [loaded.plugin for loaded in chosen]

    def of(kind: str) -> tuple[Registered[Any], ...]:
        return tuple(
            Registered(plugin=plugin.name, component=component)
            for plugin in brought
            for component in getattr(plugin, kind)
        )

    return Components(
        actions=of("actions"),
        # Sorting is stable: at one position they keep the order in which their plugins were loaded.
        providers=tuple(sorted(of("providers"), key=lambda provider: provider.component.position)),
        evaluators=of("evaluators"),
        tasks=of("tasks"),
        events=of("events"),
    )


# The one registry of this process ------------------------------------------------------------------------

_registry: Registry | None = None
_loading = threading.RLock()
_loading_thread: int | None = None


def get_registry() -> Registry:
    """Return this process' registry; the first call loads the plugins.

    Raises: RuntimeError where a plugin asks for the registry while it is imported or initialised.
    """
    global _registry, _loading_thread
    if _registry is not None:
        return _registry
    with _loading:
        if _registry is None:
            if _loading_thread is not None:
                raise RuntimeError(
                    "The registry is asked for while plugins are loaded. Let the plugin ask when it is"
                    " called, not when it is imported or initialised."
                )
            _loading_thread = threading.get_ident()
            try:
                loaded: Loaded = load_plugins()
                _registry = Registry(plugins=loaded.plugins, refused=loaded.refused)
            finally:
                _loading_thread = None
        return _registry


def reload_registry() -> None:
    """Forget what was loaded, and the services that plugins brought; the next use loads anew."""
    global _registry
    with _loading:
        known, _registry = _registry, None
    for loaded in known.plugins if known else ():
        withdraw_services(service.name for service in loaded.plugin.services)


def components_for(plugin_names: tuple[str, ...] | None = None) -> Components:
    """Return what an agent's plugins bring; `plugin_names` is its character's own list."""
    return get_registry().components_for(plugin_names)


def unknown_plugins(names: Iterable[str]) -> tuple[str, ...]:
    """Return those names of a character's list that are ignored, because no loaded plugin has them."""
    return get_registry().unknown_plugins(names)


def get_service(name: str) -> Any:
    """Return the service `name`, started on its first use, once a process.

    Raises: UnknownService, naming the value and the cure.
    """
    _load_first()
    return registered_service(name)


def find_service(name: str) -> Any | None:
    """Return the service `name`, or None where nothing is registered as that."""
    _load_first()
    return registered_service(name) if has_service(name) else None


def _load_first() -> None:
    # Plugins are loaded before any service starts, never while one does: loading takes its lock and then the
    # services' lock, and the other way round the two could wait for each other.
    if _registry is None and _loading_thread != threading.get_ident():
        get_registry()


class _Services:
    """The services as a `Context` carries them."""

    def get_service(self, name: str) -> Any:
        """Return the service registered as `name`."""
        return get_service(name)


SERVICES = _Services()
