"""Crash points: what is planned happens on exactly the hits that were planned, over all processes."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks

from agents import crashpoints
from agents.crashpoints import POINTS, CrashPointReached, Fault, Kind, reach, read_hits, write_plan

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("agents", "transports", "plugins", "memory", "eliza_site")


@pytest.fixture
def plan(tmp_path: Path) -> Iterator[Path]:
    """Where this process looks for a plan."""
    path = tmp_path / "plan.json"
    crashpoints.arm(str(path))
    yield path
    crashpoints.arm("")


def test_each_point_stands_at_one_place_in_the_code() -> None:
    placed = Counter(
        name
        for folder in SOURCES
        for path in (ROOT / folder).rglob("*.py")
        for name in re.findall(r"\breach\(\"([^\"]+)\"\)", path.read_text(encoding="utf-8"))
    )
    assert placed == Counter(POINTS.keys())


def test_without_a_plan_nothing_happens(plan: Path) -> None:
    reach("lane.claimed")
    assert read_hits(plan) == []


def test_a_fault_happens_on_its_hits_alone(plan: Path) -> None:
    write_plan(plan, [Fault(point="lane.claimed", kind=Kind.RAISE, hits=(2,))])
    reach("lane.claimed")
    reach("model.answered")
    with pytest.raises(CrashPointReached):
        reach("lane.claimed")
    reach("lane.claimed")
    assert [(hit.number, hit.kind) for hit in read_hits(plan)] == [(1, None), (2, Kind.RAISE), (3, None)]


def test_a_new_plan_counts_anew(plan: Path) -> None:
    for _plan in range(2):
        write_plan(plan, [Fault(point="delivery.sent", kind=Kind.TIMEOUT)])
        with pytest.raises(TimeoutError):
            reach("delivery.sent")


def test_a_point_that_is_not_there_can_not_be_planned(plan: Path) -> None:
    with pytest.raises(ValueError, match="lane\\.claimed"):
        write_plan(plan, [Fault(point="lane.clamed")])


def test_the_first_hit_is_one_of_many_processes_alone(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_plan(path, [Fault(point="lane.claimed", hits=(1, 3))])
    program = f"from agents import crashpoints as c; c.arm({str(path)!r}); c.reach('lane.claimed')"

    def run(_number: int) -> int:
        return subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode

    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(run, range(4)))
    assert sorted(codes) == [-signal.SIGKILL, -signal.SIGKILL, 0, 0]
    assert [hit.kind for hit in read_hits(path)] == [Kind.KILL, None, Kind.KILL, None]


def test_a_plan_is_refused_in_production(settings: Any) -> None:
    def ids() -> set[str | None]:
        return {check.id for check in run_checks(include_deployment_checks=True)}

    settings.CRASHPOINTS = ""
    assert "agents.E010" not in ids()
    settings.CRASHPOINTS = "plan.json"
    assert "agents.E010" in ids()
