"""A person and those merged into them: all of them are one. Exports and forgettings call it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet

from agents.models import Participant, Person, Room
from agents.people.finding import find_person
from memory.memories import scope_for


@dataclass(frozen=True, kw_only=True)
class Family:
    """Someone with all ids that stand for them, their own first."""

    person: Person
    ids: tuple[UUID, ...]


def get_family(reference: str) -> Family:
    """Return the person of this id or `network:account id`, and those merged into them.

    Raises: UnknownPerson.
    """
    return family_of(find_person(reference, by_name=False))


def family_of(root: Person) -> Family:
    """Return the person, for whom nobody else stands, with those merged into them."""
    merged = Person.objects.filter(merged_into=root).order_by("pk").values_list("pk", flat=True)
    return Family(person=root, ids=(root.pk, *merged))


PRIVATE_TYPES = tuple(type_ for type_ in Room.Type.values if scope_for(type_) == "person")


def private_rooms_of(ids: Collection[UUID]) -> QuerySet[Room]:
    """Return the rooms that are these people's alone: of a private type, with no other human in them."""
    others = Participant.objects.filter(room=OuterRef("pk"), person__is_bot=False).exclude(person__in=ids)
    mine = Participant.objects.filter(person__in=ids)
    return Room.objects.filter(~Exists(others), pk__in=mine.values("room"), type__in=PRIVATE_TYPES)
