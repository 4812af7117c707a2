"""A whole fleet for the journeys: web and two worker processes, a database of its own, a loopback model."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.fleets import Fleet, make_fleet, own_database, running
from tests.doubles.openai_server import OpenAIServer
from tests.parallel import FLEETS_DATABASE, on_database


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Web and two workers that run for the whole session of tests."""
    servers = ("REDIS_URL", "CELERY_BROKER_URL")
    with own_database() as database_url, OpenAIServer() as model:
        made = make_fleet(
            model,
            tmp_path_factory.mktemp("fleet"),
            DATABASE_URL=database_url,
            **{name: on_database(os.environ.get(name, ""), FLEETS_DATABASE) for name in servers},
            WORKER_THREADS="32",
            ELIZA_PLUGINS="tests.doubles.poison",
        )
        with running(made, workers=2):
            yield made


@pytest.fixture(autouse=True)
def _usual_model(request: pytest.FixtureRequest) -> Iterator[None]:
    """Put the model's controls back after a test that turned them."""
    yield
    if "fleet" in request.fixturenames:
        used: Fleet = request.getfixturevalue("fleet")
        used.model.control({"latency_ms": 0.0, "gap_ms": 0.0, "fault": ""})


@pytest.fixture
def message_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a file of messages, a line each."""

    def write(lines: list[dict[str, Any]], name: str = "messages.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    return write
