"""The second wall: PostgreSQL itself hands out no memory or goal that may not surface, whatever a statement asks for.

The words of both are read by functions alone, as the role READER, which owns nothing else, can read nothing but what
the functions need, and sees a row only if a policy lets it (`memory.stores.wall`). Django calls `ensure_wall` after a
migration; recall and `memory.goals` ask `stands`.
"""

from __future__ import annotations

import time
from typing import Any

import structlog
from django.conf import settings
from django.db import (
    DEFAULT_DB_ALIAS,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    connection,
    transaction,
)
from psycopg.errors import DuplicateObject, UniqueViolation

from memory.stores.wall import READER, STANDS, TABLES, wall

log = structlog.get_logger(__name__)

LOOKED_FOR_AGAIN_AFTER_SECONDS = 60.0
MISSING = (
    "Memories and goals are read without the second wall: row level security was not built in this database."
)
CURE = (
    f"Run: python manage.py migrate. Where that may not create the role {READER}, run first as a superuser: "
    f"CREATE ROLE {READER} NOLOGIN; GRANT {READER} TO the product's role. Or set ROW_LEVEL_SECURITY=false."
)
BUILDING_ATTEMPTS = 3
"""Its tables are locked meanwhile, which who reads them for long may keep from being done in time."""


class _Known:
    """What this process knows of the wall, and until when it does not look again."""

    stands = False
    until = 0.0


def stands() -> bool:
    """Tell whether recall reads behind the wall: ROW_LEVEL_SECURITY is on, and the wall was built.

    Asked of PostgreSQL once a process; while it was not built, once a minute.
    """
    if not settings.ROW_LEVEL_SECURITY or connection.vendor != "postgresql":
        return False
    if not _Known.stands and time.monotonic() >= _Known.until:
        _Known.stands = is_built()
        _Known.until = time.monotonic() + LOOKED_FOR_AGAIN_AFTER_SECONDS
        if not _Known.stands:
            log.warning("second_wall_missing", cure=CURE)
    return _Known.stands


def is_built() -> bool:
    """Look whether functions, their owner, its grants and the policies are there, as this code builds them."""
    if connection.vendor != "postgresql":
        return False
    with connection.cursor() as cursor:
        cursor.execute(STANDS)
        row = cursor.fetchone()
    return bool(row and row[0])


def can_stand() -> bool:
    """Tell whether this is PostgreSQL, with the tables that the wall is about."""
    return connection.vendor == "postgresql" and set(connection.introspection.table_names()) >= TABLES


def ensure_wall(*, using: str = DEFAULT_DB_ALIAS, verbosity: int = 1, **_rest: Any) -> None:
    """Build the wall unless it stands; where the role may not, say how it comes to be."""
    if using != DEFAULT_DB_ALIAS or not can_stand() or is_built():
        return
    for attempts_left in reversed(range(BUILDING_ATTEMPTS)):
        try:
            with transaction.atomic():
                _build()
        except (OperationalError, ProgrammingError) as error:
            if isinstance(error, OperationalError) and attempts_left:
                continue
            if verbosity:
                print(f"The second wall was not built: {str(error).splitlines()[0]}. {CURE}")  # noqa: T201
        return


def _build() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(current_schema), current_setting('is_superuser') = 'on'")
        schema, is_superuser = cursor.fetchone()
        cursor.execute("SELECT pg_has_role(oid, 'MEMBER') FROM pg_roles WHERE rolname = %s", [READER])
        role = cursor.fetchone()
        is_member = bool(role and role[0])
        if not role:
            try:
                with transaction.atomic():
                    cursor.execute(f"CREATE ROLE {READER} NOLOGIN")
            except (IntegrityError, ProgrammingError) as error:
                if not isinstance(error.__cause__, (UniqueViolation, DuplicateObject)):
                    raise
                # Another database of the server made it in the same moment.
        if not is_superuser and not is_member:
            cursor.execute(f"GRANT {READER} TO CURRENT_USER")
        cursor.execute(wall(schema))
