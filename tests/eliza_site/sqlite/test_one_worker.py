"""One worker process on SQLite: the second is told of the first."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from eliza_site.sqlite import one_worker
from eliza_site.sqlite.one_worker import hold_for_worker
from tests.doubles.programs import run_python

SECOND = "from eliza_site.sqlite.one_worker import hold_for_worker; hold_for_worker({database!r})"


def test_a_second_process_is_refused_by_name_and_welcome_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = str(tmp_path / "eliza.sqlite3")
    held: list[IO[str]] = []
    monkeypatch.setattr(one_worker, "_held", held)
    hold_for_worker(database)
    refused = run_python("-c", SECOND.format(database=database))
    assert refused.returncode != 0
    assert (
        f"A worker (process {os.getpid()}) works on {database} already, and SQLite has one" in refused.stderr
    )
    assert run_python("-c", SECOND.format(database=f"{database}.other")).returncode == 0
    held.pop().close()
    assert run_python("-c", SECOND.format(database=database)).returncode == 0


def test_a_worker_of_celerys_ends_with_the_same_words(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eliza_site import celery

    def refuse(_database: str) -> None:
        raise ImproperlyConfigured("A worker works already.")

    settings.IS_SQLITE, settings.DATABASE = True, {"NAME": str(tmp_path / "x")}
    monkeypatch.setattr(one_worker, "hold_for_worker", refuse)
    with pytest.raises(SystemExit, match="A worker works already"):
        celery.be_the_only_worker()
