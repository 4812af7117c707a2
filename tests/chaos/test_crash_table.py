"""Each row of the crash table (`docs/reliability/chaos.md`): a process is killed there, and nothing is lost or doubled.

`first` kills whoever comes there first; `second` kills the one that took its work up again, too.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from agents.crashpoints import POINTS, Fault, Kind
from tests.chaos.errands import NOTE, PAY, POST
from tests.chaos.harness import KEYED, KEYLESS, Fleet, Spoken
from tests.chaos.test_reflection import LOOKS

pytestmark = pytest.mark.fleet

Check = Callable[[Fleet, list[Spoken], int], None]
"""What a row promises besides a clean verdict, given how often somebody was killed."""

KILLS = {"first": (1,), "second": (1, 2)}


def asked_once(fleet: Fleet, spoken: list[Spoken], _kills: int) -> None:
    """A recorded answer is never asked for again, and nothing was asked before the claim."""
    assert fleet.asked(spoken) == [1] * len(spoken)


def first_asked_once(fleet: Fleet, spoken: list[Spoken], kills: int) -> None:
    """A turn that has ended is not worked again; the next one may have been in the killed process, too."""
    assert fleet.asked(spoken)[0] == 1
    assert sum(fleet.asked(spoken)) <= len(spoken) + kills
    assert not fleet.asked_again(spoken)


def asked_again_for_what_was_lost(fleet: Fleet, spoken: list[Spoken], kills: int) -> None:
    """An answer that nobody recorded is asked for again: once a kill."""
    assert sum(fleet.asked(spoken)) == len(spoken) + kills


def effects_once(fleet: Fleet, spoken: list[Spoken], kills: int) -> None:
    """Effects on the database are applied exactly once, with the answer asked for once."""
    asked_once(fleet, spoken, kills)
    assert fleet.noted(spoken) == [1] * len(spoken)


def errands_once(fleet: Fleet, spoken: list[Spoken], kills: int) -> None:
    """An outward action that finished is not done again."""
    asked_once(fleet, spoken, kills)
    assert fleet.run_errands(spoken) == [1] * len(spoken)


def errands_repeated(fleet: Fleet, spoken: list[Spoken], kills: int) -> None:
    """An idempotent outward action that may have been done is done again: once a kill."""
    asked_once(fleet, spoken, kills)
    assert sum(fleet.run_errands(spoken)) == len(spoken) + kills


def uncertain_once_a_kill(fleet: Fleet, spoken: list[Spoken], kills: int) -> None:
    """A network without a key gets nothing twice: what is uncertain is listed."""
    first_asked_once(fleet, spoken, kills)
    assert len(fleet.verdict(spoken).uncertain) == kills


def learnt_once(fleet: Fleet, spoken: list[Spoken], kills: int) -> None:
    """What an evaluator learns is applied once."""
    first_asked_once(fleet, spoken, kills)
    assert fleet.learnt(spoken) == [1] * len(spoken)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row: the point, what is said, over which network, and the row's own promise."""

    point: str
    promise: Check
    kind: str = ""
    network: str = KEYED
    name: str = ""

    @property
    def id(self) -> str:
        """The row's name in the document and in the test's id."""
        return self.name or self.point


