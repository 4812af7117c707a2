"""The tests that need PostgreSQL itself, each with its reason: on SQLite they are left out.

`tests/conftest.py` gives them the marker `postgresql`. A name stands for a file or for one test in it.
"""

from __future__ import annotations

TWO_WRITERS = "a second transaction writes while the first is open; SQLite has one writer at a time"
"""Such a test would wait for itself there: nothing can come in between."""
ITS_OWN = "it looks at PostgreSQL's own locks, sessions, plans, errors or indexes"

NEED_POSTGRESQL: dict[str, str] = {}
"""What stands before `::` is a path under `tests`, without `.py`."""


def reason_of(node_id: str) -> str:
    """Return why the test can't run on SQLite; empty where it can."""
    path, _mark, test = node_id.removeprefix("tests/").partition("::")
    path = path.removesuffix(".py")
    named = (path, f"{path}::{test.partition('[')[0]}")
    return next((NEED_POSTGRESQL[name] for name in named if name in NEED_POSTGRESQL), "")
