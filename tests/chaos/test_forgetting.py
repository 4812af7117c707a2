"""A person is forgotten while the fleet works, and whoever forgets dies on the way: others lose nothing."""

from __future__ import annotations

import signal

import pytest

from agents.crashpoints import Fault
from tests.chaos.harness import KEYED, Fleet
from tests.doubles.programs import run_python

pytestmark = pytest.mark.fleet

LET_LEASE_END = """
UPDATE agents_forgetting SET lease_until = NULL, began_at = '2020-01-01' RETURNING id
"""


def rows_with(fleet: Fleet, words: str) -> list[tuple[str, str]]:
    """Find the words in any value of any table."""
    found = []
    for (table,) in fleet.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        rows = fleet.sql(
            f'SELECT cell.key FROM "{table}" AS line, jsonb_each_text(to_jsonb(line)) AS cell'
            " WHERE cell.value LIKE %s",
            f"%{words}%",
        )
        found += [(table, row[0]) for row in rows]
    return found


def test_who_forgets_is_killed_twice_while_others_speak(fleet: Fleet) -> None:
    ann, bob = fleet.new_person(), fleet.new_person()
    before = [fleet.say("", ann) for _message in range(3)]
    fleet.wait_until_over(before)
    fleet.plan(Fault(point="forgetting.batch_done", hits=(3, 12)))
    fleet.model.control({"latency_ms": 700.0})
    running = fleet.say("", ann)
    others = [fleet.say("", bob) for _message in range(3)]
    fleet.wait(lambda: fleet.asked([running]) == [1], "an answer that is being made")
    killed = run_python(
        "manage.py", "forget_person", f"{KEYED}:{ann}", "--yes", "--why", "Asked.", **fleet.crew.environment
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    later = fleet.say("", ann)
    # A worker takes it up, and dies of it; then another does.
    assert fleet.sql(LET_LEASE_END)
    fleet.wait(lambda: fleet.happened() == 2, "a worker that died of it")
    assert fleet.sql(LET_LEASE_END)
    fleet.wait(lambda: not fleet.sql("SELECT 1 FROM agents_forgetting"), "the end of it")
    fleet.model.control({"latency_ms": 0.0})
    fleet.wait_until_over([*others, later])
    verdict = fleet.verdict([*others, later])
    assert verdict.is_clean, verdict
    for one in (*before, running):
        assert rows_with(fleet, one.text) == []
    assert rows_with(fleet, later.text), "who spoke meanwhile is somebody new, and was answered"
    entries = fleet.sql("SELECT actor, reason FROM agents_auditentry WHERE verb = 'forget'")
    assert entries == [("command", "Asked.")]