ROWS = (
    Row(point="inbox.before_commit", promise=asked_once),
    Row(point="inbox.after_commit", promise=asked_once),
    Row(point="wakeup.before_publish", promise=asked_once),
    Row(point="wakeup.publishing", promise=asked_once),
    Row(point="lane.claimed", promise=asked_once),
    Row(point="model.answering", promise=asked_again_for_what_was_lost),
    Row(point="model.answered", promise=asked_again_for_what_was_lost),
    Row(point="answer.saved", kind=NOTE, promise=effects_once),
    Row(point="action.started", kind=POST, promise=errands_once),
    Row(point="action.done", kind=NOTE, promise=effects_once),
    Row(point="action.done", kind=POST, promise=errands_repeated, name="action.done-idempotent"),
    Row(point="action.saved", kind=POST, promise=errands_once),
    Row(point="turn.before_commit", kind=NOTE, promise=effects_once),
    Row(point="turn.after_commit", promise=asked_once),
    Row(point="delivery.claimed", promise=first_asked_once),
    Row(
        point="delivery.claimed",
        network=KEYLESS,
        promise=uncertain_once_a_kill,
        name="delivery.claimed-keyless",
    ),
    Row(point="delivery.sent", promise=first_asked_once),
    Row(point="delivery.sent", network=KEYLESS, promise=uncertain_once_a_kill, name="delivery.sent-keyless"),
    Row(point="delivery.recorded", promise=first_asked_once),
    Row(point="evaluation.claimed", promise=learnt_once),
    Row(point="evaluation.before_commit", promise=learnt_once),
    Row(point="evaluation.after_commit", promise=learnt_once),
)
APART = {"dispatcher.found", "lane.before_release", *LOOKS, "forgetting.begun", "forgetting.batch_done"}
"""Points that a plain message does not come to: each has a test of its own, below, in `test_reflection.py` or, of
forgetting, in `tests/agents/forgetting/test_killed.py`.
"""


def test_every_point_has_a_row() -> None:
    assert {row.point for row in ROWS} | APART == set(POINTS)


