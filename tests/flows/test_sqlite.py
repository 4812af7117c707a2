"""The whole product on SQLite: web, one worker and commands in processes of their own, and no PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.doubles.fleets import ROOT, Fleet, make_fleet, running
from tests.doubles.openai_server import OpenAIServer
from tests.parallel import FLEETS_DATABASE, on_database

PAGES = (
    "test_every_form_for_a_new_row_opens",
    "test_lists_can_be_filtered_and_searched",
)
pytestmark = pytest.mark.fleet


@pytest.fixture
def small_fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Web and the one worker, with a database in a file."""
    servers = ("REDIS_URL", "CELERY_BROKER_URL")
    with OpenAIServer() as model:
        made = make_fleet(
            model,
            tmp_path,
            DATABASE_URL=f"sqlite:///{tmp_path}/eliza.sqlite3",
            **{name: on_database(os.environ.get(name, ""), FLEETS_DATABASE - 1) for name in servers},
            WORKER_THREADS="8",
        )
        with running(made, workers=1):
            yield made


@contextmanager
def supervised(fleet: Fleet) -> Iterator[None]:
    """Start the worker anew whenever it has died."""
    over = threading.Event()

    def supervise() -> None:
        while not over.wait(0.05):
            if not fleet.workers[-1].is_running():
                fleet.start_worker()

    thread = threading.Thread(target=supervise)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_everything_runs_without_postgresql(small_fleet: Fleet) -> None:
    said = small_fleet.manage("talk", "Eliza", "Hello there", "--person", "ann")
    assert (said.returncode, bool(said.stdout.strip())) == (0, True), said.stderr

    with urllib.request.urlopen(small_fleet.url) as page:
        assert "SQLite: for development, one worker process" in page.read().decode()

    # Twenty people at once, and the worker dies of SIGKILL in between.
    with supervised(small_fleet):
        done = small_fleet.manage(
            *("drill", "--messages", "200", "--people", "20", "--rate", "60", "--kill-workers", "1"),
            *("--seed", "3", "--yes", "--json"),
            timeout=240,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    verdict = report["verdict"]
    assert (verdict["said"], verdict["received"], verdict["answered"]) == (200, 200, 200)
    assert (verdict["lost"], verdict["doubled"], verdict["out_of_order"]) == ([], [], [])
    assert len(report["kills"]) == 1


def test_the_quick_part_of_the_suite_passes_on_sqlite(tmp_path: Path) -> None:
    chosen = (
        "tests/eliza_site/sqlite/test_on_sqlite.py",
        *(f"tests/agents/admin/test_pages.py::{name}" for name in PAGES),
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *chosen],
        cwd=ROOT,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
            "DATABASE_URL": f"sqlite:///{tmp_path}/eliza.sqlite3",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
