"""Finds the room or the person that somebody names from outside: a command, a form of the admin, a call of the API."""

from __future__ import annotations

import difflib
from typing import ClassVar, TypeVar
from uuid import UUID

from django.db.models import Model, Q, QuerySet

from agents.cleaning import clean_words, compose
from agents.models import Account, Person, Room

LOOKED_THROUGH, NAMED = 500, 3
"""So many of the newest names are looked through for those like an unknown one; so many of what may have been meant
are told, with so many accounts each."""
_Row = TypeVar("_Row", bound=Model)


class NotFound(LookupError):
    """Nothing has that name, or several have it; the text says what to give instead. `kind` is what was looked for."""

    kind: ClassVar[str]


class UnknownRoom(NotFound):
    """No room, or no one room, is called so."""

    kind = "room"


class UnknownPerson(NotFound):
    """No person, or no one person, is called so."""

    kind = "person"


def find_room(reference: str) -> Room:
    """Return the room of this id, of this `network:id` or id on its network, or of this name in any case.

    Raises: UnknownRoom.
    """
    reference = reference.strip()
    network, _, external_id = reference.partition(":")
    for way in (
        Q(pk=_uuid(reference)),
        Q(platform=network, external_id=external_id),
        Q(external_id=reference),
        Q(name__iexact=clean_words(reference)),
    ):
        found = list(Room.objects.filter(way)[: NAMED + 1])
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(str(room.pk) for room in found[:NAMED])
            raise UnknownRoom(f"Several rooms are called {reference!r}: say which by its id, such as {ids}.")
    like = _some_like(Room.objects.all(), reference)
    raise UnknownRoom(f"There is no room {reference!r}: give its id, its name, or network:id.{like}")


def find_person(reference: str, *, by_name: bool = True) -> Person:
    """Return the person of this id, of this `network:account id` or of this name; or whom they were merged into.

    A name is enough to look. For what can't be taken back it is not: people choose their names, and others' too.
    Raises: UnknownPerson.
    """
    reference = reference.strip()
    found = _by_id_or_account(reference)
    if found is not None:
        if found.forgotten_at is not None:
            raise UnknownPerson(f"{reference} is being forgotten.")
        return found
    named = list(
        _known_people()
        .filter(name__iexact=clean_words(reference))
        .order_by("-created_at")
        .prefetch_related("accounts")[: NAMED + 1]
    )
    if len(named) == 1 and by_name:
        return named[0]
    if named:
        why = "is a name, and anybody may take it" if len(named) == 1 else "is the name of several"
        shown = ", ".join(map(_shown, named[:NAMED])) + (" and more" if len(named) > NAMED else "")
        raise UnknownPerson(f"{reference!r} {why}: give the id or account of whom you mean: {shown}.")
    raise UnknownPerson(_why_unknown(reference, by_name=by_name))


def _by_id_or_account(reference: str) -> Person | None:
    network, is_account, account = reference.partition(":")
    way = (
        Q(accounts__platform=network, accounts__external_id=account) if is_account else Q(pk=_uuid(reference))
    )
    found = Person.objects.filter(way).select_related("merged_into").first()
    if found is None and is_account and (composed := compose(account)) != account:
        # `talk` composes the names by which it knows people; they may be typed otherwise.
        return _by_id_or_account(f"{network}:{composed}")
    return found and (found.merged_into or found)


def _known_people() -> QuerySet[Person, Person]:
    return Person.objects.filter(merged_into=None, forgotten_at=None).exclude(name="")


def _why_unknown(reference: str, *, by_name: bool) -> str:
    network, is_account, account = reference.partition(":")
    if is_account:
        return _no_account(network, account)
    if _uuid(reference):
        return f"There is no person {reference}: the page of a person in the admin shows the id."
    if not by_name:
        return f"{reference!r} is neither a person's id nor an account such as telegram:12345."
    return (
        f"There is no person {reference!r}: give an id, an account such as telegram:12345, or a name."
        f"{_some_like(_known_people(), reference)}"
    )


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _shown(person: Person) -> str:
    accounts = ", ".join(
        f"{account.platform}:{account.external_id}" for account in person.accounts.all()[:NAMED]
    )
    return f"{person.pk} ({accounts})" if accounts else str(person.pk)


def _some_like(rows: QuerySet[_Row, _Row], name: str) -> str:
    """Name a few that may have been meant: whose names are like it, else the newest."""
    newest = rows.exclude(name="").order_by("-pk").values_list("name", flat=True)[:LOOKED_THROUGH]
    names = {each.casefold(): each for each in newest}
    sought = clean_words(name).casefold()
    like = [key for key in names if sought in key] or difflib.get_close_matches(sought, names)
    shown = [names[key] for key in (like or list(names))[:NAMED]]
    more = " and more" if len(names) > len(shown) else ""
    return f" There are: {', '.join(shown)}{more}." if shown else ""


def _no_account(network: str, account: str) -> str:
    networks = sorted(set(Account.objects.order_by().values_list("platform", flat=True).distinct()))
    if network in networks:
        return f"Nobody has the account {account!r} on {network}."
    return f"Nobody has an account on {network!r}; people have accounts on: {', '.join(networks) or 'none'}."
