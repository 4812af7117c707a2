"""Keeping: one statement, once for each source, and nothing that breaks the caller's transaction."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memory.memories import remember, scope_for
from memory.models import Memory
from memory.vectors import UnexpectedVectorSize


def test_many_drafts_are_kept_by_one_statement(scene: Any) -> None:
    message = uuid4()
    drafts = [scene.embedded(f"text {number}", source_messages=(message,)) for number in range(3)]
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert remember([*drafts, scene.draft("without a vector")]) == 4
    assert len(queries) == 1
    kept = Memory.objects.get(text="text 1")
    assert kept.source_messages == [str(message)]
    assert kept.embedding_model == "hashed-384"
    assert kept.embedding == pytest.approx(drafts[1].embedding, abs=1e-6)
    assert Memory.objects.get(text="without a vector").embedding is None


def test_no_drafts_cost_no_statement(scene: Any) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert remember([]) == 0
    assert len(queries) == 0


def test_the_same_source_is_kept_once_for_each_agent(scene: Any) -> None:
    other = scene.make_agent()
    draft = scene.draft(source_key="message:1")
    assert remember([draft, draft]) == 1
    assert remember([draft]) == 0
    assert remember([scene.draft(source_key="message:1", agent_id=other.id)]) == 1
    assert remember([scene.draft(), scene.draft()]) == 2


def test_what_postgresql_refuses_is_cleaned(scene: Any) -> None:
    assert remember([scene.draft("a\x00b \ud83d c", speaker="x" * 300, importance=7.0)]) == 1
    kept = Memory.objects.get()
    assert kept.text == "ab ? c"
    assert (len(kept.speaker), kept.importance) == (200, 1.0)


def test_a_vector_of_another_size_is_refused_before_anything_is_sent(scene: Any) -> None:
    with CaptureQueriesContext(connection) as queries, pytest.raises(UnexpectedVectorSize, match="384"):
        remember([scene.draft(embedding=[1.0, 0.0], embedding_model="small")])
    with pytest.raises(ValueError, match="model's name"):
        remember([scene.draft(embedding=[0.0] * 384)])
    with pytest.raises(ValueError, match="source key"):
        remember([scene.draft(source_key="k" * 121)])
    assert len(queries) == 0


@pytest.mark.parametrize(
    ("room_type", "scope"),
    [
        *[(name, "person") for name in ("DM", "API", "SELF", "VOICE_DM")],
        *[(name, "room") for name in ("GROUP", "THREAD", "FEED", "VOICE_GROUP", "another")],
    ],
)
def test_what_is_said_in_private_is_the_persons(room_type: str, scope: str) -> None:
    assert scope_for(room_type) == scope
