"""Real workers that are told to end, or that a message kills: nothing is lost, counted or said twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.fleet

SUPERVISORS_LIMIT_SECONDS = 25


def lines(prefix: str, texts: list[tuple[str, str]]) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{prefix}-{number}",
            "platform": "telegram",
            "room": f"{prefix}-{person}",
            "person": f"{prefix}-{person}",
            "text": text,
            "at": f"2026-05-01T12:00:{number:02d}+00:00",
        }
        for number, (person, text) in enumerate(texts)
    ]


TURNS = (
    "SELECT m.external_id, t.state, t.error_count, t.crash_count, count(r.id)::int"
    " FROM agents_turn t JOIN agents_message m ON m.id = t.message_id"
    " LEFT JOIN agents_message r ON r.turn_id = t.id WHERE m.external_id LIKE %s"
    " GROUP BY 1, 2, 3, 4 ORDER BY 1"
)


def test_sigterm_to_all_workers_in_mid_turn_loses_and_counts_nothing(
    fleet: Any, message_file: Callable[..., Path]
) -> None:
    fleet.model.control({"latency_ms": 60_000.0})
    messages = lines("sigterm", [("a", "hello"), ("b", "hello"), ("a", "and then?")])
    assert fleet.manage("ingest", str(message_file(messages))).returncode == 0
    fleet.wait_for(
        "SELECT 1 WHERE (SELECT count(*) FROM agents_turn t JOIN agents_message m ON m.id = t.message_id"
        " WHERE t.state = 'running' AND m.external_id LIKE 'sigterm-%%') = 2"
    )
    time.sleep(1)  # so that both wait for their model
    workers = list(fleet.workers)
    told_at = time.monotonic()
    for worker in workers:
        if worker.is_running():
            os.kill(worker.pid, signal.SIGTERM)
    for worker in workers:
        assert worker.wait(SUPERVISORS_LIMIT_SECONDS - (time.monotonic() - told_at))
    assert {worker.exit_code for worker in workers[-2:]} == {0}
    assert [row[1:] for row in fleet.sql(TURNS, "sigterm-%")] == [("waiting", 0, 0, 0)] * 3
    assert fleet.sql("SELECT count(*) FROM agents_lane WHERE lease_until > clock_timestamp()") == [(0,)]

    fleet.model.control({"latency_ms": 0.0})
    for _number in range(2):
        fleet.start_worker()
    fleet.wait_for(
        "SELECT 1 WHERE (SELECT count(*) FROM agents_delivery d JOIN agents_message m ON m.id = d.message_id"
        " WHERE d.state = 'sent' AND m.reply_to_external_id LIKE 'sigterm-%%') = 3",
        seconds=60,
    )
    assert [row[1:] for row in fleet.sql(TURNS, "sigterm-%")] == [("done", 0, 0, 1)] * 3


def test_a_message_that_kills_its_workers_becomes_a_dead_letter_and_costs_no_other(
    fleet: Any, message_file: Callable[..., Path]
) -> None:
    innocent = [(f"innocent-{number}", "slow 2") for number in range(8)]
    messages = lines("poison", [*innocent, ("guilty", "poison exit 3"), ("guilty", "hello after all")])
    assert fleet.manage("ingest", str(message_file(messages))).returncode == 0

    deaths = 0
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline:
        over = fleet.sql(
            "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM agents_turn t JOIN agents_message m ON m.id = t.message_id"
            " WHERE t.state IN ('waiting', 'running') AND m.external_id LIKE 'poison-%%')"
        )
        if over:
            break
        for worker in [worker for worker in fleet.workers if not worker.is_running()]:
            fleet.workers.remove(worker)
            deaths += worker.exit_code == 3
            if sum(worker.is_running() for worker in fleet.workers) < 2:
                fleet.start_worker()
        time.sleep(0.1)
    rows = fleet.sql(TURNS, "poison-%")
    assert [row[1:] for row in rows[:8]] == [("done", 0, 0, 1)] * 8
    assert rows[8][1:] == ("dead", 0, 3, 1), "three deaths alone, and one apology"
    assert rows[9][1:] == ("done", 0, 0, 1), "its lane goes on"
    assert deaths == 2, "the third is no worker's any more"
