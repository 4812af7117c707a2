"""The nursery: a process with Django loaded and nothing begun, which forks a child for each suspect.

A child works one turn and ends. `agents.alone` starts the nursery and talks with it line by line:

    in:   work <key> <lane> <token> <turn>   fork a child for this turn
          stop <key>                         tell the child to give its turn back (SIGTERM)
          kill <key>                         end it at once (SIGKILL)
    out:  said <key> released|held|unknown   the child's own word: whether the lane needs nothing more
          died <key> <exit code>             the child is gone; below 0 by that signal

The child writes its word itself, so it counts even where the nursery dies before it does. The nursery has one
thread, no connection, and has made no id or random number: a fork copies all of those. `manage.py
work_suspects` runs it.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
from collections.abc import Callable
from typing import NoReturn
from uuid import UUID

import structlog
from django.conf import settings

from agents import departures
from agents.lanes import Lease

log = structlog.get_logger(__name__)

REAP_SECONDS = 0.05
REQUESTS, OUTPUT, ERRORS = 0, 1, 2
END_SIGNALS = (signal.SIGTERM, signal.SIGINT)

Work = Callable[[Lease, UUID], bool]


def serve(work: Work) -> None:
    """Fork children as asked on standard input, until it is closed.

    The signals that end a worker reach its whole group: the nursery goes on until the worker closes it.
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
    if settings.SUSPECT_MEMORY_MB:
        limit = settings.SUSPECT_MEMORY_MB * 1024**2
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    # One turn needs no pool, and a pool would start threads and keep connections.
    settings.DATABASES["default"].get("OPTIONS", {}).pop("pool", None)


def _tell(answers: int, line: str) -> None:
    # Shorter than a pipe's atomic write, so lines of many children never mix.
    os.write(answers, f"{line}\n".encode())
