"""Models that fail in every way: in bounded time, with one apology, and at no other person's cost.

All of them fail at once, each for an agent of its own, while the fleet's own agent goes on with a sound model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.chaos.harness import KEYED, Fleet, Spoken, fleet_running

pytestmark = pytest.mark.fleet

MODEL_SECONDS = 1.5
ATTEMPTS = 2
BACKOFF_SECONDS = 2.0
SLACK_SECONDS = 10.0
FAULTS = (
    "hang",
    "half",
    "garbage",
    "types",
    "empty",
    "huge",
    "silence",
    "drip",
    "error-event",
    "500",
    "503",
    "401",
)
FATES = """
SELECT turn.state, turn.outcome, turn.error, extract(epoch FROM turn.ended_at - turn.received_at)::float,
       (SELECT count(*) FROM agents_message AS reply WHERE reply.turn_id = turn.id),
       (SELECT count(*) FROM agents_modelcall AS call WHERE call.turn_id = turn.id AND call.purpose = 'answer'),
       lane.lease_until IS NULL
FROM agents_turn AS turn JOIN agents_lane AS lane ON lane.id = turn.lane_id WHERE turn.id = %s::uuid
"""


@dataclass(frozen=True, kw_only=True)
class Failed:
    """What became of the message to an agent whose model fails."""

    message: Spoken
    state: str
    outcome: str
    error: str
    seconds: float
    replies: int
    calls: int
    is_free: bool


@dataclass(frozen=True, kw_only=True)
class Ordeal:
    """The messages to failing models, by fault, and those to the sound one meanwhile."""

    failed: dict[str, Failed]
    sound: list[Spoken]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet with little patience, and fewer threads than there are failing models."""
    with fleet_running(
        tmp_path_factory.mktemp("models"),
        workers=2,
        MODEL_TIMEOUT_SECONDS=str(MODEL_SECONDS),
        TURN_MAX_ATTEMPTS=str(ATTEMPTS),
    ) as running:
        yield running


@pytest.fixture(scope="module")
def ordeal(faulty: Fleet) -> Ordeal:
    """Let all models fail at once, and say something to the sound one before, between and after."""
    for fault in FAULTS:
        made = faulty.crew.prepare(
            "make_agent", name=f"Fault-{fault}", model_small="echo", model_large=f"fail:{fault}"
        )
        faulty.add_network(f"fake-{fault}", KEYED, agent=made["agent"])
    people = [faulty.new_person() for _person in range(3)]
    said, sound = {}, []
    for fault in FAULTS:
        said[fault] = faulty.say("", faulty.new_person(), network=f"fake-{fault}")
        sound += [faulty.say("", person) for person in people]
    faulty.wait_until_over([*said.values(), *sound])
    return Ordeal(
        failed={fault: _failed(faulty, message) for fault, message in said.items()},
        sound=sound,
    )


def _failed(fleet: Fleet, message: Spoken) -> Failed:
    ((state, outcome, error, seconds, replies, calls, is_free),) = fleet.sql(FATES, message.turn_id)
    return Failed(
        message=message,
        state=state,
        outcome=outcome,
        error=error,
        seconds=seconds,
        replies=replies,
        calls=calls,
        is_free=is_free,
    )


@pytest.mark.parametrize("fault", FAULTS)
def test_a_model_that_fails_costs_bounded_time_and_one_apology(
    faulty: Fleet, ordeal: Ordeal, fault: str
) -> None:
    failed = ordeal.failed[fault]
    assert (failed.state, failed.outcome) == ("dead", "apologised"), failed
    assert "Error" in failed.error
    assert failed.replies == 1
    assert failed.is_free, "the lane is held still"
    # What can't be mended by asking again is not asked again.
    assert failed.calls == (1 if fault == "401" else ATTEMPTS), failed
    assert failed.seconds < ATTEMPTS * MODEL_SECONDS + (ATTEMPTS - 1) * BACKOFF_SECONDS + SLACK_SECONDS
    name = failed.message.said.external_id
    verdict = faulty.verdict([failed.message], guilty={name})
    assert verdict.is_clean, verdict
    assert len(verdict.dead_letters) == 1


def test_other_lanes_go_on_while_models_fail(faulty: Fleet, ordeal: Ordeal) -> None:
    verdict = faulty.verdict(ordeal.sound)
    assert verdict.is_clean, verdict
    assert verdict.answered == len(ordeal.sound)
    assert not faulty.asked_again(ordeal.sound)


@pytest.mark.parametrize("fault", ["hang", "half"])
def test_a_lane_goes_on_after_its_apology(faulty: Fleet, ordeal: Ordeal, fault: str) -> None:
    person = faulty.new_person()
    faulty.model.control({"fault": fault})
    try:
        first = faulty.say("", person)
        faulty.wait(lambda: _state(faulty, first) == "dead", "a dead letter")
    finally:
        faulty.model.control({"fault": ""})
    second = faulty.say("", person)
    faulty.wait_until_over([first, second])
    verdict = faulty.verdict([first, second], guilty={first.said.external_id})
    assert verdict.is_clean, verdict
    assert verdict.answered == 1


def test_a_model_that_asks_for_time_gets_it_and_no_attempt_is_counted(faulty: Fleet, ordeal: Ordeal) -> None:
    waits = [faulty.new_person() for _person in range(3)]
    faulty.model.control({"fault": "429", "retry_after": {"retry-after": "1"}})
    try:
        spoken = [faulty.say("", person) for person in waits]
        faulty.wait(
            lambda: all(faulty.asked([one])[0] > ATTEMPTS for one in spoken), "more requests than attempts"
        )
    finally:
        faulty.model.control({"fault": "", "retry_after": {}})
    faulty.wait_until_over(spoken)
    verdict = faulty.verdict(spoken)
    assert verdict.is_clean, verdict
    assert verdict.answered == len(spoken)
    counted = faulty.sql(
        "SELECT DISTINCT error_count, crash_count FROM agents_turn WHERE id = ANY(%s::uuid[])",
        [one.turn_id for one in spoken],
    )
    assert counted == [(0, 0)]


def _state(fleet: Fleet, message: Spoken) -> str:
    state: str = fleet.sql("SELECT state FROM agents_turn WHERE id = %s::uuid", message.turn_id)[0][0]
    return state
