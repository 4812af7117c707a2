"""The nursery: a process with everything loaded and nothing begun, which forks a child for each suspect.

A child works one turn and ends. A worker forks its nursery from itself before it begins anything, which costs some
milliseconds; where that one died, or a process never had one, `manage.py work_suspects` becomes it, for 1.5 s of
CPU. `agents.processes.alone` holds the other side, and they talk line by line:

    in:   work <key> <lane> <token> <turn>   fork a child for this turn
          stop <key>                         tell the child to give its turn back (SIGTERM)
          kill <key>                         end it at once (SIGKILL)
    out:  said <key> released|held|unknown   the child's own word: whether the lane needs nothing more
          died <key> <exit code>             the child is gone; below 0 by that signal

The child writes its word itself, so it counts even where the nursery dies before it does. The nursery has one
thread, no connection, and has made no id or random number: a fork copies all of those.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn
from uuid import UUID

import structlog
from django.conf import settings

from agents.lanes import Lease
from agents.processes import departures

log = structlog.get_logger(__name__)

LIMIT_SECONDS = 600.0
"""How long one turn may take: far more than its parts may by their own limits."""

OWN_LIMIT_SECONDS = 30.0
"""So much later a child is ended by the kernel, whose alarm needs nobody: its parents may be gone by then."""

VERBS = {"work": 5, "stop": 2, "kill": 2}
"""What may be asked, and in how many words."""

REAP_SECONDS = 0.05
REQUESTS, OUTPUT, ERRORS = 0, 1, 2
END_SIGNALS = (signal.SIGTERM, signal.SIGINT)

Work = Callable[[Lease, UUID], bool]
Ends = tuple[int, int]
"""Of the pipe of requests and the pipe of answers, an end each."""


class Nursery:
    """A nursery as its parent sees it."""

    def __init__(self, begin: Callable[[Ends, Ends], int]) -> None:
        """Let `begin` make the process, of the ends that are its own and those that are not; it returns its id."""
        its_requests, self._requests = os.pipe()
        self._answers, its_answers = os.pipe()
        try:
            self.pid = begin((its_requests, its_answers), (self._requests, self._answers))
        except OSError:
            os.close(self._requests)
            os.close(self._answers)
            raise
        finally:
            os.close(its_requests)
            os.close(its_answers)
        self._is_closed = False

    def is_running(self) -> bool:
        """Tell whether the process is there; one whose death nobody has looked at yet is not."""
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False

    def ask(self, line: str) -> None:
        """Write a line of the protocol.

        Raises: BrokenPipeError where it is gone.
        """
        if self._is_closed:
            raise BrokenPipeError("The nursery was closed.")
        os.write(self._requests, f"{line}\n".encode())

    def answers(self) -> Iterator[str]:
        """Wait for its lines, until it and all of its children are gone."""
        with open(self._answers, encoding="ascii") as lines:
            yield from lines

    def close(self) -> None:
        """Let it end, as it does when its parent is gone; its children go on."""
        if not self._is_closed:
            self._is_closed = True
            os.close(self._requests)

    def bury(self) -> int:
        """Close what is left of one whose answers have ended, and return its exit code; below 0 by that signal."""
        self.close()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def fork(work: Work) -> Nursery:
    """Make a nursery of this process, which has one thread and no connection yet."""

    def begin(own: Ends, others: Ends) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _become(own, others, work)
        return pid

    # Blocked from its first moment on: see `serve`.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)
    try:
        return Nursery(begin)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start() -> Nursery:
    """Start a nursery afresh.

    Raises: OSError.
    """
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "work_suspects"]

    def begin(own: Ends, _others: Ends) -> int:
        streams = [
            (os.POSIX_SPAWN_DUP2, end, stream) for end, stream in zip(own, (REQUESTS, OUTPUT), strict=True)
        ]
        return os.posix_spawn(command[0], command, os.environ, file_actions=streams)

    started = Nursery(begin)
    log.info("nursery_started", nursery=started.pid)
    return started


def _become(own: Ends, others: Ends, work: Work) -> NoReturn:
    code = 1
    try:
        for end, stream in zip(own, (REQUESTS, OUTPUT), strict=True):
            os.dup2(end, stream)
        # While a copy of the parent's writing end is open, nobody sees that the parent is gone.
        for end in (*own, *others):
            os.close(end)
        serve(work)
        code = 0
    except Exception:  # the door of a process
        log.exception("nursery_failed")
    finally:
        os._exit(code)


def serve(work: Work) -> None:
    """Fork children as asked on standard input, until it is closed.

    The signals that end a worker reach its whole group: the nursery goes on until the worker closes it.
    Raises: ValueError where something else is asked than the protocol knows.
    """
    # Blocked instead of ignored: one that comes before a child can take it waits until it can.
    signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)
    # What plugins print goes where the log goes; children of children don't inherit the duplicate.
    answers = os.dup(OUTPUT)
    os.dup2(ERRORS, OUTPUT)
    children: dict[int, str] = {}
    rest = b""
    while True:
        ready, _, _ = select.select([REQUESTS], [], [], REAP_SECONDS if children else None)
        if ready:
            data = os.read(REQUESTS, 65536)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                _obey(line.decode().split(), children, answers, work)
        _reap(children, answers)


def _obey(words: list[str], children: dict[int, str], answers: int, work: Work) -> None:
    if len(words) != VERBS.get(words[0] if words else "", 0):
        raise ValueError(f"A nursery is asked by its worker; it does not know {' '.join(words)!r}.")
    verb, key = words[0], words[1]
    if verb == "work":
        lane, token, turn = words[2:]
        child = os.fork()
        if child == 0:
            _live(key, Lease(lane_id=UUID(lane), token=int(token)), UUID(turn), answers, work)
        children[child] = key
        return
    for child, name in children.items():
        # Not reaped yet, so its number can't be another's.
        if name == key:
            os.kill(child, signal.SIGTERM if verb == "stop" else signal.SIGKILL)


def _reap(children: dict[int, str], answers: int) -> None:
    while children:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child == 0:
            return
        _tell(answers, f"died {children.pop(child)} {os.waitstatus_to_exitcode(status)}")


def _live(key: str, lease: Lease, turn_id: UUID, answers: int, work: Work) -> NoReturn:
    """Work the turn and end the process, without what an interpreter does at its end."""
    code = 1
    try:
        _prepare(key, answers)
        word = "unknown"
        try:
            word = "released" if work(lease, turn_id) else "held"
        except Exception:  # the door of the process; the turn's lease ends by itself
            log.exception("suspect_failed", turn=str(turn_id))
        _tell(answers, f"said {key} {word}")
        code = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _prepare(key: str, answers: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, REQUESTS)

    def leave() -> None:
        _tell(answers, f"said {key} released")
        os._exit(0)

    for number in END_SIGNALS:
        signal.signal(number, lambda *_signal: departures.begin(leave=leave))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)
    # The kernel's own way to end it, whoever holds the interpreter's lock.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_SECONDS + OWN_LIMIT_SECONDS)
    if settings.SUSPECT_MEMORY_MB:
        limit = settings.SUSPECT_MEMORY_MB * 1024**2
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    # One turn needs no pool, and a pool would start threads and keep connections.
    settings.DATABASES["default"].get("OPTIONS", {}).pop("pool", None)


def _tell(answers: int, line: str) -> None:
    # Shorter than a pipe's atomic write, so lines of many children never mix.
    os.write(answers, f"{line}\n".encode())
