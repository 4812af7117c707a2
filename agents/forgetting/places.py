"""Walks through what was said in a room, in the order of its index: whatever hangs on a message is found by it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator
from uuid import UUID

from django.db.models import Q

from agents.models import Message

BATCH = 500


def walk(
    room_id: UUID,
    agent_ids: Collection[UUID],
    wanted: Q | None = None,
    *,
    since: dt.datetime | None = None,
    fields: Collection[str] = (),
    size: int = BATCH,
) -> Iterator[list[Message]]:
    """Yield the room's messages, to and from each of these agents, from the first on, `size` at a time.

    No connection is held between two batches, so that the caller may write meanwhile.
    """
    for agent_id in agent_ids:
        said = Message.objects.filter(room_id=room_id, agent_id=agent_id).filter(wanted or Q())
        if fields:
            said = said.only("received_at", *fields)
        if since is not None:
            said = said.filter(received_at__gte=since)
        rest = said
        while page := list(rest.order_by("received_at", "pk")[:size]):
            yield page
            last = page[-1]
            later = Q(received_at__gt=last.received_at) | Q(received_at=last.received_at, pk__gt=last.pk)
            rest = said.filter(later, received_at__gte=last.received_at)


def agents_in(room_ids: Collection[UUID]) -> set[UUID]:
    """Return the agents that anybody spoke to in these rooms."""
    said = Message.objects.filter(room__in=room_ids)
    return set(said.order_by().values_list("agent", flat=True).distinct())
