"""Forgetting a person leaves nothing of them: every table, every column, every key, by a walk over all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import connection as database
from django.db.models import ForeignKey, OneToOneField

from agents import streams
from agents.models import Agent, AuditEntry, Forgetting, Person, Room
from memory.models import Memory
from tests.agents.forgetting.conftest import forget
from tests.doubles.lives import MARK, Life, columns_with, tables, text_columns

OPERATORS = "written by operators"
NETWORKS = "what a network calls a place; nobody's words"
MACHINERY = "names of parts of the software, hashes and keys"
WITHOUT_WORDS = {
    "agents_agent": OPERATORS,
    "agents_character": OPERATORS,
    "agents_characterversion": OPERATORS,
    "agents_lane.lease_owner": MACHINERY,
    "agents_world": NETWORKS,
    "agents_room": NETWORKS,
    "agents_auditentry.actor": OPERATORS,
    "agents_auditentry.verb": MACHINERY,
    "agents_auditentry.object_kind": MACHINERY,
    "agents_auditentry.object_id": "ids; searched for apart",
    "agents_account.platform": MACHINERY,
    "agents_approval.plugin": MACHINERY,
    "agents_approval.argument_hash": MACHINERY,
    "agents_modelcall.purpose": MACHINERY,
    "agents_modelcall.provider": MACHINERY,
    "agents_modelcall.model": MACHINERY,
    "agents_modelcall.parse_path": MACHINERY,
    "agents_modelcall.finish_reason": MACHINERY,
    "agents_forgetting": "goes with the last of what it is about",
    "memory_memory.source_key": MACHINERY,
    "memory_memory.second_embedding_model": MACHINERY,
    "memory_vectorspace": OPERATORS,
    "memory_document": OPERATORS,
    "memory_documentpart": OPERATORS,
    "memory_chunk": OPERATORS,
    "plugins_plugin": MACHINERY,
    "plugins_pluginstate.plugin": MACHINERY,
    "plugins_scheduledtask.plugin": MACHINERY,
    "plugins_scheduledtask.task": MACHINERY,
    "plugins_scheduledtask.schedule": MACHINERY,
    "plugins_event.name": MACHINERY,
    "transports_connection": OPERATORS,
    "auth_group": OPERATORS,
    "auth_permission": MACHINERY,
    "django_content_type": MACHINERY,
    "django_admin_log.object_id": "ids; searched for apart",
    "django_session.session_key": MACHINERY,
}
"""The text and JSON columns in which nothing is planted, and why: a table's name stands for all of its columns."""


def is_without_words(table: str, column: str) -> bool:
    return table in WITHOUT_WORDS or f"{table}.{column}" in WITHOUT_WORDS


def keys_to_people() -> Iterator[tuple[str, str]]:
    """Find each foreign key to a person, of every table."""
    for model in apps.get_models():
        for field in model._meta.concrete_fields:
            if isinstance(field, ForeignKey | OneToOneField) and field.related_model is Person:
                yield model._meta.db_table, field.column


def rows_with_key(table: str, column: str, ids: list[Any]) -> int:
    with database.cursor() as cursor:
        statement = f'SELECT count(*) FROM "{table}" WHERE "{column}"::text = ANY(%s)'
        cursor.execute(statement, [list(map(str, ids))])
        return int(cursor.fetchall()[0][0])


def test_the_marker_is_planted_in_every_column_that_can_hold_words(life: Life) -> None:
    """A new text or JSON column fails here: plant it in `tests.doubles.lives`, forget it, or say why it holds none."""
    planted = columns_with(MARK)
    missing = {
        f"{table}.{column}"
        for table, column in text_columns() - planted
        if not is_without_words(table, column)
    }
    assert missing == set()
    stale = {name for name in WITHOUT_WORDS if name.split(".")[0] not in tables()}
    assert stale == set()


def test_afterwards_it_is_in_no_row_of_any_table(life: Life) -> None:
    forget(life)
    assert columns_with(MARK) == set()


