"""The drill from its rehearsal to its verdict; the command `drill` calls `run`."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings
from django.db import connection

from agents.databases import own_connection
from agents.models import Agent
from agents.people.stand_ins import is_busy
from agents.processes.workers import explain_waiting
from transports.drill.cast import Cast, make_cast, remove
from transports.drill.faults import Damage, Faults
from transports.drill.planning import KEYED, Plan
from transports.drill.readiness import NotReady, require_fleet
from transports.drill.roll import Roll
from transports.fake import ledger
from transports.verdicts import Fate, Said, Verdict, find_open, judge, read_fates

LOOK_SECONDS = 0.25
REHEARSAL_SECONDS = 30.0
QUIET_SECONDS = 30.0
RETURN_SECONDS = 60.0
"""How long the killed may take to come back: the supervisor of `make run` pauses for up to 30 s before a start."""


@dataclass(frozen=True, kw_only=True)
class Audience:
    """Whoever is told what happens while it happens."""

    said: Callable[[], None]
    over: Callable[[int], None]
    happened: Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came of a drill. `missing_workers` is how many fewer there are than before; `explanation` says why
    something may be open still; `is_removed` tells that nothing of the drill was left behind.

    Unit: `rehearsal_seconds` is what one message took before anything failed.
    """

    plan: Plan
    name: str
    ledger: str
    workers: tuple[str, ...]
    rehearsal_seconds: float
    verdict: Verdict
    damage: Damage
    missing_workers: int
    explanation: str
    is_removed: bool

    @property
    def is_good(self) -> bool:
        """Tell whether nothing was lost, doubled, out of order, undelivered or dead."""
        return self.verdict.is_clean and not self.verdict.dead_letters


def run(plan: Plan, audience: Audience, *, is_kept: bool = False) -> Report:
    """Drill the fleet by the plan, judge it, and remove the traces unless they are to be kept or to be looked at.

    Raises: NotReady; NotAllowed where a fault could not be done, whose traces `cast.remove_all` removes.
    """
    # One connection, outside of the pool: cutting the others' sessions cuts none of its own.
    with own_connection(statement_timeout_seconds=settings.DATABASE_STATEMENT_TIMEOUT_SECONDS):
        return _run(plan, audience, is_kept=is_kept)


def _run(plan: Plan, audience: Audience, *, is_kept: bool) -> Report:
    workers = require_fleet(plan.order)
    cast = make_cast(plan.order.seed)
    try:
        rehearsal_seconds = _rehearse(cast)
    except NotReady:
        remove(cast.agent)
        raise
    with Roll(workers) as roll:
        faults = Faults(plan.order, roll)
        said = _speak(plan, cast, faults, audience)
        ended_at = _now()
        _wait(cast, said, plan.order.patience_seconds, audience)
        if faults.damage.killed:
            audience.happened("waiting for the killed workers to come back")
        missing = _await_return(roll, faults.damage)
    verdict = judge(said, ledger.read(cast.ledger), _fates(cast, said), faults_ended_at=ended_at)
    is_good = verdict.is_clean and not verdict.dead_letters
    explanation = "" if verdict.seconds_to_converge is not None else _explain(cast)
    is_removed = is_good and not is_kept and _remove_when_quiet(cast)
    return Report(
        plan=plan,
        name=cast.agent.name,
        ledger=str(cast.ledger),
        workers=tuple(worker.name for worker in workers),
        rehearsal_seconds=rehearsal_seconds,
        verdict=verdict,
        damage=faults.damage,
        missing_workers=missing,
        explanation=explanation,
        is_removed=is_removed,
    )


def _rehearse(cast: Cast) -> float:
    """Say one thing before all others, and see it answered in the ledger; return how long that took.

    Raises: NotReady.
    """
    started = time.monotonic()
    said = [cast.say(0, person=0, network=KEYED)]
    while find_open(said, fates := _fates(cast, said)):
        if time.monotonic() - started > REHEARSAL_SECONDS:
            raise NotReady(
                f"A message that was said before anything failed has no answer after {REHEARSAL_SECONDS:.0f} s."
                f" {_explain(cast)}"
            )
        time.sleep(LOOK_SECONDS / 5)
    verdict = judge(said, ledger.read(cast.ledger), fates)
    if not verdict.answered:
        raise NotReady(
            f"A message that was said before anything failed was not answered in the ledger {cast.ledger}."
            " The workers must be able to write there: run the drill with their RUN_DIR, as their user, and not"
            f" from another container.\n{verdict}"
        )
    return time.monotonic() - started


def _speak(plan: Plan, cast: Cast, faults: Faults, audience: Audience) -> list[Said]:
    """Say all messages at their rate, each followed by its faults; a kill that waits for a worker holds all up."""
    said: list[Said] = []
    due = time.monotonic()
    for number, moment in enumerate(plan.moments, 1):
        time.sleep(max(0.0, due - time.monotonic()))
        said.append(cast.say(number, person=moment.person, network=plan.networks[moment.person]))
        audience.said()
        for fault in moment.faults:
            audience.happened(faults.happen(fault))
        due = max(due, time.monotonic() - 1 / plan.order.per_second) + 1 / plan.order.per_second
    return said


def _wait(cast: Cast, said: list[Said], seconds: float, audience: Audience) -> None:
    deadline = time.monotonic() + seconds
    waiting = said
    while waiting and time.monotonic() < deadline:
        still = find_open(waiting, _fates(cast, waiting))
        audience.over(len(waiting) - len(still))
        waiting = [one for one in waiting if one.external_id in still]
        if waiting:
            time.sleep(LOOK_SECONDS)


def _await_return(roll: Roll, damage: Damage) -> int:
    """Wait until there are as many workers as before, and return how many are missing."""
    # A worker that came back tells that somebody starts them; otherwise the wait is for the first one only.
    deadline = time.monotonic() + (RETURN_SECONDS if damage.killed and not damage.skipped_kills else 0.0)
    while (missing := roll.expected - len(roll.alive())) > 0 and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    return max(0, missing)


def _explain(cast: Cast) -> str:
    """Say why something may be open still."""
    agent = Agent.objects.get(pk=cast.agent.pk)
    if agent.status != Agent.Status.RUNNING:
        return f"{agent.name} is {agent.status}: start it in the admin, under Agents."
    return explain_waiting()


def _remove_when_quiet(cast: Cast) -> bool:
    """Remove the drill's agent once nothing is learnt from its turns any more."""
    deadline = time.monotonic() + QUIET_SECONDS
    while is_busy(cast.agent):
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_SECONDS)
    remove(cast.agent)
    return True


def _fates(cast: Cast, said: list[Said]) -> list[Fate]:
    with connection.cursor() as cursor:
        ids = [one.external_id for one in said]
        return read_fates(cursor, ids, connections=list(cast.connections.values()))


def _now() -> dt.datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: dt.datetime = cursor.fetchone()[0]
    return moment
