"""A person is found by id or account, and stands with those merged into them."""

from __future__ import annotations

from typing import Any

import pytest

from agents.inbox import receive
from agents.models import Person, Room
from agents.people.families import get_family, private_rooms_of
from agents.people.finding import UnknownPerson


def test_by_id_by_account_and_by_whoever_was_merged(incoming: Any) -> None:
    ann = receive(incoming("hello", person="user:7")).person_id
    old = Person.objects.create(name="Anna", merged_into_id=ann)
    for reference in (str(ann), str(old.pk), "telegram:user:7", f" {str(ann).upper()} "):
        family = get_family(reference)
        assert (family.person.pk, family.ids) == (ann, (ann, old.pk))


def test_whoever_is_being_forgotten_is_not_found(incoming: Any) -> None:
    ann = receive(incoming("hello")).person_id
    Person.objects.filter(pk=ann).update(forgotten_at="2026-05-01T00:00:00Z")
    with pytest.raises(UnknownPerson, match="is being forgotten"):
        get_family(str(ann))


def test_private_are_rooms_of_a_private_type_without_another_human(incoming: Any) -> None:
    for name in ("ann", "bob"):
        receive(incoming("hello", person=name))
        receive(incoming("hello", person=name, room="two", room_type="DM"))
    ann = receive(incoming("hello", person="ann", room="alone", room_type="GROUP")).person_id
    receive(incoming("hello", person="ann", room="bot", room_type="API"))
    receive(incoming("beep", person="beep", room="bot", room_type="API", is_bot=True))
    rooms = set(private_rooms_of([ann]).values_list("external_id", flat=True))
    assert rooms == {"dm-ann", "bot"}
    bob = Person.objects.get(name="Bob").pk
    assert "two" in set(private_rooms_of([ann, bob]).values_list("external_id", flat=True))
    assert Room.objects.count() == 5
