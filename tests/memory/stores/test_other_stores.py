"""The contract holds on SQLite, too, in a file and in RAM, a process each: a process has one database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

FOLDER = Path(__file__).parent
TESTS = [FOLDER / "contract", FOLDER / "on_sqlite"]
SECONDS = 900


@pytest.mark.skipif(connection.vendor != "postgresql", reason="this process is such a one itself")
@pytest.mark.parametrize("store", ["file", "ram"])
def test_the_contract_holds_on_sqlite(store: str, tmp_path: Path) -> None:
    url = "sqlite://:memory:" if store == "ram" else f"sqlite:///{tmp_path}/memories.sqlite3"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, TESTS)],
        env={**environment, "DATABASE_URL": url},
        cwd=FOLDER.parents[2],
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
