"""Takes the person out of what people decided: entries stay, and say who decided what, and when, but not of whom."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.models import LogEntry
from django.db.models import Q

from agents import audit
from agents.forgetting.holding import Hold
from agents.forgetting.pieces import Cutter, Pieces
from agents.forgetting.subject import Subject
from agents.models import AuditEntry

BATCH = 2000


def blank_entries(subject: Subject, hold: Hold) -> None:
    """Blank the audit's entries that are about the person or name them, and drop the admin's own log of them."""
    cutter = Cutter(Pieces(), names=subject.names, marks=subject.marks)
    entries = AuditEntry.objects.exclude(object_id=AuditEntry.FORGOTTEN["object_id"]).order_by("pk")
    after = 0
    while page := list(entries.filter(pk__gt=after)[:BATCH]):
        until = page[-1].pk
        named = {entry.pk for entry in page if _names(entry, cutter)}
        with hold.batch():
            named |= audit.entries_about(subject.people, after=after, until=until)
            hold.count(audit_entries_blanked=_blank(named))
        after = until
    _drop_admin_log(subject, hold, cutter)


def _names(entry: AuditEntry, cutter: Cutter) -> bool:
    return cutter.touches(entry.reason) or cutter.cut_json(entry.details) != entry.details


def _blank(ids: set[int]) -> int:
    return AuditEntry.objects.filter(pk__in=ids).update(**AuditEntry.FORGOTTEN)


def _drop_admin_log(subject: Subject, hold: Hold, cutter: Cutter) -> None:
    """Drop what the admin noted of changes to rows of people and their words; agents and characters are nobody's."""
    rows: Any = LogEntry.objects.filter(content_type__app_label__in=["agents", "memory", "plugins"]).exclude(
        content_type__model__in=["agent", "character", "characterversion"]
    )
    about = rows.filter(Q(object_id__in=[str(id) for id in subject.people]))
    with hold.batch():
        hold.count(admin_log_entries=about.delete()[0])
    after = 0
    while page := list(rows.filter(pk__gt=after).order_by("pk")[:BATCH]):
        after = page[-1].pk
        gone = [
            row.pk for row in page if cutter.touches(row.object_repr) or cutter.touches(row.change_message)
        ]
        with hold.batch():
            hold.count(admin_log_entries=LogEntry.objects.filter(pk__in=gone).delete()[0])
