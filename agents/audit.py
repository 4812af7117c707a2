"""Writes down what people decided, in the transaction of the deed itself. Verbs that are decisions call it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from django.db import transaction

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
        transaction.on_commit(
            lambda: log.info("decided", by=actor, verb=verb, about=object_kind, count=count)
        )
