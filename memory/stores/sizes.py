"""How much may be visible somewhere, by which recall chooses its way on PostgreSQL.

`memory.stores.postgres_recall` asks it. Memories are counted in their indexes alone, and each process keeps the count
for a while: every turn would else count what the turn before it has counted.
"""

from __future__ import annotations

import functools
import math
import threading
from dataclasses import dataclass
from uuid import UUID

from cachetools import TTLCache
from django.db import connection

from memory.models import Memory
from memory.querysets import is_private_room_of
from memory.stores.compiled import AGENT, PERSON, ROOM, sql_of, statement

EXACT_STEPS = ((200_000, 2000), (math.inf, 5000))
"""Of up to so many memories, all agents' together, so many visible ones are compared one by one."""
KNOWN_FOR_SECONDS = 300.0
"""So long a process keeps what it counted. Where much has come meanwhile, all of it is compared all the same, which
takes longer; where much has gone, the index brings too little, and it is counted anew."""

SIZE = """
WITH total AS MATERIALIZED (
    SELECT greatest(reltuples, 0) AS number, CASE {steps} END AS most
    FROM pg_class WHERE oid = 'memory_memory'::regclass
), {parts}
SELECT total.number, CASE {many} ELSE {sum} <= total.most END FROM total
"""
"""Counts each scope's memories up to one more than are compared one by one. It reads no memory's row, and may count
what was superseded, too: the agent's own, the person's, and the room's. Of these the next is counted only where those
before are few.
"""


@dataclass(frozen=True)
class Size:
    """How many memories there are in all, and whether what may be visible is little enough to be compared one by one.

    Unit: `total` in memories, all agents' together, as PostgreSQL estimates it.
    """

    total: float
    is_little: bool


_known: TTLCache[tuple[UUID, UUID | None, UUID | None], Size] = TTLCache(maxsize=16384, ttl=KNOWN_FOR_SECONDS)
_lock = threading.Lock()


def size_of(agent_id: UUID, room_id: UUID | None, person_id: UUID | None, *, is_anew: bool = False) -> Size:
    """Tell how much may be visible when this agent speaks there with this person; count it, if need be or if told to.

    Unit: up to KNOWN_FOR_SECONDS old.
    """
    place = agent_id, room_id, person_id
    with _lock:
        known = None if is_anew else _known.get(place)
    if known is not None:
        return known
    sql = _statement(EXACT_STEPS, room_id is not None, person_id is not None)
    with connection.cursor() as cursor:
        cursor.execute(sql, {"agent": agent_id, "room": room_id, "person": person_id})
        total, is_little = cursor.fetchone()
    with _lock:
        _known[place] = Size(total, is_little)
    return Size(total, is_little)


@functools.lru_cache(maxsize=16)
def _statement(exact_steps: tuple[tuple[float, int], ...], has_room: bool, has_person: bool) -> str:
    memories = Memory.objects.filter(agent_id=AGENT).order_by()
    counted = {"of_agent": (memories.filter(scope="agent").values("agent_id"), "count(*)")}
    if has_room and has_person:
        private = memories.filter(is_private_room_of(PERSON, ROOM), scope="person", person_id=PERSON)
        counted["of_person"] = (private.values("agent_id"), "count(*)")
    if has_room:
        # In a direct chat all is the person's: where the room has more than that, so has the person.
        own = "CASE WHEN count(*) > (SELECT most FROM total) THEN count(*) ELSE count(*) FILTER (WHERE scope = 'room')"
        own += " END"
        counted["of_room"] = (memories.filter(room_id=ROOM).values("agent_id", "scope"), own)
    parts = (
        f"{name} AS MATERIALIZED (SELECT {count} AS number"
        f" FROM ({sql_of(rows)} LIMIT (SELECT most + 1 FROM total)) AS part)"
        for name, (rows, count) in counted.items()
    )
    numbers = [f"(SELECT number FROM {name})" for name in counted]
    return statement(
        SIZE.format(
            steps=" ".join(
                f"WHEN {'true' if most == math.inf else f'reltuples <= {most}'} THEN {exact}"
                for most, exact in exact_steps
            ),
            parts=", ".join(parts),
            many=" ".join(f"WHEN {number} > total.most THEN false" for number in numbers),
            sum=" + ".join(numbers),
        )
    )
