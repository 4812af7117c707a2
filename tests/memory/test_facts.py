"""A fact is kept once, with the messages that it came from."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from memory.facts import remember_fact
from memory.models import Memory


def test_the_same_words_in_the_same_scope_are_the_same_fact(scene: Any) -> None:
    common = {"agent_id": scene.agent.id, "scope": "person", "said_at": scene.draft().said_at}
    message = uuid4()
    assert remember_fact(text="Ann likes tea.", person_id=scene.ann.id, source_messages=(message,), **common)
    assert not remember_fact(text="ann  likes TEA.", person_id=scene.ann.id, **common)
    assert remember_fact(text="Ann likes tea.", person_id=scene.bob.id, **common)
    fact = Memory.objects.get(person=scene.ann)
    assert (fact.kind, fact.source_messages) == ("fact", [str(message)])


def test_a_callers_own_key_decides(scene: Any) -> None:
    common = {"agent_id": scene.agent.id, "scope": "agent", "said_at": scene.draft().said_at}
    assert remember_fact(text="one", source_key="turn:1:0", **common)
    assert not remember_fact(text="two", source_key="turn:1:0", **common)
