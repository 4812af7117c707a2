"""Has a turn worked in a process that works nothing else, and sees how that process ends.

Only a death that was seen from here tells anything of the turn: where this process dies too, nobody counts.
`agents.suspects` calls it; `agents.nursery` is the other side.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from select import select

import structlog
from django.conf import settings

from agents.lanes import ClaimedTurn

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.25
IDLE_SECONDS = 60.0
"""How long a nursery without children is kept; a new one takes 1 to 2 s of CPU."""

LIMIT_SECONDS = 600.0
"""How long one turn may take: far more than its parts may by their own limits."""

DYING_SECONDS = 10.0


class End(StrEnum):
    """How the process of a turn ended."""

    RELEASED = "released"
    HELD = "held"
    DIED = "died"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of it. RELEASED and HELD are the child's own word on the lane; `reason` is why it DIED."""

    end: End
    reason: str = ""


@dataclass(kw_only=True)
class _Run:
    nursery: subprocess.Popen[bytes]
    over: threading.Event = field(default_factory=threading.Event)
    word: str = ""
    exit_code: int | None = None


class _Nurseries:
    """The nursery of this process, started when it is needed, and what runs in it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._nursery: subprocess.Popen[bytes] | None = None
        self._runs: dict[str, _Run] = {}

    def begin(self, key: str, turn: ClaimedTurn) -> _Run:
        """Have a child forked for the turn.

        Raises: OSError where no process can be started.
        """
        with self._lock:
            if self._nursery is None or self._nursery.poll() is not None:
                self._nursery = self._start()
            run = _Run(nursery=self._nursery)
            self._write(run, f"work {key} {turn.lease.lane_id} {turn.lease.token} {turn.id}")
            self._runs[key] = run
            return run

    def tell(self, verb: str, key: str) -> None:
        """Have the child stopped or killed; one that is gone already is let be."""
        with self._lock:
            run = self._runs.get(key)
            if run is not None and run.nursery.poll() is None:
                self._write(run, f"{verb} {key}")

    def _write(self, run: _Run, line: str) -> None:
        assert run.nursery.stdin is not None
        run.nursery.stdin.write(f"{line}\n".encode())

    def _start(self) -> subprocess.Popen[bytes]:
        nursery = subprocess.Popen(  # noqa: S603 - the project's own command
            [sys.executable, str(settings.BASE_DIR / "manage.py"), "work_suspects"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        threading.Thread(target=self._listen, args=(nursery,), name="nursery", daemon=True).start()
        log.info("nursery_started", nursery=nursery.pid)
        return nursery

    def _listen(self, nursery: subprocess.Popen[bytes]) -> None:
        assert nursery.stdout is not None
        while True:
            ready, _, _ = select([nursery.stdout], [], [], IDLE_SECONDS)
            if not ready:
                self._let_go_if_idle(nursery)
                continue
            line = nursery.stdout.readline()
            if not line:
                break
            self._note(line.decode().split())
        nursery.stdout.close()
        nursery.wait()
        with self._lock:
            if nursery.stdin is not None:
                nursery.stdin.close()
            # Their deaths were not seen: they may live on, under leases that they renew themselves.
            for key in [key for key, run in self._runs.items() if run.nursery is nursery]:
                self._runs.pop(key).over.set()

    def _let_go_if_idle(self, nursery: subprocess.Popen[bytes]) -> None:
        with self._lock:
            if any(run.nursery is nursery for run in self._runs.values()):
                return
            if self._nursery is nursery:
                self._nursery = None
            if nursery.stdin is not None:
                nursery.stdin.close()

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


def work_alone(turn: ClaimedTurn, *, is_stopping: Callable[[], bool]) -> Verdict:
    """Have the turn worked in a process of its own, and wait until that has ended.

    `is_stopping` tells when this process is to end: the child then gives its turn back.
    Raises: OSError where no process can be started.
    """
    key = f"{turn.id}:{turn.lease.token}"
    run = _nurseries.begin(key, turn)
    is_told = is_killed = False
    deadline = time.monotonic() + LIMIT_SECONDS
    while not run.over.wait(LOOK_SECONDS):
        if is_stopping() and not is_told:
            _nurseries.tell("stop", key)
            is_told = True
        if time.monotonic() > deadline and is_killed:
            return Verdict(end=End.UNKNOWN)
        if time.monotonic() > deadline:
            _nurseries.tell("kill", key)
            is_killed, deadline = True, time.monotonic() + DYING_SECONDS
    if run.word:
        return Verdict(end=End(run.word))
    if run.exit_code is None:
        return Verdict(end=End.UNKNOWN)
    why = f"It took longer than {LIMIT_SECONDS:g} s." if is_killed else _death(run.exit_code)
    return Verdict(end=End.DIED, reason=why)


def _death(exit_code: int) -> str:
    by = f"by signal {-exit_code}" if exit_code < 0 else f"with exit code {exit_code}"
    return f"Its process worked nothing else and died {by}."
