"""System checks of memory; `manage.py check --database default` and `migrate` run them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection

from memory.stores import row_security
from memory.stores.sqlite_schema import MissingFullText, check_full_text
from memory.vector_spaces.dimensions import check_dimensions

CHUNK_TOKENS = (50, 4000)


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


@register(Tags.database)
def check_wall(*, databases: Sequence[str] | None = None, **_rest: Any) -> list[CheckMessage]:
    """Report a second wall that is wanted and does not stand, with the cure."""
    if DEFAULT_DB_ALIAS not in (databases or ()) or not settings.ROW_LEVEL_SECURITY:
        return []
    try:
        is_missing = not row_security.is_built() and row_security.can_stand()
    except DatabaseError:
        return []
    if not is_missing:
        return []
    return [Warning(row_security.MISSING, hint=row_security.CURE, id="memory.W003")]


@register()
def check_search(**_rest: Any) -> list[CheckMessage]:
    """Report a SQLite that can't search texts."""
    if connection.vendor != "sqlite":
        return []
    try:
        check_full_text()
    except MissingFullText as error:
        problem, _, cure = str(error).partition(": ")
        return [Error(f"{problem}.", hint=f"{cure[:1].upper()}{cure[1:]}", id="memory.E004")]
    return []


@register()
def check_documents(**_rest: Any) -> list[CheckMessage]:
    """Report limits that would let no document through, and chunks that can't be."""
    problems = [
        (name, "it lets no document through", "1 or more")
        for name in ("DOCUMENT_MAX_MEGABYTES", "DOCUMENT_MAX_PAGES", "DOCUMENT_READ_SECONDS")
        if getattr(settings, name) < 1
    ]
    shortest, longest = CHUNK_TOKENS
    size = settings.DOCUMENT_CHUNK_TOKENS
    if not shortest <= size <= longest:
        problems.append(("DOCUMENT_CHUNK_TOKENS", "no chunk is that long", f"{shortest} to {longest}"))
    elif size // 2 < settings.DOCUMENT_OVERLAP_TOKENS:
        problems.append(("DOCUMENT_OVERLAP_TOKENS", "chunks would hardly go on", f"{size // 2} or less"))
    return [
        Error(
            f"{name} is {getattr(settings, name)}: {why}.",
            hint=f"Set it to {cure}, or leave it unset.",
            id="memory.E003",
        )
        for name, why, cure in problems
    ]
