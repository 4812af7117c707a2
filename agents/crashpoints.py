"""Crash points: named places at which a test lets a process die, hang, or see an error.

`reach` stands in the code at every place after which another worker must be able to go on; unless CRASHPOINTS
names a plan it costs one comparison. The plan is a JSON file that a test writes with `write_plan` and may
write anew while the fleet runs: processes read it each time they reach a point, and count what they reached
in a file that all of them share, so that "the first time" and "the second" are exact over the whole fleet.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from uuid import uuid4

import structlog

log = structlog.get_logger(__name__)

POINTS: Mapping[str, str] = {
    "inbox.before_commit": "the message and its turn are written, not committed",
    "inbox.after_commit": "the message is stored and its lane woken; nobody was told yet",
    "wakeup.before_publish": "what the wake-up is for is committed; the broker was not asked",
    "wakeup.publishing": "a connection to the broker is held; nothing was sent",
    "dispatcher.found": "what is due was found and noted as told; nobody was told",
    "lane.claimed": "the lane is leased and its first turn is running",
    "model.answering": "a piece of the model's answer has come",
    "model.answered": "the whole answer has come; it is not saved",
    "answer.saved": "the answer is saved; none of its actions was begun",
    "action.started": "an action that works outward is marked as begun, and was not called",
    "action.done": "the action was done; neither its step nor its effects are committed",
    "action.saved": "the action's step and its effects are committed",
    "turn.before_commit": "the turn's end, its reply and its memories are written, not committed",
    "turn.after_commit": "the turn has ended and its reply stands in the outbox",
    "lane.before_release": "nothing is open in the lane, and it is still leased",
    "delivery.claimed": "the delivery is `sending`; the network was not asked",
    "delivery.sent": "the network has taken the message; it is not marked",
    "delivery.recorded": "the delivery is marked",
    "evaluation.claimed": "the evaluation is leased",
    "evaluation.before_commit": "what was learnt is applied, not committed",
    "evaluation.after_commit": "the evaluation has ended",
    "reflection.claimed": "a look at a conversation is leased",
    "evaluator.answered": "the model has answered an evaluator; the answer is not recorded",
    "evaluator.recorded": "the answer is recorded; nothing is learnt from it yet",
    "reflection.before_commit": "what was learnt from a conversation is applied, not committed",
    "reflection.after_commit": "the look has ended",
    "forgetting.begun": "a person's lanes and accounts are taken; none of their words is gone",
    "forgetting.batch_done": "a part of a person's words is gone",
}
"""Every point by its name, with what has happened when it is reached. Each stands at one place in the code."""


class Kind(StrEnum):
    """What happens at a point.

    `timeout` raises TimeoutError where the work behind the point is done: the caller sees a failure of
    something that succeeded. `stop` is SIGSTOP: the process hangs until somebody sends SIGCONT.
    """

    KILL = "kill"
    RAISE = "raise"
    TIMEOUT = "timeout"
    SLEEP = "sleep"
    STOP = "stop"


class CrashPointReached(Exception):
    """A plan asked for an error here."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens at `point`, on those of its hits that `hits` counts, from 1.

    Unit: `seconds` is how long a `sleep` takes.
    """

    point: str
    kind: Kind = Kind.KILL
    hits: tuple[int, ...] = (1,)
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One time that a planned point was reached: by which process, and what came of it, if anything did."""

    point: str
    number: int
    process: int
    kind: Kind | None


_plan: Path | None = None


def reach(name: str) -> None:
    """Let happen what a test has planned at this point; without a plan, nothing."""
    if _plan is not None:
        _reach(_plan, name)


def arm(path: str) -> None:
    """Follow the plan at this path from now on; an empty path ends that."""
    global _plan
    _plan = Path(path) if path else None
    if _plan is not None:
        log.warning("crash_points_armed", plan=path)


def write_plan(path: Path, faults: Sequence[Fault]) -> None:
    """Write a plan anew, for every process that follows this path; what was counted begins at 0 again.

    Raises: ValueError for a point that there is not.
    """
    for fault in faults:
        if fault.point not in POINTS:
            raise ValueError(f"There is no crash point {fault.point!r}; there are: {', '.join(POINTS)}.")
    new = path.with_suffix(".new")
    plan = {"id": uuid4().hex, "faults": [asdict(fault) for fault in faults]}
    new.write_text(json.dumps(plan), encoding="utf-8")
    new.replace(path)


def read_hits(path: Path) -> list[Hit]:
    """Return how often the points of the current plan were reached, in that order."""
    plan = _read_plan(path)
    if plan is None or not (file := _hits_file(path, plan[0])).exists():
        return []
    lines = (line.split() for line in file.read_text(encoding="utf-8").splitlines())
    return [
        Hit(point=point, number=int(number), process=int(process), kind=Kind(kind) if kind != "-" else None)
        for point, number, process, kind in lines
    ]


def _reach(path: Path, name: str) -> None:
    plan = _read_plan(path)
    if plan is None:
        return
    planned = [fault for fault in plan[1] if fault.point == name]
    if not planned:
        return
    fault = _count(_hits_file(path, plan[0]), name, planned)
    if fault is not None:
        _happen(fault)


def _count(file: Path, name: str, planned: list[Fault]) -> Fault | None:
    """Note the hit before anything happens, and return the fault that is due on it."""
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        seen = os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode().splitlines()
        number = 1 + sum(line.startswith(f"{name} ") for line in seen)
        fault = next((fault for fault in planned if number in fault.hits), None)
        os.write(descriptor, f"{name} {number} {os.getpid()} {fault.kind if fault else '-'}\n".encode())
    finally:
        os.close(descriptor)
    return fault


def _happen(fault: Fault) -> None:
    match fault.kind:
        case Kind.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        case Kind.STOP:
            # To this very thread: it would go on for a moment while another thread takes the signal.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        case Kind.SLEEP:
            time.sleep(fault.seconds)
        case Kind.RAISE:
            raise CrashPointReached(f"The plan lets {fault.point} fail.")
        case Kind.TIMEOUT:
            raise TimeoutError(f"The plan lets the caller of {fault.point} see a timeout.")


def _read_plan(path: Path) -> tuple[str, list[Fault]] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    faults = [
        Fault(
            point=fault["point"],
            kind=Kind(fault["kind"]),
            hits=tuple(fault["hits"]),
            seconds=fault["seconds"],
        )
        for fault in found["faults"]
    ]
    return found["id"], faults


def _hits_file(path: Path, plan_id: str) -> Path:
    return path.with_name(f"{path.stem}-{plan_id}.hits")
