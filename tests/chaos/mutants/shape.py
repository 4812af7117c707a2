"""What a mutation is: a small fault that is put into the code, and the tests that must notice it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One fault: `old` stands exactly once in `file`, and becomes `new`. `breaks` is the promise that is gone."""

    name: str
    breaks: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
