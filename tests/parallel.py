"""Lets the suite run in several processes: each has its own database of Valkey, as pytest-django gives each its own
of PostgreSQL.

`pyproject.toml` loads it before the settings are read. Tests that share a fleet of real processes stay together, and
so do the tests of one file; those that take longest begin first. A shared fleet ends with the last test that shares it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

FLEETS = {"tests/chaos/": "session_fleet", "tests/flows/": "fleet"}
"""The folders whose tests share a fleet, and the fixture that is it."""

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


def folder_of_fleet(nodeid: str) -> str:
    """Return the folder whose tests share a fleet with this one; nothing where it shares none."""
    return next((folder for folder in FLEETS if nodeid.startswith(folder)), "")


class Scheduling(LoadScopeScheduling):
    """Hands out a shared fleet's tests together, and any other file's.

    xdist's own groups (`--dist loadgroup`) are of no effect with pytest 9.2, whose items keep their name.
    """

    def _split_scope(self, nodeid: str) -> str:
        return folder_of_fleet(nodeid) or nodeid.split("::", 1)[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Choose the scheduling."""
    config.option.loadscopereorder = False  # by the number of tests, which says little of their time
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of shared fleets first."""
    items.sort(key=lambda item: not folder_of_fleet(item.nodeid))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """End a fleet after the last test that shares it: until the session's end its processes would go on asking."""
    yield
    folder = folder_of_fleet(item.nodeid)
    if folder and nextitem is not None and folder_of_fleet(nextitem.nodeid) != folder:
        manager = item.session._fixturemanager
        for fleet in manager.getfixturedefs(FLEETS[folder], item) or ():
            fleet.finish(item._request)  # type: ignore[attr-defined]
