"""Lets the suite run in several processes: each has its own database of Valkey, as pytest-django gives each its own
of PostgreSQL.

`pyproject.toml` loads it before the settings are read. Tests that share a fleet of real processes stay together, and
so do the tests of one file; those that take longest begin first.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

TESTS = Path(__file__).resolve().parent
SHARED = ("chaos", "flows")

FLEETS_DATABASE = 8
"""Which of Valkey's databases the journeys' fleet has, besides which the suite's processes have one each."""


def on_database(url: str, number: int) -> str:
    """Return the address of another of the server's databases, where it is Valkey's or Redis'."""
    if not url.startswith(("unix:", "redis")):
        return url
    url = re.sub(r"[?&]db=\d+", "", url)
    return f"{url}{'&' if '?' in url else '?'}db={number}"


_number = re.fullmatch(r"gw(\d+)", os.environ.get("PYTEST_XDIST_WORKER", ""))
if _number:
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
