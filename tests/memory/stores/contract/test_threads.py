"""What every store does for many threads at once: nobody is refused, nothing is lost, and all of it is found."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from memory.memories import remember
from memory.models import Memory
from memory.relationships import relate, relationships_of

THREADS, EACH = 6, 15


@pytest.mark.django_db(transaction=True)
def test_writers_and_readers_wait_for_each_other_and_nothing_is_lost(scene: Any) -> None:
    def work(thread: int) -> int:
        try:
            for number in range(EACH):
                remember([scene.embedded(f"tea {thread} {number}", source_key=f"{thread}:{number % 10}")])
                relate(
                    agent_id=scene.agent.id,
                    user_a_id=scene.ann.id,
                    user_b_id=scene.bob.id,
                    relationship_type="friend",
                    strength_change=0.001,
                )
                assert scene.recall("tea", limit=5)
            return thread
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        assert sorted(pool.map(work, range(THREADS))) == list(range(THREADS))
    assert Memory.objects.count() == THREADS * 10
    assert len(scene.recall_by_words("tea", limit=100)) == THREADS * 10
    (friend,) = relationships_of(scene.ann.id, agent_id=scene.agent.id)
    assert friend.strength == pytest.approx(THREADS * EACH * 0.001)
