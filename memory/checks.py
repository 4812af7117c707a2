"""System checks of memory; `manage.py check --database default` and `migrate` run them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DEFAULT_DB_ALIAS, DatabaseError

from memory.dimensions import check_dimensions


@register(Tags.database)
def check_vectors(*, databases: Sequence[str] | None = None, **_rest: Any) -> list[CheckMessage]:
    """Report vectors in the store that are not the settings' own, with the cure."""
    if DEFAULT_DB_ALIAS not in (databases or ()):
        return []
    try:
        problems = check_dimensions()
    except DatabaseError:
        # A database that does not answer is told by whoever needed it, in its own words.
        return []
    return [
        (Error if problem.is_fatal else Warning)(problem.message, hint=problem.cure, id=problem.id)
        for problem in problems
    ]
