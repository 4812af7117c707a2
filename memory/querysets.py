"""Questions that are asked of memories and goals; `memory.models` hangs them on its tables.

What may surface where is decided here and nowhere else, by `visible_to`.
"""

from __future__ import annotations

import json
import operator
from functools import reduce
from typing import Any, TypeVar
from uuid import UUID

from django.apps import apps
from django.db.models import BooleanField, Case, Exists, JSONField, Model, Q, QuerySet, Value, When
from django.db.models.expressions import Combinable
from django.db.models.fields.json import HasAnyKeys

_Row = TypeVar("_Row", bound=Model, covariant=True)

# The rooms that are one person's alone, as elizaOS' channel types.
PRIVATE_ROOM_TYPES = ("API", "DM", "SELF", "VOICE_DM")


def is_private_room_of(person_id: UUID, room_id: UUID) -> Combinable:
    """Ask whether the room is of a private type, and no other human takes part in it."""
    rooms: QuerySet[Any] = apps.get_model("agents", "Room")._default_manager.all()
    participants: QuerySet[Any] = apps.get_model("agents", "Participant")._default_manager.all()
    others = participants.filter(room_id=room_id, person__is_bot=False).exclude(
        Q(person_id=person_id) | Q(person__merged_into_id=person_id)
    )
    return Exists(rooms.filter(~Exists(others), id=room_id, type__in=PRIVATE_ROOM_TYPES))


def _scopes(room_id: UUID | None, person_id: UUID | None) -> list[Q]:
    """Return what may surface there, scope by scope; of one memory at most one of them holds."""
    scopes = [Q(scope="agent")]
    if room_id is not None:
        scopes.append(Q(scope="room", room_id=room_id))
    if room_id is not None and person_id is not None:
        scopes.append(Q(is_private_room_of(person_id, room_id), scope="person", person_id=person_id))
    return scopes


def _may_surface(agent_id: UUID, room_id: UUID | None, person_id: UUID | None) -> Q:
    within = reduce(operator.or_, _scopes(room_id, person_id))
    return Q(within, agent_id=agent_id, superseded_by=None)


@JSONField.register_lookup
class HasAnyItem(HasAnyKeys):
    """Ask whether a list has any of these texts. Django asks SQLite for keys of an object alone."""

    lookup_name = "has_any_item"

    def as_sqlite(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """Return the condition in SQLite's words."""
        column, values = self.process_lhs(compiler, connection)
        items = json.dumps(list(self.rhs))
        condition = (
            f"EXISTS (SELECT 1 FROM json_each({column}) AS item"  # noqa: S608
            " WHERE item.value IN (SELECT value FROM json_each(%s)))"
        )
        return condition, (*values, items)


class MemoryQuerySet(QuerySet[_Row, _Row]):
    """Questions about memories."""

    def visible_to(
        self, agent_id: UUID, room_id: UUID | None, person_id: UUID | None
    ) -> MemoryQuerySet[_Row]:
        """Keep what may surface when this agent speaks in this room with this person.

        What is scoped to a room stays in it. What is scoped to a person surfaces in that person's private
        rooms only. What is scoped to the agent surfaces wherever it speaks. What was superseded never does.
        """
        return self.filter(_may_surface(agent_id, room_id, person_id))

    def visible_by_scope(
        self, agent_id: UUID, room_id: UUID | None, person_id: UUID | None
    ) -> list[MemoryQuerySet[_Row]]:
        """Keep the same as `visible_to`, each scope apart, and none twice.

        For statements over much: of what is not private here, PostgreSQL then reads nothing. In one condition it
        would go through all that the person ever said in private, and keep none of it.
        """
        kept = self.filter(agent_id=agent_id, superseded_by=None)
        return [kept.filter(scope) for scope in _scopes(room_id, person_id)]

    def visible_among(
        self, agent_id: UUID, room_id: UUID | None, person_id: UUID | None
    ) -> MemoryQuerySet[_Row]:
        """Keep the same as `visible_to`, in a form that no index answers.

        For rows that are found by other means: PostgreSQL then asks it of each of them, and never goes through
        all that is visible instead.
        """
        may_surface = Case(
            When(_may_surface(agent_id, room_id, person_id), then=Value(True)),
            default=Value(False),
            output_field=BooleanField(),
        )
        return self.filter(may_surface)

    def not_from_messages(self, message_ids: list[str]) -> MemoryQuerySet[_Row]:
        """Leave out the memories that are these messages; what was learnt from them stays."""
        return self.exclude(kind="message", source_messages__has_any_item=message_ids)

    def unembedded(self, column: str = "embedding") -> MemoryQuerySet[_Row]:
        """Keep what has a text and no vector yet in this column."""
        return self.filter(**{column: None}).exclude(text="")


class GoalQuerySet(QuerySet[_Row, _Row]):
    """Questions about goals."""

    def active(self) -> GoalQuerySet[_Row]:
        """Keep what is still pursued."""
        return self.filter(status="active")

    def visible_to(self, agent_id: UUID, room_id: UUID | None, person_id: UUID | None) -> GoalQuerySet[_Row]:
        """Keep the goals that may be spoken of when this agent speaks in this room with this person.

        A goal of a room stays in it, a goal of a person in that person's private rooms; one of both needs the
        room and the person; one of neither is the agent's own, and goes everywhere.
        """
        within = Q(room=None, person=None)
        if room_id is not None:
            within |= Q(room_id=room_id, person=None)
        if room_id is not None and person_id is not None:
            within |= Q(room_id=room_id, person_id=person_id)
            within |= Q(is_private_room_of(person_id, room_id), room=None, person_id=person_id)
        return self.filter(within, agent_id=agent_id)
