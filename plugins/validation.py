"""Finds what is wrong with a plugin's declarations. The loader calls it before it lets a plugin in."""

from __future__ import annotations

import inspect
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from plugins.api import Action, Evaluator, EventHandler, Permission, Plugin, Provider, Service, Task
from plugins.slots import BadSchedule, check_schedule

COMPONENT_TYPES: Mapping[str, type] = {
    "actions": Action,
    "providers": Provider,
    "evaluators": Evaluator,
    "tasks": Task,
    "services": Service,
    "events": EventHandler,
}
# The parameters that each function of a component is called with.
CALLS: Mapping[str, Mapping[str, int]] = {
    "actions": {"execute": 1, "validate": 1},
    "providers": {"get": 1},
    "evaluators": {"evaluate": 1, "validate": 1},
    "tasks": {"execute": 1},
    "services": {"start": 0, "stop": 1},
    "events": {"handle": 1},
}
JSON_TYPES = {"string", "number", "integer", "boolean", "array", "object", "null"}
_PLUGIN_NAME = re.compile(r"[A-Za-z0-9@][A-Za-z0-9@/._-]{0,99}")
_COMPONENT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,59}")


def normalised(name: str) -> str:
    """Return the name as it is compared: letters and digits only, in lower case."""
    return "".join(character for character in name.casefold() if character.isalnum())


def name_of(component: Any) -> str:
    """Return what a component is known by: its name, or the event that it handles."""
    return component.event if isinstance(component, EventHandler) else component.name


def faults(plugin: Plugin) -> Iterator[str]:
    """Yield what is wrong with the plugin by itself, each fault with the value that is at fault."""
    if not isinstance(plugin.name, str) or not _PLUGIN_NAME.fullmatch(plugin.name):
        yield f"its name {plugin.name!r} is not 1 to 100 letters, digits or @ / . _ -"
    unknown = sorted(set(plugin.permissions) - {permission.value for permission in Permission})
    if unknown:
        known = ", ".join(Permission)
        yield f"it asks for the unknown permissions {', '.join(map(repr, unknown))} (known: {known})"
    for kind, expected in COMPONENT_TYPES.items():
        components = getattr(plugin, kind)
        if not isinstance(components, tuple):
            yield f"`{kind}` is {type(components).__name__}, not a tuple"
            continue
        strangers = [component for component in components if not isinstance(component, expected)]
        if strangers:
            yield f"`{kind}` has {strangers[0]!r}, which is no {expected.__name__}"
            continue
        yield from _component_faults(kind, components)
    if plugin.initialise is not None and not _takes(plugin.initialise, 1):
        yield "`initialise` does not take one argument, the services"


def _component_faults(kind: str, components: tuple[Any, ...]) -> Iterator[str]:
    if kind != "events":
        yield from _double_names(kind, [str(component.name) for component in components])
    for component in components:
        name = name_of(component)
        where = f"{type(component).__name__} {name!r}"
        if not isinstance(name, str) or not _COMPONENT_NAME.fullmatch(name):
            yield f"{where}: the name is not 1 to 60 letters, digits or _ . : -, a letter first"
        for attribute, count in CALLS[kind].items():
            function = getattr(component, attribute)
            if function is None and attribute == "stop":
                continue
            if not _takes(function, count):
                yield f"{where}: `{attribute}` cannot be called with {count} argument(s)"
        yield from _limit_faults(where, component)
        if isinstance(component, Action):
            yield from (f"{where}: {fault}" for fault in _schema_faults(component.parameters))
        if isinstance(component, Evaluator) and component.looks_at not in ("turn", "conversation"):
            yield f"{where}: `looks_at` is {component.looks_at!r}, not 'turn' or 'conversation'"
        if isinstance(component, Task):
            try:
                check_schedule(component.schedule)
            except BadSchedule as error:
                yield f"{where}: {error}"


def _double_names(kind: str, names: list[str]) -> Iterator[str]:
    for name, count in Counter(map(normalised, names)).items():
        if count > 1:
            yield f"`{kind}` names {name!r} {count} times (case and punctuation do not count)"


def _limit_faults(where: str, component: Any) -> Iterator[str]:
    seconds = getattr(component, "time_limit_seconds", 1.0)
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_number or not math.isfinite(seconds) or seconds <= 0:
        yield f"{where}: `time_limit_seconds` is {seconds!r}, not a number above 0"


def _schema_faults(parameters: Any) -> Iterator[str]:
    if not isinstance(parameters, Mapping):
        yield f"`parameters` is {type(parameters).__name__}, not a JSON schema"
        return
    if not parameters:
        return
    try:
        json.dumps(parameters)
    except (TypeError, ValueError) as error:
        yield f"`parameters` cannot be written as JSON ({error})"
        return
    if parameters.get("type") != "object":
        yield f"`parameters` has the type {parameters.get('type')!r}; arguments are an 'object'"
    properties = parameters.get("properties", {})
    if not isinstance(properties, Mapping):
        yield "`parameters.properties` is no object"
        return
    for name, schema in properties.items():
        if not isinstance(schema, Mapping):
            yield f"`parameters.properties.{name}` is no schema"
        elif not _is_json_type(schema.get("type")):
            yield f"`parameters.properties.{name}` has the unknown type {schema['type']!r}"
    required = parameters.get("required", [])
    if not isinstance(required, (list, tuple)) or not set(map(str, required)) <= set(properties):
        yield f"`parameters.required` is {required!r}, which its properties do not hold"


def _is_json_type(value: Any) -> bool:
    if value is None:
        return True
    names = value if isinstance(value, (list, tuple)) else [value]
    return all(isinstance(name, str) and name in JSON_TYPES for name in names)


def _takes(function: Callable[..., Any] | Any, count: int) -> bool:
    if not callable(function) or inspect.iscoroutinefunction(function):
        return False
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # A builtin without a signature, such as `dict`.
        return True
    return True
