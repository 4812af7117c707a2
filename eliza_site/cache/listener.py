"""Hears from the server which values were changed, by whomever, and vouches for the near level while it does.

The server tells every change of a key of the cache (client-side caching, broadcast mode) over one connection a
process. Each half second the listener sends a PING: its answer proves that all which was told before it has been
heard, so what is near may be served for a while longer. Where no answer comes, for whatever reason, the vouching
runs out by itself.

Source: https://valkey.io/topics/client-side-caching/, "Broadcasting mode". redis-py has such a cache of its own,
but refuses any server that does not call itself redis, has no limit of time or bytes, and asks for a connection at
each hit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import redis
import structlog

from eliza_site.cache.counting import INVALIDATIONS
from eliza_site.cache.far import FarAway, FarLevel
from eliza_site.cache.near import NearLevel

log = structlog.get_logger(__name__)

PINGS_A_PERIOD = 4
MARGIN = 0.95
"""Of the bound: the server may answer a PING and tell of a change in the same cycle, in this order."""
REST_SECONDS = 2.0
REFUSED_REST_SECONDS = 60.0


class Listener:
    """A thread that keeps one process' near level true; it starts with the first value that is kept."""

    def __init__(self, near: NearLevel, far: FarLevel, *, stale_seconds: float) -> None:
        self._near, self._far, self._stale_seconds = near, far, stale_seconds
        self.reset()

    def reset(self) -> None:
        """Forget the thread, which a forked child has not."""
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._changed: list[Any] = []

    def ensure_started(self) -> None:
        """Start the thread where none runs."""
        if self._thread is not None and self._thread.is_alive():
            return
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, args=(self._stop,), name="cache-listener", daemon=True
                )
                self._thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """End the thread; the next value that is kept starts another."""
        with self._lock:
            thread, stop = self._thread, self._stop
            self._thread, self._stop = None, threading.Event()
        stop.set()
        if thread is not None:
            thread.join(seconds)

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            started_at = time.monotonic()
            try:
                self._far.settle_debts()
                self._listen(stop)
            except redis.ResponseError as error:
                # An old server, or one that forbids it: values are kept near for the stated bound alone.
                log.warning("cache_not_tracked", error=error)
                stop.wait(REFUSED_REST_SECONDS)
            except (redis.RedisError, OSError, FarAway) as error:
                log.info("cache_listener_lost", error=error)
            except Exception:  # the door of a thread that must not end
                log.exception("cache_listener_failed")
            finally:
                self._near.vouch(0.0)
            # One that had listened for long was cut off, and is back at once.
            if time.monotonic() - started_at < REST_SECONDS:
                stop.wait(REST_SECONDS)

    def _listen(self, stop: threading.Event) -> None:
        connection = self._far.make_connection()
        try:
            connection.connect()
            # redis-py hands what it was told to nobody but such a function; its own cache sets it here, too.
            connection._parser.set_invalidation_push_handler(self._hear)
            asked_at = time.monotonic()
            connection.send_command("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self._far.value_prefix)
            self._read_until(connection, asked_at + self._stale_seconds, lambda answer: answer is not None)
            # Of what changed until now nobody told.
            INVALIDATIONS.labels("blind").inc(self._near.clear())
            self._near.vouch(asked_at + self._stale_seconds * MARGIN)
            while not stop.is_set():
                self._read_until(
                    connection, asked_at + self._stale_seconds / PINGS_A_PERIOD, lambda _answer: False
                )
                asked_at = time.monotonic()
                connection.send_command("PING", check_health=False)
                if not self._read_until(
                    connection, asked_at + self._stale_seconds, lambda answer: answer is not None
                ):
                    raise redis.TimeoutError("The server answers no PING.")
                self._near.vouch(asked_at + self._stale_seconds * MARGIN)
                # A write can fail while this connection is sound: where all others are taken, or one was cut.
                with suppress(FarAway):
                    self._far.settle_debts()
        finally:
            connection.disconnect()

    def _read_until(self, connection: Any, deadline: float, is_last: Callable[[Any], bool]) -> bool:
        """Read what comes until the answer that is waited for, or until then; tell which of the two it was."""
        while (left := deadline - time.monotonic()) > 0:
            try:
                answer = connection.read_response(timeout=left, disconnect_on_error=False, push_request=True)
            except redis.TimeoutError:
                return False
            if self._changed:
                changed, self._changed = self._changed, []
                self._forget(changed)
            if is_last(answer):
                return True
        return False

    def _hear(self, told: list[Any]) -> None:
        self._changed.append(told[1])

    def _forget(self, changed: list[Any]) -> None:
        for names in changed:
            if names is None:
                # Everything was flushed.
                INVALIDATIONS.labels("told").inc(self._near.clear())
                continue
            start = len(self._far.value_prefix)
            keys = [name.decode("utf-8", "replace")[start:] for name in names]
            INVALIDATIONS.labels("told").inc(self._near.drop(keys))