@pytest.mark.parametrize("run", KILLS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_killed_at(fleet: Fleet, row: Row, run: str) -> None:
    kills = KILLS[run]
    fleet.plan(Fault(point=row.point, hits=kills))
    person = fleet.new_person()
    spoken = [fleet.say(row.kind, person, network=row.network) for _message in range(2)]
    fleet.wait(lambda: fleet.happened() == len(kills), f"{len(kills)} kills at {row.point}")
    fleet.wait_until_over(spoken)
    verdict = fleet.verdict(spoken)
    assert verdict.is_clean, verdict
    row.promise(fleet, spoken, len(kills))


@pytest.mark.parametrize("point", ["inbox.after_commit", "wakeup.before_publish", "wakeup.publishing"])
def test_a_sender_that_was_not_told_brings_a_second_copy_that_changes_nothing(
    fleet: Fleet, point: str
) -> None:
    fleet.plan(Fault(point=point))
    spoken = fleet.say("", fleet.new_person())
    assert not spoken.is_new
    fleet.wait_until_over([spoken])
    assert fleet.verdict([spoken]).is_clean


@pytest.mark.parametrize("run", KILLS)
def test_killed_at_dispatcher_found(fleet: Fleet, run: str) -> None:
    """Who found a lane, noted that it was told, and died before telling, is followed by the next round."""
    kills = KILLS[run]
    lost_wakeup = Fault(point="wakeup.before_publish", kind=Kind.RAISE)
    fleet.plan(lost_wakeup, Fault(point="dispatcher.found", hits=kills))
    spoken = [fleet.say("", fleet.new_person())]
    fleet.wait(lambda: fleet.happened() == 1 + len(kills), f"{len(kills)} dispatchers killed")
    fleet.wait_until_over(spoken)
    assert fleet.verdict(spoken).is_clean
    asked_once(fleet, spoken, len(kills))


@pytest.mark.parametrize("run", KILLS)
def test_killed_at_lane_before_release(fleet: Fleet, run: str) -> None:
    """A lane whose agent was paused is let go with what waits in it; it is worked when the agent is back."""
    for _kill in KILLS[run]:
        _kill_before_release(fleet)


def _kill_before_release(fleet: Fleet) -> None:
    fleet.plan(Fault(point="lane.before_release"))
    fleet.model.control({"latency_ms": 800.0})
    person = fleet.new_person()
    spoken = [fleet.say("", person) for _message in range(2)]
    fleet.wait(lambda: fleet.asked(spoken)[0] == 1, "the first answer asked for")
    fleet.crew.ask("pause", agent=fleet.agent)
    fleet.wait(lambda: fleet.happened() == 1, "a kill before the release")
    fleet.crew.ask("start", agent=fleet.agent)
    fleet.wait_until_over(spoken)
    assert fleet.verdict(spoken).is_clean
    asked_once(fleet, spoken, 1)


@pytest.mark.parametrize("point", ["action.started", "action.done"])
def test_an_outward_action_that_may_have_been_done_is_not_repeated(fleet: Fleet, point: str) -> None:
    fleet.plan(Fault(point=point))
    spoken = [fleet.say(PAY, fleet.new_person())]
    statement = "SELECT 1 FROM agents_step WHERE turn_id = %s::uuid AND state IN ('uncertain', 'waiting')"
    fleet.wait(lambda: fleet.sql(statement, spoken[0].turn_id), "an action that is uncertain")
    assert fleet.run_errands(spoken) == [0 if point == "action.started" else 1]
    asked_once(fleet, spoken, 1)


# Other faults at the same places -------------------------------------------------------------------------


@pytest.mark.parametrize("network", [KEYED, KEYLESS])
def test_a_network_that_took_a_message_while_its_sender_saw_a_timeout(fleet: Fleet, network: str) -> None:
    fleet.plan(Fault(point="delivery.sent", kind=Kind.TIMEOUT))
    person = fleet.new_person()
    spoken = [fleet.say("", person, network=network) for _message in range(2)]
    fleet.wait_until_over(spoken)
    verdict = fleet.verdict(spoken)
    assert verdict.is_clean, verdict
    assert len(verdict.uncertain) == (0 if network == KEYED else 1)


def test_a_message_that_was_stored_while_its_sender_saw_a_timeout(fleet: Fleet) -> None:
    fleet.plan(Fault(point="inbox.after_commit", kind=Kind.TIMEOUT))
    spoken = [fleet.say("", fleet.new_person())]
    assert not spoken[0].is_new
    fleet.wait_until_over(spoken)
    assert fleet.verdict(spoken).is_clean


@pytest.mark.parametrize(
    ("point", "kind", "network"),
    [
        ("lane.claimed", "", KEYED),
        ("model.answered", "", KEYED),
        ("turn.before_commit", NOTE, KEYED),
        ("delivery.claimed", "", KEYED),
        ("delivery.claimed", "", KEYLESS),
        ("delivery.sent", "", KEYLESS),
        ("evaluation.before_commit", "", KEYED),
    ],
)
def test_a_holder_that_hung_past_its_lease_changes_nothing_when_it_wakes(
    fleet: Fleet, point: str, kind: str, network: str
) -> None:
    fleet.plan(Fault(point=point, kind=Kind.STOP))
    person = fleet.new_person()
    spoken = [fleet.say(kind, person, network=network) for _message in range(2)]
    fleet.wait(lambda: fleet.happened() == 1, f"a holder that hangs at {point}")
    hung = next(hit.process for hit in fleet.hits() if hit.kind is not None)
    before = fleet.sql("SELECT count(*) FROM agents_turn")
    try:
        # Where a transaction hangs with its locks, nobody can go on before the server ends the session.
        if point not in {"turn.before_commit", "evaluation.before_commit"}:
            fleet.wait_until_over(spoken)
        else:
            fleet.wait(lambda: _is_hanging(fleet), "a transaction that hangs")
    finally:
        os.kill(hung, signal.SIGCONT)
    fleet.wait_until_over(spoken)
    assert fleet.sql("SELECT count(*) FROM agents_turn") == before
    verdict = fleet.verdict(spoken)
    assert verdict.is_clean, verdict
    if kind:
        effects_once(fleet, spoken, 0)


def _is_hanging(fleet: Fleet) -> bool:
    return bool(
        fleet.sql(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
            " AND state = 'idle in transaction' AND clock_timestamp() - state_change > interval '2 seconds'"
        )
    )
