"""The connection to SQLite: whoever opens it needs no models."""

from __future__ import annotations

from pathlib import Path

from tests.doubles.programs import run_python

PROBE = """
from django.apps import apps
from eliza_site.refusals import find_database_fault
print(find_database_fault(cure="start it") or "It answers.", apps.ready)
"""


def test_the_fleet_asks_sqlite_whether_it_answers_before_there_are_models(tmp_path: Path) -> None:
    found = run_python(
        "-c",
        PROBE,
        DATABASE_URL=f"sqlite:///{tmp_path}/site.sqlite3",
        DJANGO_SETTINGS_MODULE="eliza_site.settings",
    )
    assert (found.stdout, found.stderr) == ("It answers. False\n", "")


def test_a_file_that_is_no_database_is_told_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "site.sqlite3"
    file.write_text("This is a letter, and a long one: it fills what a database begins with. " * 20)
    found = run_python(
        "-c", PROBE, DATABASE_URL=f"sqlite:///{file}", DJANGO_SETTINGS_MODULE="eliza_site.settings"
    )
    said = f"SQLite can't open {file}: file is not a database. Correct DATABASE_URL. False\n"
    assert (found.stdout, found.stderr) == (said, "")
