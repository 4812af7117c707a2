"""Whom an export is about, and where they were: what all of its sections ask for."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from agents.models import Account, Message, Person
from agents.people.families import Family, private_rooms_of


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The person, with those merged into them, their accounts, and the rooms that are theirs alone."""

    person: Person
    ids: tuple[UUID, ...]
    names: frozenset[str]
    accounts: tuple[tuple[str, str], ...]
    private_rooms: frozenset[UUID]

    def own_messages(self, ids: set[str]) -> set[str]:
        """Return which of these are ids of messages that the person said."""
        wanted = [id for id in map(_uuid, ids) if id is not None]
        said = Message.objects.filter(pk__in=wanted, person__in=self.ids, direction=Message.Direction.IN)
        return {str(id) for id in said.values_list("pk", flat=True)} if wanted else set()


def subject_of(family: Family) -> Subject:
    """Read what there is, within the export's snapshot."""
    accounts = Account.objects.filter(person__in=family.ids).order_by("pk")
    return Subject(
        person=family.person,
        ids=family.ids,
        names=frozenset(Person.objects.filter(pk__in=family.ids).values_list("name", flat=True)),
        accounts=tuple(accounts.values_list("platform", "external_id")),
        private_rooms=frozenset(private_rooms_of(family.ids).values_list("pk", flat=True)),
    )


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
