"""The doctor's looks at what keeps things: PostgreSQL with pgvector, or SQLite, and Valkey."""

from __future__ import annotations

import sqlite3

import psycopg
import redis
from django.conf import settings
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor

from agents.fields import EncryptionKeyError, unseal
from agents.models import Character
from eliza_site.doctor.findings import Finding, note, ok, wrong
from eliza_site.sqlite.one_worker import NOTE
from memory.embeddings.spaces import State, failing_spaces, sealed_keys, used_space
from memory.stores import row_security
from memory.vector_spaces.dimensions import check_dimensions
from transports.models import Connection

CONNECT_SECONDS = 5
OLDEST_POSTGRESQL = 15
OLDEST_PGVECTOR = (0, 8)
SECRETS_LOOKED_AT = 200


def look_at_database() -> list[Finding]:
    """Connect to the database, past the pool, whose own error would hide the reason."""
    if settings.IS_SQLITE:
        return [_look_at_sqlite()]
    parameters = {**connection.get_connection_params(), "connect_timeout": CONNECT_SECONDS}
    known = {name: value for name, value in parameters.items() if name not in {"context", "cursor_factory"}}
    known.pop("prepare_threshold", None)
    try:
        with psycopg.connect(**known) as database:
            version = database.info.server_version
    except psycopg.OperationalError as error:
        where = f"{parameters.get('host') or 'this machine'}/{parameters.get('dbname', '')}"
        reason = " ".join(str(error).split())
        cure = "Start PostgreSQL, or set DATABASE_URL; `make run` brings one with it."
        return [wrong(f"PostgreSQL at {where} does not answer: {reason}", cure)]
    if version // 10000 < OLDEST_POSTGRESQL:
        cure = f"Move to PostgreSQL {OLDEST_POSTGRESQL} or newer."
        return [wrong(f"It is PostgreSQL {version // 10000}, which is too old.", cure)]
    return [ok(f"PostgreSQL {version // 10000}.{version % 10000} answers.")]


def _look_at_sqlite() -> Finding:
    """Open the file."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM sqlite_master")
    except Error as error:
        cure = "Correct DATABASE_URL, or who may write there."
        return wrong(f"{settings.DATABASE['NAME']} can't be opened: {error}", cure)
    cure = "Set DATABASE_URL to postgres://user:password@host/name for more than that."
    return note(f"{NOTE} ({settings.DATABASE['NAME']}, SQLite {sqlite3.sqlite_version}).", cure)


def look_at_vector_extension() -> list[Finding]:
    """Look for pgvector, and whether it is new enough for filtered search."""
    if settings.IS_SQLITE:
        return [ok("SQLite needs none: all vectors that may surface are compared.")]
    with connection.cursor() as cursor:
        cursor.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        row = cursor.fetchone()
        cursor.execute("SELECT default_version FROM pg_available_extensions WHERE name = 'vector'")
        available = cursor.fetchone()
    if row is None and available is None:
        return [wrong("pgvector is not installed on the server.", "Install pgvector 0.8 or newer there.")]
    if row is None:
        return [wrong("pgvector is not in this database.", "As a superuser, run: CREATE EXTENSION vector")]
    if tuple(int(part) for part in row[0].split(".")[:2]) < OLDEST_PGVECTOR:
        cure = "Install pgvector 0.8 or newer, and run: ALTER EXTENSION vector UPDATE"
        return [wrong(f"pgvector is {row[0]}: a filtered search would miss what it should find.", cure)]
    return [ok(f"pgvector {row[0]}.")]


def look_at_migrations() -> list[Finding]:
    """Look whether every migration of this code is applied."""
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        names = ", ".join(f"{migration.app_label}.{migration.name}" for migration, _backwards in missing[:5])
        more = " and others" if len(missing) > 5 else ""
        return [wrong(f"{len(missing)} are not applied: {names}{more}.", "Run: python manage.py migrate")]
    return [ok("All are applied.")]


def look_at_vectors() -> list[Finding]:
    """Look whether the vectors in the store are the settings' own, and their index stands."""
    found = [
        (wrong if problem.is_fatal else note)(problem.message, problem.cure) for problem in check_dimensions()
    ]
    found += _failing_spaces()
    if found:
        return found
    index = "no index is needed" if settings.IS_SQLITE else "their index stands"
    return [ok(f"All have {used_space().choice.dimensions} numbers, and {index}.")]


def _failing_spaces() -> list[Finding]:
    """Tell of another model whose vectors are being made, or should be."""
    ways = {
        State.FILLING: "--cancel gives the model up",
        State.KEPT: "--finish removes the former model's vectors",
    }
    return [
        note(
            f"The embedder of {name} failed {count} times: {error}",
            f"See `manage.py reembed_memories --status`; {ways.get(State(state), '--finish goes on')}.",
        )
        for name, state, count, error in failing_spaces()
    ]


def look_at_wall() -> list[Finding]:
    """Look whether memories and goals are read behind row level security."""
    if settings.IS_SQLITE:
        return [ok("SQLite has none: the query alone decides what may surface.")]
    if not settings.ROW_LEVEL_SECURITY:
        return [
            note("ROW_LEVEL_SECURITY is off: the query alone decides what may surface.", "Set it to true.")
        ]
    if not row_security.is_built():
        return [wrong(row_security.MISSING, row_security.CURE)]
    return [ok("Memories and goals are read behind row level security.")]


def look_at_secrets() -> list[Finding]:
    """Read secrets, to see whether FIELD_ENCRYPTION_KEY is the key that they were written with."""
    try:
        for model in (Character, Connection):
            list(model.objects.values_list("secrets", flat=True)[:SECRETS_LOOKED_AT])
        for sealed in sealed_keys():
            unseal(sealed, what="The key of a vector space")
    except EncryptionKeyError as error:
        return [
            wrong(str(error), "Put the key that the secrets were written with into FIELD_ENCRYPTION_KEY.")
        ]
    return [ok("The secrets of characters and connections can be read.")]


def look_at_cache() -> list[Finding]:
    """Ask Valkey, and whether it would throw away what the broker keeps there."""
    client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2.0, socket_connect_timeout=2.0)
    try:
        memory = client.info("memory")
    except redis.RedisError as error:
        cure = "Start Valkey or Redis, or set REDIS_URL; `make run` brings one with it."
        return [wrong(f"Valkey does not answer: {error}", cure)]
    finally:
        client.close()
    policy = memory.get("maxmemory_policy", "noeviction")
    if settings.BROKER_IS_CACHE and policy != "noeviction":
        cure = "Set maxmemory-policy to noeviction, or give the broker a server of its own."
        return [note(f"maxmemory-policy is {policy}: a full server may throw away wake-ups.", cure)]
    return [ok(f"Valkey answers and uses {memory.get('used_memory_human', '?')}.")]
