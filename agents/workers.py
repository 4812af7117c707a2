"""Which workers are there. Commands ask when an answer did not come, to say why."""

from __future__ import annotations

from celery import current_app
from kombu.exceptions import OperationalError

PING_SECONDS = 1.5


class BrokerAway(Exception):
    """The broker could not be asked."""


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
    return sorted(name for name in names if not name.startswith("celerybeat@"))


def explain_waiting() -> str:
    """Say in a sentence why a turn may not be over: no broker, no worker, or workers that are slow."""
    try:
        workers = find_workers()
    except BrokerAway as error:
        return str(error)
    if not workers:
        return "No worker answers: start one (`make run`, or the Procfile's `worker`), the message is kept."
    are = "is 1 worker" if len(workers) == 1 else f"are {len(workers)} workers"
    return f"There {are} at work, so the model may be slow: `doctor` tells more, the message is kept."
