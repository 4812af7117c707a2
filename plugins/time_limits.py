"""Calls a plugin's function on a thread of its own, and gives up on it when its time is over.

Event handlers and scheduled tasks are called this way. A thread cannot be killed: one that hangs is left
behind, and what it returns later is thrown away.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any

from django.db import connection, connections


class TimeLimitExceeded(Exception):
    """The function took longer than it may."""


def call_within(seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call the function, without holding a database connection meanwhile, and return what it returns.

    Unit: `seconds` in seconds.
    Raises: TimeLimitExceeded when the time is over; whatever the function raises.
    """
    if not connection.in_atomic_block:
        connection.close()
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome["value"] = function(*arguments)
        # A plugin's `sys.exit()` costs that call only, as any other failure of it.
        except BaseException as error:
            outcome["error"] = error
        finally:
            # Connections belong to the thread that opened them, and nobody else would give them back.
            connections.close_all()

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(run,), name="plugin-call", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        name = getattr(function, "__qualname__", repr(function))
        raise TimeLimitExceeded(f"{name} took longer than {seconds:g} s. Make it quicker, or split its work.")
    if "error" in outcome:
        error = outcome["error"]
        if not isinstance(error, Exception):
            raise RuntimeError(f"{type(error).__name__}: {error}") from error
        raise error
    return outcome["value"]
