"""Which workers are there. Commands ask when an answer did not come, to say why; a drill asks whom it may kill."""

from __future__ import annotations

from dataclasses import dataclass

from celery import current_app
from django.db import connection
from django.db.models.functions import Now
from kombu.exceptions import OperationalError

from agents.models import Agent, Lane, Turn

PING_SECONDS = 1.5
BEAT = "celerybeat@"


class BrokerAway(Exception):
    """The broker could not be asked."""


@dataclass(frozen=True, kw_only=True)
class WorkerProcess:
    """A worker as it answers for itself; `pid` is its process on its own machine."""

    name: str
    pid: int

    @property
    def host(self) -> str:
        """Return the name of its machine."""
        return self.name.partition("@")[2]


def find_workers() -> list[str]:
    """Return the names of the workers that answer a ping.

    Unit: takes PING_SECONDS.
    Raises: BrokerAway.
    """
    try:
        answers = current_app.control.ping(timeout=PING_SECONDS)
    except (OperationalError, OSError) as error:
        raise BrokerAway(f"The broker can't be reached ({error}): check CELERY_BROKER_URL.") from error
    names = (name for answer in answers or () for name in answer)
    return sorted(name for name in names if not name.startswith(BEAT))


def find_processes(seconds: float = PING_SECONDS) -> list[WorkerProcess]:
    """Return the processes of the workers that answer.

    Unit: takes `seconds`.
    Raises: BrokerAway.
    """
    try:
        answers = current_app.control.inspect(timeout=seconds).stats() or {}
    except (OperationalError, OSError) as error:
        raise BrokerAway(f"The broker can't be reached ({error}): check CELERY_BROKER_URL.") from error
    return [
        WorkerProcess(name=name, pid=int(answer["pid"]))
        for name, answer in sorted(answers.items())
        if not name.startswith(BEAT) and "pid" in answer
    ]


def explain_waiting() -> str:
    """Say in a sentence why a turn may not be over: no broker, no worker, workers elsewhere, or ones that are slow."""
    try:
        workers = find_workers()
    except BrokerAway as error:
        return str(error)
    if not workers:
        return "No worker answers: start one (`make run`, or the Procfile's `worker`), the message is kept."
    are = "is 1 worker" if len(workers) == 1 else f"are {len(workers)} workers"
    if _is_left_alone():
        named = connection.settings_dict
        where = f"{named['NAME']} at {named['HOST']}" if named["HOST"] else named["NAME"]
        return (
            f"There {are}, but nothing is worked in this database ({where}): they may serve another one. Set"
            " DATABASE_URL as it is set for them; the message is kept."
        )
    return f"There {are} at work, so the model may be slow: `doctor` tells more, the message is kept."


def _is_left_alone() -> bool:
    """Tell whether a turn is due that nobody ever took, and nobody works any other one: workers take one at once."""
    never_taken = Turn.objects.filter(
        state=Turn.State.WAITING,
        take_count=0,
        agent__status=Agent.Status.RUNNING,
        lane__next_run_at__lte=Now(),
    )
    return never_taken.exists() and not Lane.objects.filter(lease_until__gt=Now()).exists()
