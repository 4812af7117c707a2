"""What every store lets surface, and where: never beyond its scope, by whatever way it is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from memory.memories import remember
from memory.models import Memory
from memory.people import merge_person
from memory.searches import find_near, find_recent

Ask = Callable[..., set[str]]


@pytest.fixture(params=["both", "words", "vector", "recent", "date"])
def way(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def ask(way: str, scene: Any) -> Ask:
    """Ask for the secret, by each of the ways."""

    def ask(room: Any, person: Any, agent: Any = None) -> set[str]:
        where = {
            "agent_id": (agent or scene.agent).id,
            "room_id": room and room.id,
            "person_id": person and person.id,
        }
        if way == "vector":
            (vector,) = scene.embedder.embed(["the secret"])
            hits: Any = find_near(vector, threshold=-1.0, limit=50, **where)
        elif way == "recent":
            hits = find_recent(50, **where)
        else:
            text = "the secret" if way != "date" else "zzz on 1 May 2026"
            hits = (scene.recall if way == "both" else scene.recall_by_words)(text, limit=50, **where)
        return {hit.text for hit in hits}

    return ask


def keep(scene: Any, text: str, **changes: Any) -> None:
    remember([scene.embedded(f"the secret {text}", **changes)])


def test_what_is_a_rooms_stays_in_it(scene: Any, ask: Ask) -> None:
    keep(scene, "of the group")
    assert ask(scene.group, scene.ann) == ask(scene.group, scene.bob) == {"the secret of the group"}
    assert ask(scene.group, None) == {"the secret of the group"}
    assert ask(scene.dm_of_ann, scene.ann) == ask(None, scene.ann) == set()
    assert ask(scene.group, scene.ann, scene.make_agent()) == set()


def test_what_is_a_persons_surfaces_in_their_private_rooms_alone(scene: Any, way: str, ask: Ask) -> None:
    voice = scene.make_room("VOICE_DM", scene.ann)
    shared = scene.make_room("DM", scene.ann, scene.bob)
    keep(scene, "of Ann", scope="person", room_id=scene.dm_of_ann.id)
    seen = {
        (room.id, person and person.id)
        for room in (scene.dm_of_ann, scene.dm_of_bob, scene.group, voice, shared)
        for person in (scene.ann, scene.bob, None)
        if ask(room, person)
    }
    allowed = {(scene.dm_of_ann.id, scene.ann.id), (voice.id, scene.ann.id)}
    # A date asks for what was said in that very room.
    assert seen == (allowed if way != "date" else {(scene.dm_of_ann.id, scene.ann.id)})
    assert ask(None, scene.ann) == set()


def test_what_is_the_agents_goes_everywhere_and_what_is_nobodys_nowhere(
    scene: Any, way: str, ask: Ask
) -> None:
    keep(scene, "of the agent", scope="agent", room_id=scene.dm_of_bob.id, person_id=scene.bob.id)
    keep(scene, "of nobody", scope="nobody")
    assert ask(scene.dm_of_bob, scene.bob) == {"the secret of the agent"}
    for room, person in ((scene.group, scene.ann), (scene.dm_of_ann, scene.ann), (None, None)):
        assert ask(room, person) == ({"the secret of the agent"} if way != "date" else set())
    assert ask(scene.group, scene.ann, scene.make_agent()) == set()


def test_what_was_superseded_never_comes_again(scene: Any, ask: Ask) -> None:
    keep(scene, "of old")
    keep(scene, "of today")
    old, new = (Memory.objects.get(text=f"the secret {when}") for when in ("of old", "of today"))
    Memory.objects.filter(pk=old.pk).update(superseded_by=new)
    assert ask(scene.group, scene.ann) == {"the secret of today"}


def test_what_was_said_by_a_merged_person_is_the_others(scene: Any, ask: Ask) -> None:
    keep(scene, "of Ann", scope="person", room_id=scene.dm_of_ann.id)
    scene.ann.merged_into = scene.bob
    scene.ann.save()
    merge_person(scene.ann.id, scene.bob.id)
    assert ask(scene.dm_of_ann, scene.bob) == {"the secret of Ann"}
    assert ask(scene.group, scene.bob) == set()
