"""Reads an id that a person gives, or its beginning, and says what to give where that is not one row's.

`memory.provenance` and `agents.reports.turns` find by it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from uuid import UUID

DIGITS, FEWEST_DIGITS = 32, 8
"""Ids begin with the time: the rows of a minute share the first 8 digits, those of a millisecond 12."""
MOST_LISTED = 5
SHOWN_CHARACTERS = 60


def id_range(name: str) -> tuple[UUID, UUID] | None:
    """Return the first and the last id that begins so, or None where no id does."""
    digits = name.replace("-", "").strip().lower()
    if not FEWEST_DIGITS <= len(digits) <= DIGITS or set(digits) - set("0123456789abcdef"):
        return None
    return UUID(digits.ljust(DIGITS, "0")), UUID(digits.ljust(DIGITS, "f"))


def say_no_id(name: str, what: str) -> str:
    """Say what is asked for instead of what is no id."""
    return (
        f"{name[:100]!r} is no id: give {what} id, or at least {FEWEST_DIGITS} digits of its beginning, more where"
        " others share them, as ids of the same minute do."
    )


def say_several(name: str, what: str, rows: Sequence[tuple[UUID, dt.datetime, str]]) -> str:
    """Say which rows have an id that begins so: a line each, with its time and the beginning of its text."""
    lines = [f"{id}  {at:%Y-%m-%d %H:%M:%S}  {_beginning(text)}" for id, at, text in rows[:MOST_LISTED]]
    more = ["…"] if len(rows) > MOST_LISTED else []
    return "\n".join(
        [f"More than one {what} has an id that begins with {name}: give more of it.", *lines, *more]
    )


def _beginning(text: str) -> str:
    line = " ".join(text[: 2 * SHOWN_CHARACTERS].split())
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 1] + "…"
