"""Calls a plugin's function on a thread of its own, and gives up on it when its time is over.

Every function of a plugin that may wait is called this way: by the pipeline's steps, the scheduler and the
handling of events. A thread cannot be killed: one that hangs is left behind, and what it returns later is
thrown away. A shared pool would fill with those until nobody else's call is served; starting a thread costs
less than 100 µs.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from django.db import connection, connections

P = ParamSpec("P")
T = TypeVar("T")


class TimeLimitExceeded(Exception):
    """The function took longer than it may."""


def call_within(seconds: float, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Call the function, without holding a database connection meanwhile, and return what it returns.

    Unit: `seconds` in seconds.
    Raises: TimeLimitExceeded when the time is over; whatever the function raises.
    """
    if not connection.in_atomic_block:
        connection.close()
    returned: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            returned.append(function(*arguments, **named))
        # A plugin's `sys.exit()` costs that call only, as any other failure of it.
        except BaseException as error:
            raised.append(error)
        finally:
            # Connections belong to the thread that opened them, and nobody else would give them back.
            connections.close_all()

    # The copied context carries the ids that every line of the log is bound to.
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(run,), name="plugin-call", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        name = getattr(function, "__qualname__", repr(function))
        raise TimeLimitExceeded(f"{name} took longer than {seconds:g} s. Make it quicker, or split its work.")
    if raised:
        error = raised[0]
        if not isinstance(error, Exception):
            raise RuntimeError(f"{type(error).__name__}: {error}") from error
        raise error
    return cast("T", returned[0])
