"""Workers and senders are killed at random under load, and whenever the kills end, everything is answered once."""

from __future__ import annotations

import pytest

from agents.models import Agent
from tests.chaos.harness import KEYLESS, Fleet
from tests.chaos.load import Load, run

pytestmark = pytest.mark.fleet


def test_a_load_survives_random_kills(fleet: Fleet) -> None:
    outcome = run(fleet, Load(seed=1, messages=60, kills=8, people=10))
    assert not outcome.breaches, outcome.breaches
    assert outcome.kills >= 8


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 7))
def test_a_longer_load_survives_more_kills(fleet: Fleet, seed: int) -> None:
    outcome = run(fleet, Load(seed=seed, messages=200, kills=30))
    assert not outcome.breaches, outcome.breaches


@pytest.mark.long
def test_where_the_agent_resends_nothing_is_uncertain_and_all_is_shown(fleet: Fleet) -> None:
    """At least once, as it was chosen: what is shown twice is shown by a network that knows no key."""
    fleet.crew.ask("set_on_uncertain", agent=fleet.agent, choice=Agent.OnUncertain.RESEND.value)
    try:
        outcome = run(fleet, Load(seed=7, messages=150, kills=25, networks=(KEYLESS,)))
    finally:
        fleet.crew.ask("set_on_uncertain", agent=fleet.agent, choice=Agent.OnUncertain.DROP.value)
    assert not outcome.verdict.lost, outcome.verdict
    assert not outcome.verdict.out_of_order, outcome.verdict
    assert not outcome.verdict.uncertain, outcome.verdict
    assert outcome.verdict.answered == outcome.load.messages
