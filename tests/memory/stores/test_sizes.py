"""How much may be visible: counted in indexes alone, scope by scope, and known for a while."""

from __future__ import annotations

import math
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memory.memories import remember
from memory.models import Memory
from memory.stores import sizes
from memory.stores.sizes import Size, size_of


@pytest.fixture(autouse=True)
def _nothing_is_known() -> None:
    sizes._known.clear()


@pytest.fixture
def three_each(scene: Any) -> Any:
    """Three memories of each kind of place: everywhere, Ann's direct chat, the group."""
    person = {"scope": "person", "person_id": scene.ann.pk, "room_id": scene.dm_of_ann.pk}
    group = {"scope": "room", "room_id": scene.group.pk}
    remember(
        [
            scene.draft(f"{number}", **place)
            for number in range(3)
            for place in ({"scope": "agent", "room_id": None}, person, group)
        ]
    )
    return scene


def steps(most: int) -> tuple[tuple[float, int], ...]:
    return ((math.inf, most),)


def least(scene: Any, monkeypatch: pytest.MonkeyPatch, room: Any, person: Any) -> int:
    """Return with how many what is visible there is just little."""
    place = scene.agent.pk, room and room.pk, person and person.pk
    for most in range(20):
        monkeypatch.setattr(sizes, "EXACT_STEPS", steps(most))
        if size_of(*place, is_anew=True).is_little:
            return most
    raise AssertionError("more than twenty")


def test_each_place_counts_what_may_surface_there(three_each: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = three_each

    def least_in(room: Any, person: Any) -> int:
        return least(scene, monkeypatch, room, person)

    assert least_in(None, None) == 3
    assert least_in(scene.dm_of_ann, scene.ann) == 6
    assert least_in(scene.group, scene.ann) == 6, "what Ann said in private counts in her direct chat alone"
    assert least_in(scene.dm_of_ann, scene.bob) == 3
    assert least_in(scene.group, None) == 6
    for room, person in ((scene.dm_of_ann, scene.ann), (scene.group, scene.bob)):
        visible = Memory.objects.visible_to(scene.agent.pk, room.pk, person.pk)
        assert least_in(room, person) == visible.count()


def test_it_is_counted_once_for_a_place_and_again_after_a_while(three_each: Any) -> None:
    scene = three_each

    def ask(room: Any) -> int:
        with CaptureQueriesContext(connection) as queries:
            size_of(scene.agent.pk, room.pk, scene.ann.pk)
        return len(queries)

    assert [ask(scene.group), ask(scene.group), ask(scene.dm_of_ann)] == [1, 0, 1]
    sizes._known.expire(sizes._known.timer() + sizes.KNOWN_FOR_SECONDS - 1)
    assert ask(scene.group) == 0
    sizes._known.expire(sizes._known.timer() + sizes.KNOWN_FOR_SECONDS + 1)
    assert ask(scene.group) == 1


def test_what_comes_meanwhile_is_found_however_much_it_is(
    three_each: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = three_each
    monkeypatch.setattr(sizes, "EXACT_STEPS", steps(6))
    scene.recall("harbour", room_id=scene.group.pk)
    remember([scene.embedded(f"a harbour {number}", room_id=scene.group.pk) for number in range(9)])
    place = scene.agent.pk, scene.group.pk, scene.ann.pk
    assert sizes._known[place].is_little, "as it was counted"
    found = {hit.text for hit in scene.recall("harbour", room_id=scene.group.pk, limit=20)}
    assert {f"a harbour {number}" for number in range(9)} <= found
    assert not size_of(*place, is_anew=True).is_little
    assert not size_of(*place).is_little


def test_how_many_are_little_and_how_many_there_are_hangs_on_the_table(
    three_each: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = three_each
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE memory_memory")
        cursor.execute("SELECT reltuples FROM pg_class WHERE oid = 'memory_memory'::regclass")
        total = cursor.fetchone()[0]
    place = scene.agent.pk, scene.group.pk, scene.ann.pk
    assert size_of(*place) == Size(total, True)
    monkeypatch.setattr(sizes, "EXACT_STEPS", ((total, 5), (math.inf, 6)))
    assert not size_of(*place, is_anew=True).is_little
    monkeypatch.setattr(sizes, "EXACT_STEPS", ((total - 1, 5), (math.inf, 6)))
    assert size_of(*place, is_anew=True).is_little