def test_no_row_of_any_table_points_to_the_person_or_those_merged_into_them(life: Life) -> None:
    ids = [life.ann.pk, life.anna]
    pointed = {key: rows_with_key(*key, ids) for key in keys_to_people()}
    assert [key for key, count in pointed.items() if not count] == [], "each key is put to the test"
    begun = forget(life)
    ghosts = begun.ghosts
    for key in keys_to_people():
        assert rows_with_key(*key, [*ids, *ghosts]) == 0, key
    assert not Person.objects.filter(pk__in=[*ids, *ghosts]).exists()
    for id in (*map(str, ids), *ghosts, *map(str, life.private)):
        assert columns_with(id) == set(), "nor is an id of theirs anywhere"
    assert not Forgetting.objects.exists()


def test_nor_is_it_in_any_key_of_valkey(life: Life) -> None:
    client = streams.client()
    client.set(f"cache:person:{life.ann.pk}", "x")
    client.set(f"cache:account:{MARK}-ann", "x")
    client.set(f"cache:person:{life.bob.pk}", "x")
    assert any(MARK in content(client, key) for key in client.scan_iter())
    forget(life)
    kept = list(client.scan_iter())
    assert f"cache:person:{life.bob.pk}" in kept
    for key in kept:
        assert MARK not in key
        assert MARK not in content(client, key)
        for id in (life.ann.pk, life.anna, *life.private, life.group.pk):
            assert str(id) not in key
    client.delete(f"cache:person:{life.bob.pk}")


def content(client: Any, key: str) -> str:
    """Return all that stands under a key, of whatever type."""
    kind = client.type(key)
    read = {
        "string": lambda: client.get(key),
        "stream": lambda: client.xrange(key),
        "list": lambda: client.lrange(key, 0, -1),
        "hash": lambda: client.hgetall(key),
        "set": lambda: client.smembers(key),
        "zset": lambda: client.zrange(key, 0, -1),
    }[kind]
    try:
        return str(read())
    except UnicodeDecodeError:
        return ""


def test_nor_in_any_line_of_the_logs_from_then_on(life: Life, capsys: Any) -> None:
    from django.conf import settings

    from eliza_site import logs

    logs.configure({"level": "debug", "format": "json"})
    try:
        capsys.readouterr()
        forget(life)
        written = capsys.readouterr().err
    finally:
        logs.configure(settings.LOGGING)
    assert '"forgotten"' in written
    assert MARK not in written
    assert "Ann" not in written
    assert str(life.ann.pk) not in written


def test_the_audit_says_that_somebody_was_forgotten_by_whom_and_why_and_names_nobody(life: Life) -> None:
    begun = forget(life, why="A letter of May.")
    entry = AuditEntry.objects.get(verb="forget")
    assert (entry.actor, entry.object_kind, entry.reason) == ("ada", "person", "A letter of May.")
    assert entry.object_id == str(begun.pk), "the forgetting's own id, which is nobody's"
    assert entry.details["messages"] >= 3
    assert "Ann" not in f"{entry.__dict__}"
    # What was decided about them before says who decided what, and not of whom.
    merge = AuditEntry.objects.get(verb="merge")
    assert (merge.actor, merge.object_id, merge.reason, merge.details) == ("ada", "forgotten", "", {})
    assert AuditEntry.objects.filter(verb="decide", object_id="forgotten").count() == 3
    assert AuditEntry.objects.filter(verb="decide", reason="because").count() == 3, "those of Bob's turn stay"


def test_what_is_nobodys_stays(life: Life) -> None:
    others = Memory.objects.filter(person=life.bob).count()
    forget(life)
    assert Agent.objects.get().name == "Eliza"
    assert Room.objects.filter(pk=life.group.pk).exists()
    assert Memory.objects.filter(person=life.bob).count() >= others - 3
    assert Memory.objects.filter(text="Bob sings.").exists()


def test_the_words_are_found_by_the_walk_wherever_they_are(life: Life) -> None:
    """The walk itself is worth something: what is left anywhere is found."""
    forget(life)
    Room.objects.filter(pk=life.group.pk).update(name=f"the room of {MARK}")
    assert columns_with(MARK) == {("agents_room", "name")}


@pytest.fixture(autouse=True)
def _quiet_streams() -> Iterator[None]:
    yield
    for key in streams.client().scan_iter("cache:*"):
        streams.client().delete(key)
