"""Works a forgetting, stage after stage, under a lease; whoever finds one that nobody works goes on with it.

The command, the task `agents.forget_person` and, through it, the dispatcher call `go_on`.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import structlog

from agents import audit
from agents.forgetting import ending, hearing, holding, quiet, removal
from agents.forgetting.holding import Hold, Lost, Progress
from agents.forgetting.sealing import begin
from agents.models import Forgetting
from agents.wakeups import wake_after_commit

log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 10.0
"""Who began one works it at once; one that nobody has taken up by then is found by the dispatcher."""

Stage = Forgetting.Stage


def _remove_again(forgetting: Forgetting, hold: Hold) -> None:
    """Remove what was written meanwhile by those who had read the person's words, and a message that came late: it
    had read the account as the forgetting began, and waited for the lane of a whole room.
    """
    if removal.is_something_left(forgetting):
        hearing.hear(forgetting, hold)
    removal.remove(forgetting, hold)


STAGES: tuple[tuple[str, Callable[[Forgetting, Hold], None]], ...] = (
    (Stage.HEARD.value, hearing.hear),
    (Stage.REMOVED.value, removal.remove),
    (Stage.QUIET.value, quiet.wait),
    (Stage.SWEPT.value, _remove_again),
)
"""The stages after the sealing, and what brings a forgetting there."""


def hand_over(person_id: UUID, *, by: str, why: str) -> UUID:
    """Begin to forget the person, and have a worker do the rest.

    Raises: CannotForget.
    """
    begun = begin(person_id, by=by, why=why)
    wake_after_commit("agents.forget_person", forgetting_id=str(begun.pk))
    return begun.pk


def go_on(forgetting_id: UUID, *, tell: Callable[[Progress], None] = lambda _progress: None) -> bool:
    """Work the forgetting to its end; False where somebody else works it at this moment.

    One that is gone has ended: True.
    """
    claimed = holding.claim(forgetting_id, tell)
    if claimed is None:
        return not Forgetting.objects.filter(pk=forgetting_id).exists()
    forgetting, hold = claimed
    try:
        _work(forgetting, hold)
    except Lost as error:
        log.warning("forgetting_lost", error=error)
        return False
    # As of the audit: whoever gives the command is told by it.
    tell_log = log.debug if forgetting.began_by == audit.COMMAND else log.info
    tell_log("forgotten", forgetting=str(forgetting_id), **hold.counts)
    return True


def _work(forgetting: Forgetting, hold: Hold) -> None:
    names = [name for name, _work in STAGES]
    reached = names.index(forgetting.stage) + 1 if forgetting.stage in names else 0
    for name, work in STAGES[reached:]:
        work(forgetting, hold)
        with hold.batch():
            forgetting.stage = hold.stage = name
            forgetting.save(update_fields=["stage"])
    while removal.is_something_left(forgetting):
        _remove_again(forgetting, hold)
    ending.end(forgetting, hold)


def find_due(limit: int) -> list[UUID]:
    """Return the forgettings that nobody works."""
    return holding.find_due(limit, patience_seconds=PATIENCE_SECONDS)


def find_unfinished(reference: str) -> UUID | None:
    """Return the forgetting of the person of this id or `network:account id`, if it has not ended yet."""
    network, colon, account = reference.strip().partition(":")
    whom = {"accounts__contains": [[network, account]]} if colon else {"people__contains": [network.lower()]}
    return Forgetting.objects.filter(**whom).values_list("pk", flat=True).first()
