"""What a test that commits leaves behind: nothing, however much it was, and what migrations wrote is there still."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, connection, transaction

from agents.models import Agent, AuditEntry, Person
from memory.models import Memory
from tests.doubles.history import make_history
from tests.emptying import MANY_ROWS, OF_MIGRATIONS, empty

pytestmark = pytest.mark.django_db(transaction=True)


def rows() -> dict[str, int]:
    """Count the rows of all tables that have any."""
    counts = {}
    for table in connection.introspection.django_table_names(only_existing=True, include_views=False):
        with connection.cursor() as cursor:
            cursor.execute(f'SELECT count(*) FROM "{table}"')
            counts[table] = cursor.fetchone()[0]
    return {table: count for table, count in counts.items() if count}


@pytest.mark.parametrize("more", [0, MANY_ROWS + 1])
def test_nothing_is_left_of_any_table_but_what_migrations_wrote(more: int) -> None:
    kept = (ContentType.objects.count(), Permission.objects.count())
    make_history(3)
    User.objects.create_user("ada").user_permissions.add(*Permission.objects.all()[:3])
    Person.objects.bulk_create(Person(name=f"Person {number}") for number in range(more))
    assert {"agents_auditentry", "memory_memory", "auth_user_user_permissions"} <= rows().keys()

    empty("default")

    assert rows().keys() == OF_MIGRATIONS
    assert (ContentType.objects.count(), Permission.objects.count()) == kept
    assert kept[1] > 100


def test_what_refers_to_itself_or_in_a_circle_goes_too(agent: Agent) -> None:
    ann = Person.objects.create(name="Ann")
    ann.merged_into = Person.objects.create(name="Bea", merged_into=ann)
    ann.save()

    empty("default")

    assert not Person.objects.exists()
    assert not Memory.objects.exists()


def test_whoever_still_writes_is_waited_for(agent: Agent) -> None:
    has_written, may_end = threading.Event(), threading.Event()

    def write() -> None:
        try:
            with transaction.atomic():
                Person.objects.create(name="Late")
                has_written.set()
                may_end.wait(10)
        finally:
            connection.close()

    late = threading.Thread(target=write)
    late.start()
    assert has_written.wait(10)
    # Another ends the wait once the lock is asked for.
    ending = threading.Thread(target=_end_when_waited_for, args=(may_end,))
    ending.start()

    empty("default")

    late.join()
    ending.join()
    assert not Person.objects.exists()


def _end_when_waited_for(may_end: threading.Event) -> None:
    waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
    try:
        for _look in range(2000):
            with connection.cursor() as cursor:
                cursor.execute(waiting)
                if cursor.fetchall():
                    break
    finally:
        may_end.set()
        connection.close()


def test_the_audit_refuses_a_deletion_as_ever(agent: Agent) -> None:
    entry: Any = AuditEntry.objects.create(actor="ada", verb="discard", object_kind="turn", object_id="1")

    with pytest.raises(DatabaseError):
        entry.delete()
    empty("default")
    assert not AuditEntry.objects.exists()
