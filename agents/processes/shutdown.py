"""Whether this process was told to end, and since when. Whoever would begin something new asks here.

Celery says it on SIGTERM (`agents.apps`), which Heroku sends to all processes at once. What runs may finish
within SHUTDOWN_GRACE_SECONDS; `agents.processes.departures` then gives back what did not.
"""

from __future__ import annotations

import threading
import time

from django.conf import settings

_begun = threading.Event()
_begun_at = 0.0


def begin(**_signal: object) -> None:
    """Begin nothing new from now on."""
    global _begun_at
    if not _begun.is_set():
        _begun_at = time.monotonic()
        _begun.set()


def is_begun() -> bool:
    """Tell whether the process is to end."""
    return _begun.is_set()


def is_grace_over() -> bool:
    """Tell whether what still runs is to be broken off."""
    return _begun.is_set() and time.monotonic() - _begun_at >= settings.SHUTDOWN_GRACE_SECONDS


def forget() -> None:
    """Go on as if nobody had said it, for tests."""
    _begun.clear()
