"""Has a turn worked in a process that works nothing else, and sees how that process ends.

Only a death that was seen from here tells anything of the turn: where this process dies too, nobody counts.
`agents.processes.suspects` calls it; `agents.processes.nursery` is the other side.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from agents.lanes import ClaimedTurn
from agents.processes import nursery
from agents.processes.nursery import Nursery, Work

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.25
UNWANTED_SECONDS = 1.0
"""How long a child may take to hear by itself that its turn is to end."""

DYING_SECONDS = 10.0


class End(StrEnum):
    """How the process of a turn ended."""

    RELEASED = "released"
    HELD = "held"
    DIED = "died"
    KILLED = "killed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of it. RELEASED and HELD are the child's own word on the lane; `reason` is why it DIED. KILLED is
    one whose turn nobody wanted any more, and that did not hear so.
    """

    end: End
    reason: str = ""


@dataclass(kw_only=True)
class _Run:
    nursery: Nursery
    over: threading.Event = field(default_factory=threading.Event)
    word: str = ""
    exit_code: int | None = None


class _Nurseries:
    """The nursery of this process, and what runs in it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._nursery: Nursery | None = None
        self._runs: dict[str, _Run] = {}

    def fork(self, work: Work) -> None:
        """Have a nursery from now on, of what this process has loaded."""
        with self._lock:
            self._take(nursery.fork(work))

    def begin(self, key: str, turn: ClaimedTurn) -> _Run:
        """Have a child forked for the turn; where there is no nursery, or no more, a new one is started.

        Raises: OSError where no process can be started.
        """
        with self._lock:
            if self._nursery is None or not self._nursery.is_running():
                self._take(nursery.start())
            assert self._nursery is not None
            run = _Run(nursery=self._nursery)
            run.nursery.ask(f"work {key} {turn.lease.lane_id} {turn.lease.token} {turn.id}")
            self._runs[key] = run
            return run

    def tell(self, verb: str, key: str) -> None:
        """Have the child stopped or killed; one that is gone already is let be."""
        with self._lock:
            run = self._runs.get(key)
            if run is not None and run.nursery.is_running():
                run.nursery.ask(f"{verb} {key}")

    def _take(self, taken: Nursery) -> None:
        self._nursery = taken
        threading.Thread(target=self._listen, args=(taken,), name="nursery", daemon=True).start()

    def _listen(self, heard: Nursery) -> None:
        for line in heard.answers():
            self._note(line.split())
        with self._lock:
            log.warning("nursery_gone", nursery=heard.pid, exit_code=heard.bury())
            # Their deaths were not seen: they may live on, under leases that they renew themselves.
            for key in [key for key, run in self._runs.items() if run.nursery is heard]:
                self._runs.pop(key).over.set()

    def _note(self, words: list[str]) -> None:
        verb, key, rest = words
        with self._lock:
            run = self._runs.get(key)
            if run is None:
                return
            if verb == "said":
                run.word = rest
                return
            run.exit_code = int(rest)
            del self._runs[key]
            run.over.set()


_nurseries = _Nurseries()


def prepare(work: Work) -> None:
    """Fork the nursery of this process, before it has a second thread or a connection; where it has a second
    thread already, the first suspect has a nursery started.
    """
    if threading.active_count() == 1:
        _nurseries.fork(work)


def work_alone(
    turn: ClaimedTurn, *, is_stopping: Callable[[], bool], is_unwanted: Callable[[], bool] = lambda: False
) -> Verdict:
    """Have the turn worked in a process of its own, and wait until that has ended.

    `is_stopping` tells when this process is to end: the child then gives its turn back. `is_unwanted` tells when
    the turn is to end: a child that does not hear it by itself is killed.
    Raises: OSError where no process can be started.
    """
    key = f"{turn.id}:{turn.lease.token}"
    run = _nurseries.begin(key, turn)
    is_told = False
    unwanted_at = killed_at = 0.0
    deadline = time.monotonic() + nursery.LIMIT_SECONDS
    while not run.over.wait(LOOK_SECONDS):
        now = time.monotonic()
        if is_stopping() and not is_told:
            _nurseries.tell("stop", key)
            is_told = True
        if is_unwanted() and not unwanted_at:
            unwanted_at = now
        is_deaf = bool(unwanted_at) and now > unwanted_at + UNWANTED_SECONDS
        if killed_at and now > killed_at + DYING_SECONDS:
            return Verdict(end=End.UNKNOWN)
        if not killed_at and (now > deadline or is_deaf):
            _nurseries.tell("kill", key)
            killed_at = now
    if run.word:
        return Verdict(end=End(run.word))
    if run.exit_code is None:
        return Verdict(end=End.UNKNOWN)
    if killed_at and unwanted_at:
        return Verdict(end=End.KILLED)
    if killed_at or run.exit_code == -signal.SIGALRM:
        return Verdict(end=End.DIED, reason=f"It took longer than {nursery.LIMIT_SECONDS:g} s.")
    return Verdict(end=End.DIED, reason=_death(run.exit_code))


def _death(exit_code: int) -> str:
    by = f"by signal {-exit_code}" if exit_code < 0 else f"with exit code {exit_code}"
    return f"Its process worked nothing else and died {by}."
