"""What every store does with 10,000 memories: all ways find, and nothing that is another room's."""

from __future__ import annotations

import random
from typing import Any

import pytest
from django.db import connection

from memory.embeddings import get_embedder
from memory.memories import remember
from memory.searches import find_near, find_recent
from memory.stores.postgres_words import forget_common_words

COUNT, BATCH = 10_000, 500
WORDS = (
    *("garden", "rain", "coffee", "train", "winter", "music", "bread", "river"),
    *("friend", "letter", "window", "night", "morning", "book", "city", "sea"),
)


@pytest.fixture
def many(scene: Any, settings: Any) -> Any:
    """10,000 sentences in the group, and one in Ann's own chat, with short vectors, which no index stands for."""
    settings.EMBEDDING_DIMENSIONS = 16
    embedder = get_embedder()
    source = random.Random(3)
    texts = [" ".join(source.choices(WORDS, k=7)) for _ in range(COUNT)]
    texts[COUNT // 2] = "an accordion in the attic"
    for start in range(0, COUNT, BATCH):
        batch = texts[start : start + BATCH]
        vectors = embedder.embed(batch)
        remember(
            [
                scene.draft(text, embedding=vector, embedding_model=embedder.name)
                for text, vector in zip(batch, vectors, strict=True)
            ]
        )
    remember([scene.draft("an accordion in the cellar", room_id=scene.dm_of_ann.id)])
    with connection.cursor() as cursor:
        # PostgreSQL's autovacuum sees nothing of a transaction that is open, and statistics tell which words are rare.
        cursor.execute("ANALYZE memory_memory")
    forget_common_words()
    return scene


def test_among_ten_thousand_the_one_is_found_by_every_way(many: Any) -> None:
    here = {"agent_id": many.agent.id, "room_id": many.group.id, "person_id": many.ann.id}
    (vector,) = get_embedder().embed(["an accordion in the attic"])
    (near, *_) = find_near(vector, threshold=0.9, limit=3, **here)
    for hit in (near, many.recall("accordions?")[0], many.recall_by_words("the accordion and the garden")[0]):
        assert hit.text == "an accordion in the attic"
    (alone,) = many.recall_by_words("accordion", room_id=many.dm_of_ann.id)
    assert alone.text == "an accordion in the cellar"
    assert len(find_recent(500, **here)) == 500
    both = many.recall_by_words("coffee river", limit=5)
    assert all({"coffee", "river"} <= set(hit.text.split()) for hit in both)
