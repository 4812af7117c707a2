"""Writes down what people decided, in the transaction of the deed itself, and finds what was decided about whom.

Verbs that are decisions call it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

import structlog
from django.db import connection, transaction

from agents.cleaning import clean_json, clean_text
from agents.models import AuditEntry

log = structlog.get_logger(__name__)

COMMAND = "command"
"""The actor of what was decided at a terminal."""


class NotDecided(Exception):
    """Nothing was decided; the text says why, and can be shown to whoever asked."""


def record(
    actor: str, verb: str, object_kind: str, details_by_id: Mapping[object, Mapping[str, Any]], *, why: str
) -> None:
    """Write an entry for each object that the decision was about, with what is worth knowing of it."""
    AuditEntry.objects.bulk_create(
        AuditEntry(
            actor=clean_text(actor)[:150],
            verb=verb,
            object_kind=object_kind,
            object_id=str(object_id),
            reason=clean_text(why),
            details=clean_json(dict(details)),
        )
        for object_id, details in details_by_id.items()
    )
    count = len(details_by_id)
    if count:
        # Whoever gives a command sees what comes of it; the log is for those who don't.
        tell = log.debug if actor == COMMAND else log.info
        transaction.on_commit(lambda: tell("decided", by=actor, verb=verb, about=object_kind, count=count))


ABOUT = """
SELECT entry.id FROM agents_auditentry AS entry
WHERE entry.id > %(after)s AND (%(until)s::bigint IS NULL OR entry.id <= %(until)s)
  AND entry.object_id <> 'forgotten' AND CASE entry.object_kind
    WHEN 'person' THEN entry.object_id = ANY(%(people)s) OR entry.details->>'into' = ANY(%(people)s)
    WHEN 'turn' THEN EXISTS (
        SELECT 1 FROM agents_turn WHERE id = entry.object_id::uuid AND person_id = ANY(%(people)s::uuid[]))
    WHEN 'approval' THEN EXISTS (
        SELECT 1 FROM agents_approval AS approval JOIN agents_turn AS turn ON turn.id = approval.turn_id
        WHERE approval.id = entry.object_id::bigint AND turn.person_id = ANY(%(people)s::uuid[]))
    WHEN 'delivery' THEN EXISTS (
        SELECT 1 FROM agents_delivery AS delivery JOIN agents_message AS message ON message.id = delivery.message_id
        WHERE delivery.id = entry.object_id::bigint AND message.person_id = ANY(%(people)s::uuid[]))
    END
"""
"""Entries about the person, or about what was said by or to them; all of that must still be there."""


def entries_about(person_ids: Collection[UUID], *, after: int = 0, until: int | None = None) -> set[int]:
    """Return the keys of the entries about these people, or about what was said by or to them."""
    with connection.cursor() as cursor:
        people = [str(id) for id in person_ids]
        cursor.execute(ABOUT, {"after": after, "until": until, "people": people})
        return {row[0] for row in cursor.fetchall()}
