"""The second wall: PostgreSQL itself hands out no memory that may not surface, whatever a statement asks for.

The words of memories are read by the function `memory_read` alone, as the role READER, which owns nothing, can read
nothing but what the function needs, and sees a memory only if the policy lets it: a rule of its own, written down apart
from `memory.querysets`, which is the first wall. Django calls `ensure_wall` after a migration; `memory.retrieval` asks
`stands`.
"""

from __future__ import annotations

import time
from hashlib import sha256
from typing import Any

import structlog
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, IntegrityError, ProgrammingError, connection, transaction
from psycopg.errors import DuplicateObject, UniqueViolation

from memory.querysets import PRIVATE_ROOM_TYPES

log = structlog.get_logger(__name__)

READER = "eliza_reader"
"""The role that recall reads memories as. Roles belong to the whole server: its databases share it."""
TABLES = {"memory_memory", "agents_room", "agents_participant", "agents_person"}
LOOKED_FOR_AGAIN_AFTER_SECONDS = 60.0
SIGNATURE = "memory_read(uuid[], uuid, uuid, uuid)"
MISSING = "Recall reads without the second wall: row level security was not built in this database."
CURE = (
    f"As a superuser, run: CREATE ROLE {READER} NOLOGIN; GRANT {READER} TO the product's role; "
    "then: python manage.py migrate. Or set ROW_LEVEL_SECURITY=false."
)

_PRIVATE = ", ".join(f"'{type}'" for type in PRIVATE_ROOM_TYPES)
_COLUMNS = "id, agent_id, person_id, room_id, kind, scope, speaker, text, source_messages, superseded_by_id"

_POLICIES = """
SELECT md5(string_agg(
    concat_ws(' ', polname, polcmd, polpermissive, polroles::regrole[], pg_get_expr(polqual, polrelid)),
    ';' ORDER BY polname
))
FROM pg_policy WHERE polrelid = 'memory_memory'::regclass
"""
"""What stands in the policies, whoever changed them."""

WALL = f"""
GRANT USAGE ON SCHEMA {{schema}} TO {READER};
GRANT SELECT ({_COLUMNS}) ON memory_memory TO {READER};
GRANT SELECT (id, type) ON agents_room TO {READER};
GRANT SELECT (room_id, person_id) ON agents_participant TO {READER};
GRANT SELECT (id, is_bot, merged_into_id) ON agents_person TO {READER};

DO $others$ DECLARE policy name; BEGIN
    FOR policy IN SELECT polname FROM pg_policy WHERE polrelid = 'memory_memory'::regclass
                  AND '{READER}'::regrole::oid = ANY (polroles) LOOP
        EXECUTE format('DROP POLICY %I ON memory_memory', policy);
    END LOOP;
END $others$;
CREATE POLICY what_may_surface ON memory_memory FOR SELECT TO {READER} USING (
    agent_id = nullif(current_setting('eliza.agent', true), '')::uuid
    AND superseded_by_id IS NULL
    AND CASE scope
        WHEN 'agent' THEN true
        WHEN 'room' THEN room_id = nullif(current_setting('eliza.room', true), '')::uuid
        WHEN 'person' THEN person_id = nullif(current_setting('eliza.alone_with', true), '')::uuid
        ELSE false
    END
);

-- Where the product's role does not own the table, its grants alone decide what it may, as without row security.
DROP POLICY IF EXISTS whatever_is_granted ON memory_memory;
CREATE POLICY whatever_is_granted ON memory_memory USING (current_user <> '{READER}');

DROP FUNCTION IF EXISTS {SIGNATURE};
CREATE FUNCTION memory_read(ids uuid[], of_agent uuid, in_room uuid, with_person uuid)
RETURNS TABLE (id uuid, kind varchar, room_id uuid, speaker varchar, text text, source_messages jsonb)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = {{schema}}, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    is_private boolean := EXISTS (
        SELECT 1 FROM agents_room AS room WHERE room.id = in_room AND room.type IN ({_PRIVATE})
    ) AND NOT EXISTS (
        SELECT 1 FROM agents_participant AS other JOIN agents_person AS person ON person.id = other.person_id
        WHERE other.room_id = in_room AND NOT person.is_bot
          AND person.id <> with_person AND person.merged_into_id IS DISTINCT FROM with_person
    );
BEGIN
    PERFORM set_config('eliza.agent', coalesce(of_agent::text, ''), true),
            set_config('eliza.room', coalesce(in_room::text, ''), true),
            set_config('eliza.alone_with', CASE WHEN is_private THEN coalesce(with_person::text, '') ELSE '' END, true);
    RETURN QUERY
        SELECT memory.id, memory.kind, memory.room_id, memory.speaker, memory.text, memory.source_messages
        FROM memory_memory AS memory WHERE memory.id = ANY (ids);
END
$body$;
REVOKE ALL ON FUNCTION {SIGNATURE} FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {SIGNATURE} TO CURRENT_USER;

DO $note$ BEGIN
    EXECUTE format('COMMENT ON FUNCTION {SIGNATURE} IS %L', '{{version}}:' || ({_POLICIES}));
END $note$;

GRANT CREATE ON SCHEMA {{schema}} TO {READER};
ALTER FUNCTION {SIGNATURE} OWNER TO {READER};
REVOKE CREATE ON SCHEMA {{schema}} FROM {READER};
ALTER TABLE memory_memory ENABLE ROW LEVEL SECURITY;
"""  # noqa: S608
"""Without settings, as any other session of the role, the policy shows nothing. The product's own role is not under it:
what it writes, learns and forgets is no business of one conversation.
"""

_VERSION = sha256(WALL.encode()).hexdigest()[:16]

STANDS = f"""
SELECT obj_description(function.oid, 'pg_proc') = %s || ':' || ({_POLICIES}) AND role.rolname = '{READER}'
   AND NOT role.rolsuper AND NOT role.rolbypassrls AND class.relrowsecurity
FROM pg_proc AS function JOIN pg_roles AS role ON role.oid = function.proowner, pg_class AS class
WHERE function.oid = to_regprocedure('{SIGNATURE}') AND class.oid = to_regclass('memory_memory')
"""  # noqa: S608


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
    """Look whether the function, its owner and the policies are there, as this code built them."""
    if connection.vendor != "postgresql":
        return False
    with connection.cursor() as cursor:
        cursor.execute(STANDS, [_VERSION])
        row = cursor.fetchone()
    return bool(row and row[0])


def can_stand() -> bool:
    """Tell whether this is PostgreSQL, with the tables that the wall is about."""
    return connection.vendor == "postgresql" and set(connection.introspection.table_names()) >= TABLES


def ensure_wall(*, using: str = DEFAULT_DB_ALIAS, verbosity: int = 1, **_rest: Any) -> None:
    """Build the wall unless it stands; where the role may not, say how it comes to be."""
    if using != DEFAULT_DB_ALIAS or not can_stand() or is_built():
        return
    try:
        with transaction.atomic():
            _build()
    except ProgrammingError as error:
        if verbosity:
            print(f"The second wall was not built: {str(error).splitlines()[0]}. {CURE}")  # noqa: T201


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
        cursor.execute(WALL.format(schema=schema, version=_VERSION))
