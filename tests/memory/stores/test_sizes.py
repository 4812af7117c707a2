"""How much may be visible: counted in indexes alone, scope by scope, and known for a while."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memory.memories import remember
from memory.models import Memory
from memory.stores import sizes
from memory.stores.sizes import forget_sizes, is_little


@pytest.fixture(autouse=True)
def _nothing_is_known() -> None:
    forget_sizes()


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


def least(scene: Any, room: Any, person: Any) -> int:
    """Return with how many what is visible there is just little."""
    forget_sizes()
    room_id, person_id = room and room.pk, person and person.pk
    return next(most for most in range(20) if is_little(scene.agent.pk, room_id, person_id, most))


def test_each_place_counts_what_may_surface_there(three_each: Any) -> None:
    scene = three_each
    assert least(scene, None, None) == 3
    assert least(scene, scene.dm_of_ann, scene.ann) == 6
    assert least(scene, scene.group, scene.ann) == 6, (
        "what Ann said in private counts in her direct chat alone"
    )
    assert least(scene, scene.dm_of_ann, scene.bob) == 3
    assert least(scene, scene.group, None) == 6
    for room, person in ((scene.dm_of_ann, scene.ann), (scene.group, scene.bob)):
        visible = Memory.objects.visible_to(scene.agent.pk, room.pk, person.pk)
        assert least(scene, room, person) == visible.count()


def test_it_is_counted_once_for_a_place_and_again_after_a_while(
    three_each: Any,
) -> None:
    scene = three_each

    def ask(room: Any, most: int = 5) -> int:
        with CaptureQueriesContext(connection) as queries:
            is_little(scene.agent.pk, room.pk, scene.ann.pk, most)
        return len(queries)

    assert [ask(scene.group), ask(scene.group), ask(scene.dm_of_ann)] == [1, 0, 1]
    assert ask(scene.group, most=9) == 1
    sizes._known.expire(sizes._known.timer() + sizes.KNOWN_FOR_SECONDS - 1)
    assert ask(scene.group) == 0
    sizes._known.expire(sizes._known.timer() + sizes.KNOWN_FOR_SECONDS + 1)
    assert ask(scene.group) == 1


def test_what_comes_or_goes_meanwhile_changes_no_answer(
    three_each: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = three_each
    monkeypatch.setattr(sizes, "EXACT_STEPS", ((float("inf"), 6),))
    scene.recall("harbour", room_id=scene.group.pk)
    remember([scene.embedded(f"a harbour {number}", room_id=scene.group.pk) for number in range(9)])
    found = {hit.text for hit in scene.recall("harbour", room_id=scene.group.pk, limit=20)}
    assert {f"a harbour {number}" for number in range(9)} <= found, "more than are little, all compared"
    forget_sizes()
    scene.recall("harbour", room_id=scene.group.pk)
    Memory.objects.exclude(text="a harbour 4").delete()
    assert [hit.text for hit in scene.recall("harbour", room_id=scene.group.pk)] == ["a harbour 4"]
