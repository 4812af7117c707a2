"""Networks that fail in every way: what becomes of a reply follows the table in `docs/reliability/chaos.md`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from agents.models import Agent
from tests.chaos.harness import KEYED, KEYLESS, LEASE_SECONDS, Fleet, Spoken
from transports.fake import ledger

pytestmark = pytest.mark.fleet

SOON: dict[str, Any] = {"retry_after_seconds": 0.3}
ONCE: dict[str, Any] = {"fail_attempts": 1}
TOO_SLOW: dict[str, Any] = {"slow_seconds": LEASE_SECONDS}
"""Longer than a transport may take: it was done, and its caller saw a timeout."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A network, what it does, and what becomes of the reply: its state, and how often it is shown."""

    network: str
    fails: str
    state: str
    shown: int
    attempts: int
    settings: dict[str, Any] = field(default_factory=dict)
    resends: bool = False

    @property
    def id(self) -> str:
        """The row's name, and its network's."""
        words = [self.network, "too_slow" if self.settings.items() >= TOO_SLOW.items() else self.fails]
        return "-".join(words + (["resent"] if self.resends else []))


ROWS = (
    Row(network=KEYED, fails="slow", settings={"slow_seconds": 0.3}, state="sent", shown=1, attempts=1),
    Row(network=KEYED, fails="temporary", settings=SOON | ONCE, state="sent", shown=1, attempts=2),
    Row(network=KEYED, fails="permanent", state="failed", shown=0, attempts=1),
    Row(network=KEYED, fails="lost_acknowledgement", settings=ONCE, state="sent", shown=1, attempts=2),
    Row(network=KEYED, fails="timeout", settings=ONCE, state="sent", shown=1, attempts=2),
    Row(network=KEYED, fails="slow", settings=TOO_SLOW | ONCE, state="sent", shown=1, attempts=2),
    Row(network=KEYLESS, fails="temporary", settings=SOON | ONCE, state="sent", shown=1, attempts=2),
    Row(network=KEYLESS, fails="permanent", state="failed", shown=0, attempts=1),
    Row(network=KEYLESS, fails="lost_acknowledgement", state="uncertain", shown=1, attempts=1),
    Row(network=KEYLESS, fails="timeout", state="uncertain", shown=0, attempts=1),
    Row(network=KEYLESS, fails="slow", settings=TOO_SLOW, state="uncertain", shown=1, attempts=1),
    Row(
        network=KEYLESS,
        fails="lost_acknowledgement",
        settings=ONCE,
        state="sent",
        shown=2,
        attempts=2,
        resends=True,
    ),
    Row(network=KEYLESS, fails="timeout", settings=ONCE, state="sent", shown=1, attempts=2, resends=True),
)


@pytest.fixture(scope="module")
def answered(session_fleet: Fleet) -> dict[str, list[Spoken]]:
    """Two messages of one person over each network, all at once."""
    fleet = session_fleet
    fleet.plan()
    fleet.await_workers()
    resends = fleet.crew.prepare("make_agent", name="Resends", on_uncertain=Agent.OnUncertain.RESEND.value)
    spoken: dict[str, list[Spoken]] = {}
    for number, row in enumerate(ROWS):
        agent = resends["agent"] if row.resends else fleet.agent
        name = f"net-{number}"
        fleet.add_network(name, row.network, agent=agent, fail=row.fails, **row.settings)
        person = fleet.new_person()
        spoken[row.id] = [fleet.say("", person, network=name) for _message in range(2)]
    fleet.wait_until_over([message for both in spoken.values() for message in both])
    return spoken


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_reply_over_a_network_that_fails(
    session_fleet: Fleet, answered: dict[str, list[Spoken]], row: Row
) -> None:
    fleet, spoken = session_fleet, answered[row.id]
    fates = fleet.fates(spoken)
    assert [fate.delivery_state for fate in fates] == [row.state] * 2
    arrivals = ledger.read(fleet.ledger_path)
    for fate in fates:
        tries = [arrival for arrival in arrivals if arrival.message == fate.reply_id]
        assert len(tries) == row.attempts
        assert sum(arrival.is_shown for arrival in tries) == row.shown
        assert len({arrival.nonce for arrival in tries}) == 1
    verdict = fleet.verdict(spoken)
    assert not verdict.lost, verdict
    assert not verdict.out_of_order, verdict
    assert len(verdict.doubled) == (2 if row.shown > 1 else 0), verdict
    assert len(verdict.uncertain) == (2 if row.state == "uncertain" else 0), verdict
    assert len(verdict.undelivered) == (2 if row.state == "failed" else 0), verdict


def test_nothing_is_doubled_unless_the_agent_wants_it(
    session_fleet: Fleet, answered: dict[str, list[Spoken]]
) -> None:
    kept = [message for row in ROWS if not row.resends for message in answered[row.id]]
    assert not session_fleet.verdict(kept).doubled
