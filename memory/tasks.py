"""Celery's door to memory."""

from __future__ import annotations

import time

from celery import shared_task

from memory.writes import WAKE_SECONDS, embed_pending


@shared_task(name="memory.embed_memories")
def embed_memories(*, after_seconds: float = 0.0) -> int:
    """Give vectors to the memories that wait for one, after letting more of them gather."""
    time.sleep(min(max(after_seconds, 0.0), WAKE_SECONDS))
    return embed_pending()
