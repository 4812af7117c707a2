"""Writes an export while it is read: one row in memory at a time, all of them as they stood at one moment."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from agents import audit
from agents.databases import own_connection
from agents.exports import conversations, schema
from agents.exports.subjects import Subject, subject_of
from agents.models import Account, AuditEntry, Person
from agents.people.families import Family
from memory import exporting as memory_rows
from plugins import exporting as plugins_rows
from plugins.calendar import database_now
from plugins.registry import find_service

CHUNK = 500

Write = Callable[[str], object]
Row = dict[str, Any]


def export_person(
    family: Family, write: Write, *, tell: Callable[[str, int], None] | None = None
) -> dict[str, int]:
    """Write all that is known of the person, piece by piece; return how many rows each section has.

    `tell` hears of each section that has ended.
    """
    counts: dict[str, int] = {}
    with _snapshot():
        subject = subject_of(family)
        write("{")
        _write_value(write, "schema", {"name": schema.NAME, "version": schema.VERSION}, is_first=True)
        _write_value(write, "exported_at", database_now())
        _write_value(write, "person", _person(subject))
        for name, rows in _sections(subject):
            counts[name] = _write_rows(write, name, rows)
            if tell is not None:
                tell(name, counts[name])
        write("\n}\n")
    return counts


@contextmanager
def _snapshot() -> Iterator[None]:
    """Have a connection of its own show the database as it stands now, for as long as the block takes."""
    with own_connection(statement_timeout_seconds=0), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        yield


def _sections(subject: Subject) -> Iterator[tuple[str, Iterable[Row]]]:
    ids, rooms, own = subject.ids, subject.private_rooms, subject.own_messages
    yield "accounts", _accounts(subject)
    yield "sign_ins", _sign_ins(subject)
    yield "rooms", conversations.rooms(subject)
    yield "messages", conversations.messages(subject)
    yield "unasked", conversations.unasked(subject)
    yield "turns", conversations.turns(subject)
    yield "memories", memory_rows.memories_of(ids, rooms, own)
    yield "facts", memory_rows.facts_of(ids, rooms, own)
    yield "relationships", memory_rows.relationships_of(ids, _agents_own(subject), own)
    yield "goals", memory_rows.goals_of(ids, rooms)
    yield "plugin_states", plugins_rows.states_of(ids, rooms)
    yield "scheduled_tasks", plugins_rows.tasks_of(ids, rooms)
    yield "audit_entries", _audit_entries(subject)


def _person(subject: Subject) -> Row:
    return {
        "id": str(subject.person.pk),
        "name": subject.person.name,
        "is_bot": subject.person.is_bot,
        "created_at": subject.person.created_at,
        "merged": [str(id) for id in subject.ids[1:]],
    }


def _accounts(subject: Subject) -> Iterator[Row]:
    for account in Account.objects.filter(person__in=subject.ids).order_by("pk").iterator(chunk_size=CHUNK):
        yield {
            "platform": account.platform,
            "external_id": account.external_id,
            "username": account.username,
            "created_at": account.created_at,
        }


def _sign_ins(subject: Subject) -> Iterable[Row]:
    sign_ins = find_service("sign_ins")
    rows: Iterable[Row] = sign_ins.export(subject.accounts) if sign_ins is not None else ()
    return rows


def _agents_own(subject: Subject) -> set[UUID]:
    """Return which of those to whom the person stands in a relationship are bots: agents among them."""
    others = memory_rows.others_in_relationships(subject.ids)
    return set(Person.objects.filter(pk__in=others, is_bot=True).values_list("pk", flat=True))


def _audit_entries(subject: Subject) -> Iterator[Row]:
    about = audit.entries_about(subject.ids)
    for entry in AuditEntry.objects.filter(pk__in=about).order_by("pk").iterator(chunk_size=CHUNK):
        yield {
            "at": entry.at,
            "verb": entry.verb,
            "object_kind": entry.object_kind,
            "object_id": entry.object_id,
            "reason": entry.reason,
        }


def _write_value(write: Write, name: str, value: Any, *, is_first: bool = False) -> None:
    write(f"{'' if is_first else ','}\n{json.dumps(name)}: {_json(value)}")


def _write_rows(write: Write, name: str, rows: Iterable[Row]) -> int:
    count = 0
    write(f",\n{json.dumps(name)}: [")
    for row in rows:
        write(f"{',' if count else ''}\n{_json(row)}")
        count += 1
    write("\n]" if count else "]")
    return count


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> str:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if isinstance(value, UUID | Decimal):
        return str(value)
    raise TypeError(f"{value!r} of {type(value)} has no place in an export.")
