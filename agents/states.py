"""What plugins keep: read for a turn, written with the step that changed it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q

from plugins.api import JSONObject, SetPluginState
from plugins.models import PluginState


def plugin_states_for(agent_id: UUID, room_id: UUID, person_id: UUID | None) -> dict[str, JSONObject]:
    """Return each plugin's state for the turn, the agent's own first, then the room's, then the person's.

    Another person's state and another room's are never read.
    """
    in_scope = Q(room__isnull=True, person__isnull=True) | Q(room_id=room_id, person__isnull=True)
    if person_id is not None:
        in_scope |= Q(room__isnull=True, person_id=person_id)
    rows = PluginState.objects.filter(in_scope, agent_id=agent_id)
    merged: dict[str, JSONObject] = {}
    for row in sorted(rows, key=lambda row: (row.room_id is not None) + 2 * (row.person_id is not None)):
        merged[row.plugin] = {**merged.get(row.plugin, {}), **row.state}
    return merged


def keep_plugin_state(
    plugin: str, effect: SetPluginState, *, agent_id: UUID, room_id: UUID | None, person_id: UUID | None
) -> None:
    """Replace the plugin's state of the effect's scope."""
    scope: dict[str, Any] = {
        "room_id": room_id if effect.scope == "room" else None,
        "person_id": person_id if effect.scope == "person" else None,
    }
    PluginState.objects.update_or_create(
        agent_id=agent_id, plugin=plugin, **scope, defaults={"state": dict(effect.state)}
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
