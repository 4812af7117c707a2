"""Rooms and people are found by id, by their network's id and by name; what is not found says what to give."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest

from agents.inbox import receive
from agents.models import Person, Room
from agents.people.finding import UnknownPerson, UnknownRoom, find_person, find_room


@pytest.fixture
def met(incoming: Any) -> Any:
    """Ann in her own chat and in the group; who she was before, merged into her."""
    receipt = receive(incoming("hello", person="ann"))
    receive(incoming("hello", person="ann", room="42", room_type="GROUP"))
    Person.objects.create(name="Anna", merged_into_id=receipt.person_id)
    return receipt


def test_a_person_is_found_by_id_by_account_by_name_and_by_whom_they_were(met: Any) -> None:
    old = Person.objects.get(name="Anna")
    for reference in (str(met.person_id), "telegram:ann", " ANN ", str(old.pk)):
        assert find_person(reference).pk == met.person_id


def test_a_name_is_found_however_its_accents_were_sent(incoming: Any) -> None:
    receipt = receive(incoming("hello", person="zoé"))
    for reference in ("Zoé", "telegram:zoé"):
        assert find_person(unicodedata.normalize("NFD", reference)).pk == receipt.person_id
    for number in range(3):
        receive(incoming("hello", person=f"ann-{number}"))
    with pytest.raises(UnknownPerson, match="There are: Zoé"):
        find_person(unicodedata.normalize("NFD", "oé"))


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("Anna", r"There is no person 'Anna': .*, or a name\. There are: Ann\.$"),
        ("telegram:bob", r"Nobody has the account 'bob' on telegram\.$"),
        ("matrix:bob", r"Nobody has an account on 'matrix'; people have accounts on: .*telegram"),
        ("01990000-0000-7000-8000-000000000000", "There is no person 01990000-.*the admin shows the id"),
        ("", r"There is no person ''"),
    ],
)
def test_whoever_is_unknown_is_told_with_what_to_give(met: Any, reference: str, told: str) -> None:
    with pytest.raises(UnknownPerson, match=told):
        find_person(reference)


def test_a_name_is_enough_to_look_and_not_for_what_cannot_be_taken_back(met: Any) -> None:
    with pytest.raises(
        UnknownPerson, match=rf"is a name, and anybody may take it: .*{met.person_id} \(.*:ann\)"
    ):
        find_person("ann", by_name=False)
    with pytest.raises(UnknownPerson, match="'zoe' is neither a person's id nor an account"):
        find_person("zoe", by_name=False)
    for _more in range(4):
        Person.objects.create(name="Ann")
    with pytest.raises(UnknownPerson, match=r"'ann' is the name of several: .* and more"):
        find_person("ann")


def test_whoever_is_being_forgotten_is_not_found_by_any_name(met: Any) -> None:
    Person.objects.filter(pk=met.person_id).update(forgotten_at="2026-05-01T00:00:00Z")
    with pytest.raises(UnknownPerson, match="is being forgotten"):
        find_person("telegram:ann")
    with pytest.raises(UnknownPerson, match="There is no person 'ann'"):
        find_person("ann")


def test_a_room_is_found_by_id_by_its_networks_id_and_by_name(met: Any) -> None:
    room = Room.objects.get(external_id="42")
    Room.objects.filter(pk=room.pk).update(name="The attic")
    for reference in (str(room.pk), f"{room.platform}:42", " 42 ", "the ATTIC"):
        assert find_room(reference) == room
    with pytest.raises(UnknownRoom, match=r"There is no room 'atic': .*There are: The attic"):
        find_room("atic")
    Room.objects.create(platform="telegram", external_id="43", type="GROUP", name="Old attic")
    with pytest.raises(UnknownRoom, match=r"There are: Old attic, The attic\.$"):
        find_room("attic")
    Room.objects.update(name="The attic")
    with pytest.raises(UnknownRoom, match="Several rooms are called 'the attic'") as told:
        find_room("the attic")
    assert str(room.pk) in str(told.value)
