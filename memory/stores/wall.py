"""What the second wall is made of, in PostgreSQL's words: a role, its grants, policies, and the functions that read.

`memory.stores.row_security` builds it, and tells whether it stands. The rules are those of `docs/privacy.md`, written
down apart from `memory.querysets`, which is the first wall. Without settings, as any other session of the role, the
policies show nothing. The product's own role is not under them: what it writes, learns and forgets is no business of
one conversation.
"""

from __future__ import annotations

from hashlib import sha256

from memory.querysets import PRIVATE_ROOM_TYPES

READER = "eliza_reader"
"""The role that words of memories and goals are read as. Roles belong to the whole server: its databases share it."""
READ_MEMORIES = "memory_read(uuid[], uuid, uuid, uuid)"
READ_GOALS = "memory_read_goals(uuid[], uuid, uuid, uuid[])"
"""The functions that read, by their signatures."""
WALLED = ("memory_memory", "memory_goal", "memory_objective")
_SCOPE = ("id", "agent_id", "person_id", "room_id")
READS = {
    "memory_memory": (*_SCOPE, "kind", "scope", "speaker", "text", "source_messages", "superseded_by_id"),
    "memory_goal": (*_SCOPE, "name", "status", "created_at"),
    "memory_objective": ("goal_id", "position", "description", "is_done"),
    "agents_room": ("id", "type"),
    "agents_participant": ("room_id", "person_id"),
    "agents_person": ("id", "is_bot", "merged_into_id"),
}
"""The columns that the role may read, by their tables: what the functions need."""
TABLES = set(READS)

_WALLED = ", ".join(f"to_regclass('{table}')" for table in WALLED)
_TYPES = ", ".join(f"'{type}'" for type in PRIVATE_ROOM_TYPES)

_POLICIES = f"""
SELECT md5(string_agg(
    concat_ws(' ', relname, relrowsecurity, polname, polcmd, polpermissive, polroles::regrole[],
              pg_get_expr(polqual, polrelid)),
    ';' ORDER BY relname, polname
))
FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid
WHERE polrelid IN ({_WALLED})
"""
"""What stands in the policies, whoever changed them, and whether their tables heed them."""

_IS_PRIVATE = f"""
    EXISTS (SELECT 1 FROM agents_room AS room WHERE room.id = in_room AND room.type IN ({_TYPES}))
    AND NOT EXISTS (
        SELECT 1 FROM agents_participant AS other JOIN agents_person AS person ON person.id = other.person_id
        WHERE other.room_id = in_room AND NOT person.is_bot
          AND person.id <> {{person}} AND person.merged_into_id IS DISTINCT FROM {{person}}
    )
"""

GRANTS = f"GRANT USAGE ON SCHEMA {{schema}} TO {READER};\n" + "".join(
    f"GRANT SELECT ({', '.join(columns)}) ON {table} TO {READER};\n" for table, columns in READS.items()
)

POLICIES = f"""
DO $others$ DECLARE policy record; BEGIN
    FOR policy IN SELECT polname, polrelid::regclass AS of_table FROM pg_policy
                  WHERE polrelid IN ({_WALLED}) AND '{READER}'::regrole::oid = ANY (polroles) LOOP
        EXECUTE format('DROP POLICY %I ON %s', policy.polname, policy.of_table);
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
CREATE POLICY what_may_surface ON memory_goal FOR SELECT TO {READER} USING (
    agent_id = nullif(current_setting('eliza.agent', true), '')::uuid
    AND (room_id IS NULL OR room_id = nullif(current_setting('eliza.room', true), '')::uuid)
    AND CASE
        WHEN person_id IS NULL THEN true
        WHEN room_id IS NULL THEN person_id = ANY (nullif(current_setting('eliza.alone_with_any', true), '')::uuid[])
        ELSE person_id = ANY (nullif(current_setting('eliza.people', true), '')::uuid[])
    END
);
CREATE POLICY what_may_surface ON memory_objective FOR SELECT TO {READER} USING (
    EXISTS (SELECT 1 FROM memory_goal AS goal WHERE goal.id = goal_id)
);
"""

# Where the product's role does not own a table, its grants alone decide what it may, as without row security.
GRANTED = f"""
DROP POLICY IF EXISTS whatever_is_granted ON {{table}};
CREATE POLICY whatever_is_granted ON {{table}} USING (current_user <> '{READER}');
ALTER TABLE {{table}} ENABLE ROW LEVEL SECURITY;
"""

