"""The end: streams and cached values, the last rows with the person's own, and what indexes and logs keep of rows.

The audit's entry names nobody; it is written in the transaction in which the forgetting itself goes.
"""

from __future__ import annotations

import re
from typing import Any

import structlog
from django.apps import apps
from django.db import Error, connection

from agents import audit, streams
from agents.databases import own_connection
from agents.forgetting.holding import Hold
from agents.forgetting.pieces import SHORTEST_MARK
from agents.forgetting.subject import Subject, subject_of
from agents.models import Forgetting, Lane, Person, Room

log = structlog.get_logger(__name__)

APPS = ("agents", "memory", "plugins", "transports", "auth", "sessions", "admin")
VACUUM = "VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF, SKIP_LOCKED ON)"
"""Takes what was deleted out of the indexes, that of the vectors too, where it stays for long otherwise. It locks
out nobody who reads or writes, and passes over a table that somebody else cleans or alters.
"""
ON_SQLITE = (
    "INSERT INTO memory_search (memory_search) VALUES ('optimize')",
    "VACUUM",
    "PRAGMA wal_checkpoint(TRUNCATE)",
)
"""The same on SQLite: out of the index of words, the file's free pages and its log. Writers wait for it."""
KEYS_A_LOOK = 1000
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def end(forgetting: Forgetting, hold: Hold) -> None:
    """End the forgetting.

    Raises: redis.RedisError where Valkey is away: it is tried again later.
    """
    subject = subject_of(forgetting)
    _forget_keys(subject)
    everyone = [*subject.people, *subject.ghosts]
    with hold.batch():
        Lane.objects.filter(person__in=everyone).delete()
        rooms = Room.objects.filter(pk__in=subject.private_rooms)
        hold.count(rooms=rooms.count(), people=len(subject.people))
        rooms.delete()
        Person.objects.filter(pk__in=everyone).delete()
        by, why = forgetting.began_by, forgetting.reason
        audit.record(by, "forget", "person", {forgetting.pk: hold.counts}, why=why)
        Forgetting.objects.filter(pk=forgetting.pk).delete()
    _clean_up()


def _forget_keys(subject: Subject) -> None:
    """Delete every key of Valkey that names the person, an account of theirs, or a room that they were in."""
    ids = set(map(str, (*subject.people, *subject.ghosts, *subject.private_rooms, *subject.shared_rooms)))
    marks = [mark for mark in subject.marks if len(mark) >= SHORTEST_MARK]
    client: Any = streams.client()
    found: list[str] = []
    for key in client.scan_iter(count=KEYS_A_LOOK):
        if ids & set(_ID.findall(key)) or any(mark in key for mark in marks):
            found.append(key)
    for key in found:
        client.unlink(key)
    if found and client.info("persistence").get("aof_enabled"):
        # The log of what was written has it until it is written anew, which the server does by itself.
        client.bgrewriteaof()


def _clean_up() -> None:
    """Have the database take out of its indexes and pages what was deleted; where it can't now, it will later."""
    if connection.in_atomic_block:
        return
    models = [model for label in APPS for model in apps.get_app_config(label).get_models()]
    quoted = [connection.ops.quote_name(model._meta.db_table) for model in models]
    statements = [f"{VACUUM} {table}" for table in quoted] if connection.vendor == "postgresql" else ON_SQLITE
    with own_connection(statement_timeout_seconds=0):
        for statement in statements:
            try:
                with connection.cursor() as cursor:
                    cursor.execute(statement)
            except Error as error:
                log.warning("not_cleaned_up", statement=statement, error=error)
