"""How many calls one process makes to a server at once, and the rest that a server asks for.

`agents.llm.router` puts every model behind the gate of its server.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator

from agents.llm.base import Completion, CompletionRequest, ModelError, ModelFailure, TextModel

SHORT_REST_SECONDS = 1.0
LOOK_PERIOD_SECONDS = 0.25
# A server's word is believed this long; after that one call asks again how things stand.
LONGEST_REST_SECONDS = 300.0


class Gate:
    """The way to one server: so many at once, and none while the server has asked for rest."""

    def __init__(self, *, concurrency: int) -> None:
        self._places = threading.BoundedSemaphore(concurrency)
        self._rest_until = 0.0

    @contextlib.contextmanager
    def passing(
        self, *, timeout_seconds: float, is_cancelled: Callable[[], bool] | None = None
    ) -> Iterator[None]:
        """Wait for a place, hold it, and note when the server asks for rest.

        A short rest is waited out; a longer one is an error at once, so that the turn waits in the database
        and not on a thread.
        Raises: ModelError where the server rests, where no place came free in time, or where nobody wants one
        any more.
        """
        rest = self._rest_until - time.monotonic()
        if rest > min(SHORT_REST_SECONDS, timeout_seconds):
            message = f"The server asked for rest; {rest:.0f} s of it are left."
            raise ModelError(message, failure=ModelFailure.RATE_LIMITED, retry_after_seconds=rest)
        if rest > 0:
            time.sleep(rest)
        if not self._take_place(max(timeout_seconds - max(rest, 0.0), 0.0), is_cancelled):
            message = "All places at the server stayed taken; raise MODEL_CONCURRENCY or add workers."
            raise ModelError(message, failure=ModelFailure.TIMEOUT)
        try:
            yield
        except ModelError as error:
            if error.retry_after_seconds and not error.permanent:
                rest = min(error.retry_after_seconds, LONGEST_REST_SECONDS)
                self._rest_until = max(self._rest_until, time.monotonic() + rest)
            raise
        finally:
            self._places.release()

    def _take_place(self, seconds: float, is_cancelled: Callable[[], bool] | None) -> bool:
        deadline = time.monotonic() + seconds
        while not self._places.acquire(timeout=min(LOOK_PERIOD_SECONDS, seconds)):
            if is_cancelled is not None and is_cancelled():
                raise ModelError("The call was cancelled.", failure=ModelFailure.CANCELLED)
            seconds = max(deadline - time.monotonic(), 0.0)
            if not seconds:
                return False
        return True


class GatedModel:
    """A model behind its server's gate."""

    def __init__(self, model: TextModel, gate: Gate) -> None:
        self.provider = model.provider
        self._model = model
        self._gate = gate

    def complete(
        self,
        request: CompletionRequest,
        *,
        on_token: Callable[[str], None] | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> Completion:
        """Answer the request once the gate lets it pass; the waiting counts towards its time.

        Raises: ModelError.
        """
        started = time.monotonic()
        with self._gate.passing(timeout_seconds=request.timeout_seconds, is_cancelled=is_cancelled):
            waited = time.monotonic() - started
            if waited > 0.01:
                left = max(request.timeout_seconds - waited, 0.001)
                request = dataclasses.replace(request, timeout_seconds=left)
            return self._model.complete(request, on_token=on_token, is_cancelled=is_cancelled)
