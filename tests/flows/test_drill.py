"""The drill against real workers: one is killed while people speak, and everything is answered once."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest

pytestmark = pytest.mark.fleet


def test_a_drilled_fleet_keeps_its_promises_and_no_trace_is_left(fleet: Any) -> None:
    before = fleet.sql("SELECT count(*) FROM agents_message")
    over = threading.Event()

    count = sum(worker.is_running() for worker in fleet.workers)

    def supervise() -> None:
        # The dead stay in the list, so that each new worker gets a number of its own.
        while not over.is_set():
            if sum(worker.is_running() for worker in fleet.workers) < count:
                fleet.start_worker()
            time.sleep(0.05)

    supervisor = threading.Thread(target=supervise)
    supervisor.start()
    try:
        done = fleet.manage(
            *(
                "drill",
                "--messages",
                "12",
                "--rate",
                "20",
                "--people",
                "4",
                "--keyless",
                "--kill-workers",
                "1",
            ),
            *("--flush-broker", "--kill-backends", "--seed", "5", "--yes", "--json"),
            timeout=120,
        )
    finally:
        over.set()
        supervisor.join()

    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    verdict = report["verdict"]
    assert (verdict["said"], verdict["received"]) == (12, 12)
    assert verdict["answered"] + len(verdict["uncertain"]) >= 12
    assert (len(report["kills"]), report["flushes"], report["missing_workers"]) == (1, 1, 0)
    assert report["cut_sessions"] >= 1
    assert report["is_removed"] is True
    assert fleet.sql("SELECT count(*) FROM agents_message") == before
    assert fleet.sql("SELECT count(*) FROM agents_agent WHERE settings ? 'is_stand_in'") == [(0,)]
