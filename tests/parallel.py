"""Lets the suite run in several processes: each has its own database of Valkey, as pytest-django gives each its own
of PostgreSQL.

`pyproject.toml` loads it before the settings are read. Tests that share a fleet of real processes stay together, and
so do the tests of one file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
SHARED = ("chaos", "flows")

_number = re.fullmatch(r"gw(\d+)", os.environ.get("PYTEST_XDIST_WORKER", ""))
if _number:
    for _name in ("REDIS_URL", "CELERY_BROKER_URL"):
        if os.environ.get(_name, "").startswith(("unix:", "redis")):
            _url = re.sub(r"[?&]db=\d+", "", os.environ[_name])
            _url += f"{'&' if '?' in _url else '?'}db={int(_number[1]) + 1}"
            os.environ[_name] = _url


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name the process-mates of each test."""
    for item in items:
        below = item.path.relative_to(TESTS)
        group = below.parts[0] if below.parts[0] in SHARED else str(below)
        item.add_marker(pytest.mark.xdist_group(group))
