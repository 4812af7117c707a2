"""Calls a plugin's function on a thread of its own, and gives up on it when its time is over.

Every function of a plugin that may wait is called this way: by the pipeline's steps, the scheduler and the
handling of events. A thread cannot be killed: one that hangs is left behind, and what it returns later is
thrown away. So there is no bound to the threads, or hanging calls would keep others waiting; threads that are
done are used again, because starting one took most of the 160 µs of CPU that a call cost (47 without).
"""

from __future__ import annotations

import contextvars
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from django.db import connection, connections

P = ParamSpec("P")
T = TypeVar("T")

MAX_IDLE_THREADS = 64
LOOK_PERIOD_SECONDS = 0.2

GoOn = Callable[[], None]
"""Is asked while a call is waited for, and raises where nobody wants its result any more."""

_go_on: contextvars.ContextVar[GoOn | None] = contextvars.ContextVar("go_on", default=None)


class TimeLimitExceeded(Exception):
    """The function took longer than it may."""


@contextmanager
def while_wanted(go_on: GoOn) -> Iterator[None]:
    """Let `go_on` end the waiting for every call that is made within the block, by what it raises.

    Unit: it is asked every LOOK_PERIOD_SECONDS.
    """
    token = _go_on.set(go_on)
    try:
        yield
    finally:
        _go_on.reset(token)


def call_within(seconds: float, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Call the function, without holding a database connection meanwhile, and return what it returns.

    Unit: `seconds` in seconds.
    Raises: TimeLimitExceeded when the time is over; whatever the function raises, or whoever no longer wants
    the call (`while_wanted`).
    """
    if not connection.in_atomic_block:
        connection.close()
    returned: list[T] = []
    raised: list[BaseException] = []

    def work() -> None:
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
    if not _idle_caller().call(lambda: context.run(work), seconds, _go_on.get()):
        name = getattr(function, "__qualname__", repr(function))
        raise TimeLimitExceeded(f"{name} took longer than {seconds:g} s. Make it quicker, or split its work.")
    if raised:
        error = raised[0]
        if not isinstance(error, Exception):
            raise RuntimeError(f"{type(error).__name__}: {error}") from error
        raise error
    return returned[0]


class _Caller:
    """A thread that makes one call after the other."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], None], threading.Lock]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="plugin-call", daemon=True).start()

    def call(self, work: Callable[[], None], seconds: float, go_on: GoOn | None) -> bool:
        """Have the work done, wait for it so long, and tell whether it was done by then."""
        done = threading.Lock()
        done.acquire()
        self._calls.put((work, done))
        if go_on is None:
            return done.acquire(timeout=seconds)
        deadline = time.monotonic() + seconds
        while not done.acquire(timeout=max(0.0, min(LOOK_PERIOD_SECONDS, deadline - time.monotonic()))):
            go_on()
            if time.monotonic() >= deadline:
                return False
        return True

    def _run(self) -> None:
        is_kept = True
        while is_kept:
            work, done = self._calls.get()
            work()
            is_kept = len(_idle) < MAX_IDLE_THREADS
            if is_kept:
                _idle.append(self)
            done.release()


_idle: deque[_Caller] = deque()
# A forked child has none of its parent's threads.
os.register_at_fork(after_in_child=_idle.clear)


def _idle_caller() -> _Caller:
    try:
        return _idle.pop()
    except IndexError:
        return _Caller()
