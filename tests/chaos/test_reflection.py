"""A fleet that looks at conversations: whoever dies while it does, what was said is learnt from once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agents.crashpoints import Fault
from tests.chaos.harness import Fleet, fleet_running

pytestmark = pytest.mark.fleet

LOOKS = (
    "reflection.claimed",
    "evaluator.answered",
    "evaluator.recorded",
    "reflection.before_commit",
    "reflection.after_commit",
)
ASKED = """
SELECT count(*) FROM agents_modelcall AS call JOIN agents_turn AS turn ON turn.id = call.turn_id
JOIN agents_message AS message ON message.id = turn.message_id
WHERE call.purpose = 'errands' AND call.error = '' AND message.external_id = ANY(%s)
"""
OPEN = "SELECT 1 FROM memory_conversation WHERE cardinality(unseen) > 0 OR lease_until IS NOT NULL"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two workers that look at a conversation after every two messages."""
    folder = tmp_path_factory.mktemp("reflecting")
    with fleet_running(folder, workers=2, REFLECT_AFTER_MESSAGES="2") as running:
        yield running


@pytest.mark.parametrize("point", LOOKS)
def test_killed_at(fleet: Fleet, point: str) -> None:
    fleet.plan(Fault(point=point))
    fleet.await_workers()
    person = fleet.new_person()
    spoken = [fleet.say("", person) for _message in range(4)]
    fleet.wait(lambda: fleet.happened() == 1, f"a kill at {point}")
    fleet.wait_until_over(spoken)
    fleet.wait(lambda: not fleet.sql(OPEN), "looks that have ended")
    assert fleet.verdict(spoken).is_clean
    assert fleet.reflected(spoken) == [1, 1, 1, 1]
    keys = [one.said.external_id for one in spoken]
    assert fleet.sql(ASKED, keys) == [(2,)], "one recorded answer a look"
