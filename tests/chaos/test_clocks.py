"""Workers whose clocks are an hour fast and an hour slow do what workers with one clock do."""

from __future__ import annotations

import datetime as dt
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.crew import Process
from tests.chaos.errands import NOTE
from tests.chaos.harness import KEYED, KEYLESS, LEASE_SECONDS, Fleet, fleet_running

pytestmark = [pytest.mark.fleet, pytest.mark.long]

HOUR = 3600
HELD_BY = """
SELECT lane.lease_owner FROM agents_lane AS lane JOIN agents_turn AS turn ON turn.lane_id = lane.id
WHERE turn.id = %s::uuid AND turn.state = 'running' AND lane.lease_until > clock_timestamp()
"""
TOKENS = """
SELECT lane.lease_token FROM agents_lane AS lane JOIN agents_turn AS turn ON turn.lane_id = lane.id
WHERE turn.id = ANY(%s::uuid[])
"""


@dataclass(frozen=True, kw_only=True)
class Skewed:
    """A fleet with one true clock, and the workers with the others."""

    fleet: Fleet
    fast: Process
    slow: Process


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What sets a process' clock, compiled."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("Setting a process' clock takes Linux and a C compiler (cc).")
    built = tmp_path_factory.mktemp("clock") / "clock_skew.so"
    source = Path(__file__).with_name("clock_skew.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(built), str(source)], check=True)
    return built


@pytest.fixture(scope="module")
def skewed(tmp_path_factory: pytest.TempPathFactory, library: Path) -> Iterator[Skewed]:
    """One worker with the true time, one an hour before it, one an hour behind."""
    with fleet_running(tmp_path_factory.mktemp("clocks"), workers=1) as fleet:
        fast, slow = (
            fleet.crew.spawn_worker(LD_PRELOAD=str(library), CLOCK_SKEW_SECONDS=str(seconds))
            for seconds in (HOUR, -HOUR)
        )
        fleet.wait(lambda: fast.is_ready() and slow.is_ready(), "workers with other clocks")
        yield Skewed(fleet=fleet, fast=fast, slow=slow)


def turns_done(worker: Process) -> int:
    return worker.log.read_text(errors="replace").count("turn_done")


def first_hour(worker: Process) -> dt.datetime:
    """Return the time that a worker's first line has."""
    found = re.search(r"20\d\d-\d\d-\d\dT\d\d:\d\d", worker.log.read_text())
    assert found is not None, worker.log
    return dt.datetime.fromisoformat(found[0])


def test_the_clocks_are_an_hour_apart(skewed: Skewed) -> None:
    fast, slow = (first_hour(worker) for worker in (skewed.fast, skewed.slow))
    assert round((fast - slow).total_seconds() / HOUR) == 2


def test_nothing_is_lost_doubled_or_out_of_order(skewed: Skewed) -> None:
    fleet = skewed.fleet
    people = [(fleet.new_person(), (KEYED, KEYLESS)[number % 2]) for number in range(8)]
    spoken = [fleet.say(NOTE, person, network=network) for _round in range(8) for person, network in people]
    fleet.wait_until_over(spoken)
    verdict = fleet.verdict(spoken)
    assert verdict.is_clean, verdict
    assert not verdict.uncertain, verdict
    assert verdict.answered == len(spoken)
    assert fleet.asked(spoken) == [1] * len(spoken)
    assert fleet.noted(spoken) == [1] * len(spoken)
    assert turns_done(skewed.fast), "the fast one did nothing"
    assert turns_done(skewed.slow), "the slow one did nothing"


def test_a_long_answer_is_left_to_its_holder_whoever_that_is(skewed: Skewed) -> None:
    """A fast clock must not take a lease for over, nor a slow one hand the task out again."""
    fleet = skewed.fleet
    fleet.model.control({"latency_ms": 1000 * (2 * LEASE_SECONDS + 1)})
    try:
        spoken = [fleet.say("", fleet.new_person()) for _person in range(12)]
        fleet.wait_until_over(spoken)
    finally:
        fleet.model.control({"latency_ms": 0.0})
    assert fleet.asked(spoken) == [1] * len(spoken)
    assert fleet.verdict(spoken).is_clean
    assert fleet.sql(TOKENS, [one.turn_id for one in spoken]) == [(1,)] * len(spoken)


def test_the_lanes_of_a_killed_worker_with_a_fast_clock_are_free_when_their_lease_ends(
    skewed: Skewed,
) -> None:
    fleet = skewed.fleet
    fleet.model.control({"latency_ms": 1000 * LEASE_SECONDS})
    spoken = [fleet.say("", fleet.new_person()) for _person in range(12)]

    def held_by_fast() -> bool:
        owners = [row[0] for one in spoken for row in fleet.sql(HELD_BY, one.turn_id)]
        return any(owner.endswith(f":{skewed.fast.pid}") for owner in owners)

    try:
        fleet.wait(held_by_fast, "an answer by the worker with the fast clock")
        skewed.fast.signal(signal.SIGKILL)
    finally:
        fleet.model.control({"latency_ms": 0.0})
    fleet.wait_until_over(spoken)
    verdict = fleet.verdict(spoken)
    assert verdict.is_clean, verdict
    assert verdict.answered == len(spoken)
