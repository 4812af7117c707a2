"""Finds a person, and those merged into them: all of them are one. Exports and forgettings call it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet

from agents.models import Account, Participant, Person, Room
from memory.memories import scope_for

NAMED = 3
"""So many people of a name are shown, with so many accounts each."""


class UnknownPerson(LookupError):
    """Nobody is known by that; the text says so, and what to give instead."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Someone with all ids that stand for them, their own first."""

    person: Person
    ids: tuple[UUID, ...]


def get_family(reference: str) -> Family:
    """Return the person of this id or `network:account id`, and those merged into them.

    Raises: UnknownPerson.
    """
    person = _find_person(reference.strip())
    root = person.merged_into or person
    if root.forgotten_at is not None:
        raise UnknownPerson(f"{reference} is being forgotten.")
    return family_of(root)


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


def _find_person(reference: str) -> Person:
    people = Person.objects.select_related("merged_into")
    network, colon, account = reference.partition(":")
    if colon:
        found = people.filter(accounts__platform=network, accounts__external_id=account).first()
        if found is None:
            raise UnknownPerson(_no_account(network, account))
        return found
    try:
        found = people.filter(pk=UUID(reference)).first()
    except ValueError:
        raise UnknownPerson(_no_reference(reference)) from None
    if found is None:
        raise UnknownPerson(
            f"There is no person {reference}: the page of a person in the admin shows the id."
        )
    return found


def _no_reference(reference: str) -> str:
    """Tell who has this for a name. It is not enough to be found by: people choose their names, and others' too."""
    named = Person.objects.filter(name__iexact=reference, merged_into=None, forgotten_at=None).exclude(
        name=""
    )
    found = list(named.order_by("-created_at").prefetch_related("accounts")[: NAMED + 1])
    if not found:
        return f"{reference!r} is neither a person's id nor an account such as telegram:12345."
    shown = ", ".join(map(_shown, found[:NAMED])) + (" and more" if len(found) > NAMED else "")
    return (
        f"{reference!r} is a name, and anybody may take it: give the id or account of whom you mean: {shown}."
    )


def _shown(person: Person) -> str:
    accounts = ", ".join(
        f"{account.platform}:{account.external_id}" for account in person.accounts.all()[:NAMED]
    )
    return f"{person.pk} ({accounts})" if accounts else str(person.pk)


def _no_account(network: str, account: str) -> str:
    networks = sorted(set(Account.objects.order_by().values_list("platform", flat=True).distinct()))
    if network in networks:
        return f"Nobody has the account {account!r} on {network}."
    return f"Nobody has an account on {network!r}; people have accounts on: {', '.join(networks) or 'none'}."
