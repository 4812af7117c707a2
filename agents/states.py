"""What plugins keep: read for a turn, written with the step that changed it."""

from __future__ import annotations

import json
from uuid import UUID

from django.db import connection
from django.db.models import F, Q, Subquery
from django.db.models.functions import Coalesce
from uuid_utils.compat import uuid7

from agents.models import Person
from plugins.api import JSONObject, SetPluginState
from plugins.models import PluginState


class NoSuchScope(Exception):
    """A plugin keeps something for a person or a room where there is none."""


def plugin_states_for(agent_id: UUID, room_id: UUID, person_id: UUID | None) -> dict[str, JSONObject]:
    """Return each plugin's state for the turn, the agent's own first, then the room's, then the person's.

    Another person's state and another room's are never read. A person who was merged has what the other has.
    """
    in_scope = Q(room__isnull=True, person__isnull=True) | Q(room_id=room_id, person__isnull=True)
    if person_id is not None:
        stands_for = Person.objects.filter(pk=person_id).values(whom=Coalesce(F("merged_into_id"), F("pk")))
        in_scope |= Q(room__isnull=True, person_id=Subquery(stands_for))
    rows = PluginState.objects.filter(in_scope, agent_id=agent_id)
    merged: dict[str, JSONObject] = {}
    for row in sorted(rows, key=lambda row: (row.room_id is not None) + 2 * (row.person_id is not None)):
        merged[row.plugin] = {**merged.get(row.plugin, {}), **row.state}
    return merged


KEEP = """
INSERT INTO plugins_pluginstate (id, plugin, agent_id, room_id, person_id, state, updated_at)
VALUES (%(id)s, %(plugin)s, %(agent)s, %(room)s,
        coalesce((SELECT merged_into_id FROM agents_person WHERE id = %(person)s), %(person)s::uuid),
        %(state)s::jsonb, clock_timestamp())
ON CONFLICT (agent_id, plugin, room_id, person_id)
DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at
"""
"""A person who was merged meanwhile keeps it under the name of the one that stands for both."""


def keep_plugin_state(
    plugin: str, effect: SetPluginState, *, agent_id: UUID, room_id: UUID | None, person_id: UUID | None
) -> None:
    """Replace the plugin's state of the effect's scope.

    Raises: NoSuchScope where the scope is a person's or a room's, and there is none: it would be everybody's.
    """
    of_room = room_id if effect.scope == "room" else None
    of_person = person_id if effect.scope == "person" else None
    if effect.scope != "agent" and of_room is None and of_person is None:
        raise NoSuchScope(
            f"The plugin {plugin} keeps a state for the {effect.scope}, but there is none here: "
            'say SetPluginState(scope="agent") for what is the agent\'s own.'
        )
    with connection.cursor() as cursor:
        cursor.execute(
            KEEP,
            {
                "id": uuid7(),
                "plugin": plugin,
                "agent": agent_id,
                "room": of_room,
                "person": of_person,
                "state": json.dumps(dict(effect.state)),
            },
        )


MERGE = (
    """
    UPDATE plugins_pluginstate AS kept SET state = gone.state || kept.state
    FROM plugins_pluginstate AS gone
    WHERE gone.person_id = %(person)s AND kept.person_id = %(into)s AND kept.agent_id = gone.agent_id
      AND kept.plugin = gone.plugin AND kept.room_id IS NOT DISTINCT FROM gone.room_id
    """,
    """
    DELETE FROM plugins_pluginstate AS gone USING plugins_pluginstate AS kept
    WHERE gone.person_id = %(person)s AND kept.person_id = %(into)s AND kept.agent_id = gone.agent_id
      AND kept.plugin = gone.plugin AND kept.room_id IS NOT DISTINCT FROM gone.room_id
    """,
    "UPDATE plugins_pluginstate SET person_id = %(into)s WHERE person_id = %(person)s",
)


def merge_plugin_states(person_id: UUID, into_id: UUID) -> None:
    """Make the other person's what plugins keep of this one; where both have a value, the other's stands."""
    with connection.cursor() as cursor:
        for statement in MERGE:
            cursor.execute(statement, {"person": person_id, "into": into_id})
