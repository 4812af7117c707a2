"""What only a SQLite database can tell: that it takes every statement of the site. Skipped on PostgreSQL."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import sqlite3
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction

from agents import forgetting, lanes
from agents.audit import record
from agents.databases import is_away, own_connection
from agents.inbox import receive
from agents.models import Agent, AuditEntry, Lane, Message, Turn
from eliza_site.doctor import LOOKS, examine, stores
from eliza_site.sqlite.one_worker import NOTE
from eliza_site.sqlite.statements import is_ours
from eliza_site.sqlite.translating import translate
from tests.agents.forgetting.conftest import life as life
from tests.conftest import ON_SQLITE
from tests.doubles.lives import MARK, Life

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(not ON_SQLITE, reason="DATABASE_URL names PostgreSQL"),
]

POSTGRESQLS_OWN = {"transports.drill.faults.CUT", "memory.documents.indexing._MEMORIES"}
ENDS_OTHERS = {"agents.claims.SELECT_TAKEN"}


def statements() -> dict[str, str]:
    """Return the statements that stand in the site's modules, by their names."""
    found: dict[str, str] = {}
    for package in ("agents", "memory", "plugins", "transports", "eliza_site.doctor"):
        root = importlib.import_module(package)
        for info in pkgutil.walk_packages(root.__path__, f"{package}."):
            if any(word in info.name for word in ("migrations", "__main__", "commands", ".stores.")):
                continue
            for name, value in vars(importlib.import_module(info.name)).items():
                several = value if isinstance(value, tuple | list) else [value]
                for place, one in enumerate(several):
                    if isinstance(one, str) and is_ours(one):
                        found.setdefault(one, f"{info.name}.{name}" + (f"[{place}]" if place else ""))
    return {name: statement for statement, name in found.items()}


def test_sqlite_takes_every_statement_of_the_site() -> None:
    checked, refused = 0, []
    connection.ensure_connection()
    for name, statement in statements().items():
        has_gaps = re.search(r"\{\w+\}", statement) is not None
        if has_gaps or name in POSTGRESQLS_OWN | ENDS_OTHERS:
            continue
        for step in translate(statement).steps:
            values = dict.fromkeys(re.findall(r":(\w+)", step.sql))
            try:
                connection.connection.execute(f"EXPLAIN {step.sql}", values).fetchall()
            except sqlite3.Error as error:
                refused.append(f"{name}: {error}\n{step.sql}")
        checked += 1
    assert not refused, "\n".join(refused)
    assert checked > 80


def test_an_entry_of_the_audit_is_never_changed() -> None:
    record("boss", "discard", "turn", {"1": {}}, why="so")
    for change in (lambda: AuditEntry.objects.update(actor="x"), lambda: AuditEntry.objects.all().delete()):
        with pytest.raises(IntegrityError, match="never changed or deleted"), transaction.atomic():
            change()
    AuditEntry.objects.update(object_id="forgotten", reason="", details={})
    assert AuditEntry.objects.get().object_id == "forgotten"


def test_a_key_whose_nulls_are_equal_refuses_a_second_row(incoming: Any) -> None:
    lane = Lane.objects.get(pk=receive(incoming()).lane_id)
    assert lane.room_id is None
    lane.pk = uuid4()
    with pytest.raises(IntegrityError, match="one_lane_a_scope"), transaction.atomic():
        lane.save(force_insert=True)


def test_an_id_that_looks_like_a_number_stays_an_id(incoming: Any) -> None:
    from agents.models import Room

    for text in ("12345678-1234-4234-8234-123456789012", "1e100000-0000-4000-8000-000000000000"):
        room = Room.objects.create(id=text, platform="x", external_id=text)
        with connection.cursor() as cursor:
            cursor.execute("SELECT id, created_at FROM agents_room WHERE id = %s", [room.pk])
            found = cursor.fetchone()
        assert (str(found[0]), found[1]) == (text, Room.objects.get(pk=text).created_at)


def test_a_statement_that_fails_in_a_later_step_leaves_nothing_of_the_earlier(incoming: Any) -> None:
    first = incoming()
    receive(first)
    before = Lane.objects.get().last_sequence
    again = receive(first)
    assert (again.is_new, Lane.objects.get().last_sequence) == (False, before)
    assert Message.objects.count() == Turn.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_many_threads_each_message_gets_a_place_of_its_own(incoming: Any) -> None:
    receive(incoming("first"))
    messages = [incoming(str(number)) for number in range(40)]
    faults: list[Exception] = []

    def deliver(mine: list[Any]) -> None:
        try:
            for message in mine:
                receive(message)
        except Exception as error:  # an assertion below tells of it
            faults.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=deliver, args=(messages[start::8],)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert sorted(Turn.objects.values_list("sequence", flat=True)) == list(range(1, 42))


def test_what_a_statement_returns_has_the_types_of_postgresql(incoming: Any) -> None:
    receipt = receive(incoming())
    claimed = lanes.claim(receipt.lane_id)
    assert claimed is not None
    _lease, turn = claimed
    assert turn is not None
    assert (turn.id, turn.room_id) == (receipt.turn_id, receipt.room_id)
    assert turn.received_at.tzinfo is not None
    assert (turn.person_is_bot, turn.is_stop_requested) == (False, False)
    assert turn.message_attachments == json.loads("[]")


def test_the_doctor_says_what_it_is() -> None:
    (finding,) = stores.look_at_database()
    assert (finding.level, finding.text.startswith(NOTE)) == ("note", True)


NEED_A_FLEET = {"static files", "cache", "broker", "workers", "dispatcher", "models"}


def test_the_doctor_finds_nothing_wrong_with_it(agent: Agent) -> None:
    found = list(examine(tuple(look for look in LOOKS if look.part not in NEED_A_FLEET)))
    assert {one.part for one in found} >= {
        "settings",
        "vector extension",
        "migrations",
        "vectors",
        "second wall",
    }
    ill = {one.part: one.findings for one in found if one.is_ill}
    assert ill == {}


@pytest.mark.django_db(transaction=True)
def test_what_was_deleted_is_in_no_page_of_the_file(life: Life) -> None:
    begun = forgetting.begin(life.ann.pk, by="ada", why="She asked for it.")
    assert forgetting.go_on(begun.pk)
    connection.close()
    name = connection.settings_dict["NAME"]
    for path in (Path(name), Path(f"{name}-wal")):
        assert MARK.encode() not in (path.read_bytes() if path.exists() else b""), path


@pytest.mark.django_db(transaction=True)
def test_who_writes_for_too_long_is_an_outage_to_others(incoming: Any) -> None:
    receipt = receive(incoming())
    faults: list[BaseException] = []

    def renew() -> None:
        try:
            with own_connection(statement_timeout_seconds=1):
                lanes.claim(receipt.lane_id)
        except OperationalError as error:
            faults.append(error)

    with transaction.atomic():
        thread = threading.Thread(target=renew)
        thread.start()
        thread.join()
    assert [is_away(fault) for fault in faults] == [True]
    assert lanes.claim(receipt.lane_id) is not None