# As a function ends it takes back for whom it read: settings last until the transaction's end.
FUNCTIONS = f"""
DROP FUNCTION IF EXISTS {READ_MEMORIES};
CREATE FUNCTION memory_read(ids uuid[], of_agent uuid, in_room uuid, with_person uuid)
RETURNS TABLE (id uuid, kind varchar, room_id uuid, speaker varchar, text text, source_messages jsonb)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = {{schema}}, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    is_private boolean := {_IS_PRIVATE.format(person="with_person")};
BEGIN
    PERFORM set_config('eliza.agent', coalesce(of_agent::text, ''), true),
            set_config('eliza.room', coalesce(in_room::text, ''), true),
            set_config('eliza.alone_with', CASE WHEN is_private THEN coalesce(with_person::text, '') ELSE '' END, true);
    RETURN QUERY
        SELECT memory.id, memory.kind, memory.room_id, memory.speaker, memory.text, memory.source_messages
        FROM memory_memory AS memory WHERE memory.id = ANY (ids);
    PERFORM set_config('eliza.agent', '', true), set_config('eliza.room', '', true),
            set_config('eliza.alone_with', '', true);
END
$body$;

DROP FUNCTION IF EXISTS {READ_GOALS};
CREATE FUNCTION memory_read_goals(ids uuid[], of_agent uuid, in_room uuid, with_people uuid[])
RETURNS TABLE (id uuid, name varchar, status varchar, objectives jsonb)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = {{schema}}, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    alone_with uuid[] := ARRAY(SELECT one FROM unnest(with_people) AS one WHERE {_IS_PRIVATE.format(person="one")});
BEGIN
    PERFORM set_config('eliza.agent', coalesce(of_agent::text, ''), true),
            set_config('eliza.room', coalesce(in_room::text, ''), true),
            set_config('eliza.people', coalesce(with_people::text, ''), true),
            set_config('eliza.alone_with_any', alone_with::text, true);
    RETURN QUERY
        SELECT goal.id, goal.name, goal.status, (
            SELECT jsonb_agg(jsonb_build_array(part.description, part.is_done) ORDER BY part.position)
            FROM memory_objective AS part WHERE part.goal_id = goal.id
        )
        FROM memory_goal AS goal WHERE goal.id = ANY (ids) ORDER BY goal.created_at, goal.id;
    PERFORM set_config('eliza.agent', '', true), set_config('eliza.room', '', true),
            set_config('eliza.people', '', true), set_config('eliza.alone_with_any', '', true);
END
$body$;
"""

NOTED = f"""
DO $note$ BEGIN
    EXECUTE format('COMMENT ON FUNCTION {READ_MEMORIES} IS %L', '{{version}}:' || ({_POLICIES}));
END $note$;
"""

# Last of all the role gets what it reads with: until then it is the product's own.
HANDED_OVER = f"""
REVOKE ALL ON FUNCTION {{function}} FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {{function}} TO CURRENT_USER;
GRANT CREATE ON SCHEMA {{schema}} TO {READER};
ALTER FUNCTION {{function}} OWNER TO {READER};
REVOKE CREATE ON SCHEMA {{schema}} FROM {READER};
"""

_WALL = "".join(
    (
        GRANTS,
        POLICIES,
        *(GRANTED.replace("{table}", table) for table in WALLED),
        FUNCTIONS,
        NOTED,
        *(HANDED_OVER.replace("{function}", function) for function in (READ_MEMORIES, READ_GOALS)),
    )
)
_VERSION = sha256(_WALL.encode()).hexdigest()[:16]

_COLUMNS = ", ".join(f"('{table}', '{column}')" for table, columns in READS.items() for column in columns)
STANDS = f"""
SELECT obj_description(to_regprocedure('{READ_MEMORIES}'), 'pg_proc') = '{_VERSION}:' || ({_POLICIES})
   AND (SELECT count(*) = 2 FROM pg_proc AS function JOIN pg_roles AS role ON role.oid = function.proowner
        WHERE function.oid IN (to_regprocedure('{READ_MEMORIES}'), to_regprocedure('{READ_GOALS}'))
          AND role.rolname = '{READER}' AND NOT role.rolsuper AND NOT role.rolbypassrls
          AND has_schema_privilege(role.oid, current_schema, 'USAGE')
          AND has_function_privilege(function.oid, 'EXECUTE')
          AND (SELECT bool_and(has_column_privilege(role.oid, to_regclass(of_table), name, 'SELECT'))
               FROM (VALUES {_COLUMNS}) AS needed (of_table, name)))
"""
"""Whether the functions, their owner, its grants and the policies are there, as this code builds them."""


def wall(schema: str) -> str:
    """Return the statements that build the wall in this schema, whose name is quoted already."""
    return _WALL.format(schema=schema, version=_VERSION)
