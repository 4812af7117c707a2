"""A watch over calls that wait for a server: ends the connection of one that is overdue, or not wanted any more.

A blocking read knows only how long a single silence may last. `agents.llm.openai` sets its connection under
this watch, so that a server which falls silent just before the deadline can't double the time, and one that
falls silent when a person says "stop" can't hold the turn.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

PERIOD_SECONDS = 0.25


class Watch:
    """One thread that looks over all waiting calls a few times a second; it sleeps where there are none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[float, socket.socket, Callable[[], bool] | None]] = {}
        self._wake = threading.Event()
        self._process_id = 0

    @contextlib.contextmanager
    def over(
        self,
        connection: socket.socket | None,
        *,
        deadline: float,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> Iterator[None]:
        """Shut the connection down if this block still runs at the deadline, or when it is cancelled.

        Unit: `deadline` in seconds of `time.monotonic()`; both are kept to within a quarter of a second.
        """
        if connection is None:
            yield
            return
        key = id(connection)
        with self._lock:
            self._waiting[key] = (deadline, connection, is_cancelled)
            if self._process_id != os.getpid():
                self._start()
        if not self._wake.is_set():
            self._wake.set()
        try:
            yield
        finally:
            with self._lock:
                self._waiting.pop(key, None)

    def _start(self) -> None:
        self._process_id = os.getpid()
        threading.Thread(target=self._run, name="model-deadlines", daemon=True).start()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            time.sleep(PERIOD_SECONDS)
            # Under the lock, since a connection that is done may serve another call at once.
            with self._lock:
                self._end_overdue(time.monotonic())
                if not self._waiting:
                    self._wake.clear()

    def _end_overdue(self, now: float) -> None:
        for key, (deadline, connection, is_cancelled) in list(self._waiting.items()):
            if now >= deadline or (is_cancelled is not None and is_cancelled()):
                del self._waiting[key]
                # The plain shutdown, not the TLS one, which would wait for the silent server's goodbye.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)


watch = Watch()
