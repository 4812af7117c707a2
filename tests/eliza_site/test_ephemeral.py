"""What `talk --ephemeral` sets before the settings are read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from eliza_site import ephemeral


@pytest.mark.parametrize(
    ("arguments", "is_so"),
    [
        (["manage.py", "talk", "--ephemeral", "Eliza"], True),
        (["manage.py", "talk", "Eliza", "hello", "--ephemeral"], True),
        (["manage.py", "talk", "Eliza", "hello"], False),
        (["manage.py", "ingest", "--ephemeral"], False),
        (["manage.py"], False),
    ],
)
def test_only_that_command_is_ephemeral(arguments: list[str], is_so: bool) -> None:
    assert ephemeral.is_ephemeral(arguments) is is_so


def test_servers_are_forgotten_and_what_chooses_the_model_stays() -> None:
    environment = {
        "DATABASE_URL": "postgres://u:p@host/name",
        "REDIS_URL": "redis://host/0",
        "SECRET_KEY": "the site's own",
        "PROMETHEUS_MULTIPROC_DIR": "/somewhere",
        "OPENAI_BASE_URL": "http://models/v1",
    }
    ephemeral.prepare(environment)
    assert environment["DATABASE_URL"] == "sqlite://:memory:"
    assert environment["REDIS_URL"] == ""
    assert environment["CELERY_BROKER_URL"] == "memory://"
    assert environment["OPENAI_BASE_URL"] == "http://models/v1"
    assert environment["SECRET_KEY"] != "the site's own"
    assert "PROMETHEUS_MULTIPROC_DIR" not in environment
    assert environment["LOG_LEVEL"] == "error"
    assert 0 < int(environment["MODEL_PORT"]) < 65536


def test_a_fleet_is_never_ephemeral() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "EPHEMERAL": "true", "DATABASE_URL": "postgres://host/name"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "EPHEMERAL is what `talk --ephemeral` sets for itself: unset it.\n"
