"""What the doctor finds: each look returns some of these."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How much a finding matters: as it should be, worth knowing, or to be cured."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was found, and its cure where it has one."""

    level: Level
    text: str
    cure: str = ""


def ok(text: str) -> Finding:
    """Make a finding that all is well."""
    return Finding(level=Level.OK, text=text)


def note(text: str, cure: str = "") -> Finding:
    """Make a finding that is worth knowing."""
    return Finding(level=Level.NOTE, text=text, cure=cure)


def wrong(text: str, cure: str) -> Finding:
    """Make a finding that has to be cured."""
    return Finding(level=Level.WRONG, text=text, cure=cure)
