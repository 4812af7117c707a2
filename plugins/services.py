"""Services: long-lived things that others reach by name. `plugins.registry` and the loader build upon it.

A service is built on first use, once a process. Whoever wants one asks `plugins.registry.get_service`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class UnknownService(LookupError):
    """No service has that name."""


class ServiceExists(ValueError):
    """A service of that name was registered before."""


class CircularService(RuntimeError):
    """A service needs itself, by way of another, to start."""


@dataclass(kw_only=True)
class _Slot:
    factory: Callable[[], Any]
    stop: Callable[[Any], None] | None
    is_started: bool = False
    is_starting: bool = False
    instance: Any = field(default=None, repr=False)


_slots: dict[str, _Slot] = {}
# One lock for all starts: a service may ask for another while it starts, and two locks could wait for each
# other. What is started already is read without it.
_starting = threading.RLock()


def register_service(
    name: str,
    factory: Callable[[], Any],
    *,
    stop: Callable[[Any], None] | None = None,
    replace: bool = False,
) -> None:
    """Register `factory` as what builds the service `name` on first use; `stop` ends what it built.

    The same factory may be registered again, which changes nothing.

    Raises: ServiceExists where another factory has that name and `replace` is not given.
    """
    with _starting:
        known = _slots.get(name)
        if known is not None and known.factory == factory and not replace:
            return
        if known is not None and not replace:
            raise ServiceExists(
                f"The service {name!r} is registered already. Choose another name, or pass replace=True."
            )
        if known is not None:
            withdraw_service(name)
        _slots[name] = _Slot(factory=factory, stop=stop)


def withdraw_service(name: str) -> None:
    """Forget the service `name`, and stop it where it runs."""
    with _starting:
        slot = _slots.pop(name, None)
    if slot is not None:
        _stop(name, slot)


def has_service(name: str) -> bool:
    """Tell whether a service of this name is registered, started or not."""
    return name in _slots


def service_names() -> tuple[str, ...]:
    """Return the names of all registered services, sorted."""
    return tuple(sorted(_slots))


def registered_service(name: str) -> Any:
    """Return the service `name`, started now if this is its first use.

    Raises: UnknownService where nothing has that name; what its factory raises, each time that it does.
    """
    slot = _slots.get(name)
    if slot is not None and slot.is_started:
        return slot.instance
    with _starting:
        slot = _slots.get(name)
        if slot is None:
            known = ", ".join(service_names()) or "none"
            raise UnknownService(
                f"No service is named {name!r} (known: {known}). Register it with"
                " plugins.registry.register_service, or load the plugin that brings it."
            )
        if slot.is_started:
            return slot.instance
        if slot.is_starting:
            raise CircularService(
                f"The service {name!r} is asked for while it starts. Let its factory not ask for services"
                f" that need {name!r}."
            )
        slot.is_starting = True
        try:
            slot.instance = slot.factory()
            slot.is_started = True
        finally:
            slot.is_starting = False
        return slot.instance


def stop_services() -> None:
    """Stop all services that run, the last registered first. They start again on their next use."""
    with _starting:
        for name, slot in reversed(tuple(_slots.items())):
            _stop(name, slot)


def _stop(name: str, slot: _Slot) -> None:
    if not slot.is_started:
        return
    instance, slot.instance, slot.is_started = slot.instance, None, False
    if slot.stop is None:
        return
    try:
        slot.stop(instance)
    except Exception:
        log.exception("service_stop_failed", service=name)


def withdraw_services(names: Iterable[str]) -> None:
    """Forget these services, and stop those that run."""
    for name in names:
        withdraw_service(name)


class RegisteredServices:
    """The services as the loader hands them to `initialise`: those that are registered by then."""

    def get_service(self, name: str) -> Any:
        """Return the service registered as `name`."""
        return registered_service(name)
