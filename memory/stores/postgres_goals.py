"""Goals from PostgreSQL, behind the second wall."""

from __future__ import annotations

import json
from collections.abc import Sequence
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from memory.models import Goal
from plugins.api import GoalView

READ = "SELECT id, name, status, objectives::text FROM memory_read_goals(ARRAY({ids}), %s, %s, %s::uuid[])"


def read_goals(
    goals: QuerySet[Goal, Goal], *, agent_id: UUID, room_id: UUID | None, people: Sequence[UUID | None]
) -> list[GoalView]:
    """Read those of the goals that may be spoken of in the room with any of the people, oldest first.

    One statement: what the query finds, the wall reads, or keeps to itself.
    """
    ids, parameters = goals.order_by().values("pk").query.sql_with_params()
    present = [one for one in people if one is not None]
    with connection.cursor() as cursor:
        cursor.execute(READ.format(ids=ids), [*parameters, agent_id, room_id, present])
        return [
            GoalView(
                id=id,
                name=name,
                status=status,
                objectives=tuple(
                    (description, is_done) for description, is_done in json.loads(objectives or "[]")
                ),
            )
            for id, name, status, objectives in cursor.fetchall()
        ]
