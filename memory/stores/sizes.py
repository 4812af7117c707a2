"""How much may be visible somewhere, by which recall chooses its way on PostgreSQL.

`memory.stores.postgres_recall` asks it. It is counted in indexes alone, and each process keeps it for a while: every
turn would else spend a fifth of its recall on counting what the turn before it has counted.
"""

from __future__ import annotations

import functools
import math
import threading
from uuid import UUID

from cachetools import TTLCache, cached
from cachetools.keys import hashkey
from django.db import connection

from memory.models import Memory
from memory.querysets import is_private_room_of
from memory.stores.compiled import AGENT, PERSON, ROOM, sql_of, statement

EXACT_STEPS = ((200_000, 2000), (math.inf, 5000))
"""Of up to so many memories, all agents' together, so many visible ones are compared one by one."""
KNOWN_FOR_SECONDS = 300.0
"""So long a process keeps what it counted. What comes meanwhile is found all the same; where it is very much, a recall
takes longer until then."""

_known: TTLCache[object, bool] = TTLCache(maxsize=16384, ttl=KNOWN_FOR_SECONDS)


def exact_up_to(total: float) -> int:
    """Return how many visible memories are compared one by one where there are so many in all."""
    return next(exact for most, exact in EXACT_STEPS if total <= most)


def forget_sizes() -> None:
    """Have everything counted anew."""
    _known.clear()


@cached(_known, key=hashkey, lock=threading.Lock())
def is_little(agent_id: UUID, room_id: UUID | None, person_id: UUID | None, most: int) -> bool:
    """Tell whether at most so many memories may be visible when this agent speaks there with this person.

    Unit: up to KNOWN_FOR_SECONDS old.
    """
    sql = _statement(room_id is not None, person_id is not None, most)
    with connection.cursor() as cursor:
        cursor.execute(sql, {"agent": agent_id, "room": room_id, "person": person_id})
        return bool(cursor.fetchone()[0])


@functools.lru_cache(maxsize=16)
def _statement(has_room: bool, has_person: bool, most: int) -> str:
    """Compile what counts the memories that may be visible, each scope's up to one more than `most`.

    It reads no table, and may count what was superseded, too: the agent's own, the person's, and the room's. Of
    these the next is counted only where those before are few.
    """
    memories = Memory.objects.filter(agent_id=AGENT).order_by()
    counted = {"of_agent": (memories.filter(scope="agent").values("agent_id"), "count(*)")}
    if has_room and has_person:
        private = memories.filter(is_private_room_of(PERSON, ROOM), scope="person", person_id=PERSON)
        counted["of_person"] = (private.values("agent_id"), "count(*)")
    if has_room:
        # In a direct chat all is the person's: where the room has more than that, so has the person.
        own = f"CASE WHEN count(*) > {most} THEN count(*) ELSE count(*) FILTER (WHERE scope = 'room') END"
        counted["of_room"] = (memories.filter(room_id=ROOM).values("agent_id", "scope"), own)
    parts = ", ".join(
        f"{name} AS MATERIALIZED (SELECT {count} AS number FROM ({sql_of(rows[: most + 1])}) AS part)"
        for name, (rows, count) in counted.items()
    )
    numbers = [f"(SELECT number FROM {name})" for name in counted]
    many = " ".join(f"WHEN {number} > {most} THEN false" for number in numbers)
    return statement(f"WITH {parts} SELECT CASE {many} ELSE {' + '.join(numbers)} <= {most} END")
