"""Lets the suite run in several processes: each has its own database of Valkey, as pytest-django gives each its own
of PostgreSQL.

`pyproject.toml` loads it before the settings are read. Tests that share a fleet of real processes stay together, and
so do the tests of one file; those that take longest begin first.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

TESTS = Path(__file__).resolve().parent
SHARED = ("chaos", "flows")

FLEETS_DATABASE = 15
"""Which of Valkey's 16 databases the journeys' fleet has; the suite's processes have one each from 1 on."""
MOST_PROCESSES = FLEETS_DATABASE - 1


def on_database(url: str, number: int) -> str:
    """Return the address of another of the server's databases, where it is Valkey's or Redis'."""
    parts = urlsplit(url)
    if parts.scheme not in {"unix", "redis", "rediss"}:
        return url
    query = [(name, value) for name, value in parse_qsl(parts.query) if name != "db"]
    if parts.scheme == "unix":  # whose path is the socket's
        return f"{url.partition('?')[0]}?{urlencode([*query, ('db', number)], safe='/')}"
    return urlunsplit(parts._replace(path=f"/{number}", query=urlencode(query, safe="/")))


_number = re.fullmatch(r"gw(\d+)", os.environ.get("PYTEST_XDIST_WORKER", ""))
if _number:
    if int(os.environ["PYTEST_XDIST_WORKER_COUNT"]) > MOST_PROCESSES:
        raise pytest.UsageError(f"The suite runs in at most {MOST_PROCESSES} processes: lower TEST_PROCESSES")
    for _name in ("REDIS_URL", "CELERY_BROKER_URL"):
        os.environ[_name] = on_database(os.environ.get(_name, ""), int(_number[1]) + 1)


class Scheduling(LoadScopeScheduling):
    """Hands out a shared fleet's tests together, and any other file's.

    xdist's own groups (`--dist loadgroup`) are of no effect with pytest 9.2, whose items keep their name.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.split("::", 1)[0]
        return next((folder for folder in SHARED if path.startswith(f"tests/{folder}/")), path)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Choose the scheduling."""
    config.option.loadscopereorder = False  # by the number of tests, which says little of their time
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of shared fleets first."""
    items.sort(key=lambda item: item.path.relative_to(TESTS).parts[0] not in SHARED)
