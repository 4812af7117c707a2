"""The audit: an entry an object, in the transaction of the deed."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import ProgrammingError, transaction

from agents import audit
from agents.models import AuditEntry

pytestmark = pytest.mark.django_db


def test_a_decision_about_ten_thousand_is_one_statement(django_assert_num_queries: Any) -> None:
    ids = range(10_000)
    with django_assert_num_queries(1):
        audit.record("ada", "discard", "turn", {key: {"n": key} for key in ids}, why="all of them")
    assert AuditEntry.objects.filter(actor="ada", reason="all of them").count() == len(ids)


def record_and_fail() -> None:
    audit.record("ada", "discard", "turn", {1: {}}, why="so")
    raise RuntimeError


def test_what_is_not_done_is_not_written_down() -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        record_and_fail()
    assert AuditEntry.objects.count() == 0


def test_of_nothing_nothing_is_written_down(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        audit.record("ada", "discard", "turn", {}, why="so")
    assert AuditEntry.objects.count() == 0


def test_text_that_a_database_cannot_keep_is_cleaned() -> None:
    audit.record("a\0da", "discard", "turn", {1: {"error": "a\0b"}}, why="be\0cause")
    entry = AuditEntry.objects.get()
    assert "\0" not in f"{entry.actor}{entry.reason}{entry.details}"


def test_an_entry_can_lose_whom_it_was_about_and_nothing_else_of_it_changes() -> None:
    audit.record("ada", "merge", "person", {"p1": {"into": "p2"}}, why="The same voice.")
    entry = AuditEntry.objects.get()
    for changes in (
        {"reason": "another"},
        {"reason": ""},
        {"actor": "bob", **AuditEntry.FORGOTTEN},
        {"verb": "forget", **AuditEntry.FORGOTTEN},
        {**AuditEntry.FORGOTTEN, "details": {"a": 1}},
        {**AuditEntry.FORGOTTEN, "object_id": "p3"},
        {"at": "2020-01-01T00:00:00Z", **AuditEntry.FORGOTTEN},
    ):
        with pytest.raises(ProgrammingError, match="never changed"), transaction.atomic():
            AuditEntry.objects.update(**changes)
    with pytest.raises(ProgrammingError, match="never changed"), transaction.atomic():
        AuditEntry.objects.all().delete()
    assert AuditEntry.objects.update(**AuditEntry.FORGOTTEN) == 1
    later = AuditEntry.objects.get()
    assert (later.pk, later.at, later.actor, later.verb) == (entry.pk, entry.at, "ada", "merge")
    assert (later.object_id, later.reason, later.details) == ("forgotten", "", {})
