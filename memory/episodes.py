"""Episodes: what a conversation was and how it ended, and the summary of the one that goes on.

`agents.learning.reflection` calls it in the transaction that ends a look, with what an evaluator made of it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from uuid import UUID

from django.conf import settings
from uuid_utils.compat import uuid7

from memory.conversations import Episode, Look
from memory.fact_rows import Place
from memory.memories import MemoryDraft, remember, storable
from memory.models import Episode as EpisodeRow
from memory.models import Memory

SUMMARY_MAX, OUTCOME_MAX = 1000, 300


@dataclass(frozen=True, kw_only=True)
class Heard:
    """The messages of people that a look has seen: their number, the span, and who spoke."""

    count: int = 0
    first: UUID | None = None
    began_at: dt.datetime | None = None
    last: UUID | None = None
    ended_at: dt.datetime | None = None
    people: tuple[UUID, ...] = ()


def is_closing(look: Look, heard: Heard, *, is_all: bool) -> bool:
    """Tell whether the episode ends with this look: because of a pause, or as it is long enough.

    `is_all` tells whether the look saw all of its messages: what is left of them belongs to the episode.
    """
    is_open = look.episode.first is not None or heard.count > 0
    is_long = look.episode.count + heard.count >= settings.EPISODE_MESSAGES
    return is_open and (is_long or (look.is_paused and is_all))


def go_on(episode: Episode, heard: Heard, *, summary: str, outcome: str) -> Episode:
    """Return the episode with what was heard in it; an empty summary or outcome leaves what is known."""
    return replace(
        episode,
        first=episode.first or heard.first,
        began_at=episode.began_at or heard.began_at,
        count=episode.count + heard.count,
        people=tuple(dict.fromkeys((*episode.people, *heard.people))),
        summary=storable(summary.strip())[:SUMMARY_MAX] or episode.summary,
        outcome=storable(outcome.strip())[:OUTCOME_MAX] or episode.outcome,
    )


def closed(episode: Episode) -> Episode:
    """Return what stays of an episode that ends: its summary, as what was said earlier."""
    return Episode(earlier=episode.summary or episode.earlier)


def keep_episode(place: Place, episode: Episode, *, last: UUID, ended_at: dt.datetime, speaker: str) -> bool:
    """Keep an episode that has ended as a memory, once, and tell whether it was new.

    One without a summary leaves no memory: nothing is known of it.
    """
    if episode.first is None or not episode.summary:
        return False
    id = uuid7()
    text = f"{episode.summary} Outcome: {episode.outcome}" if episode.outcome else episode.summary
    draft = MemoryDraft(
        id=id,
        agent_id=place.agent_id,
        kind=Memory.Kind.EPISODE.value,
        scope=place.scope,
        text=text,
        said_at=ended_at,
        person_id=place.person_id if place.scope == Memory.Scope.PERSON else None,
        room_id=place.room_id,
        speaker=speaker,
        source_messages=list(dict.fromkeys((episode.first, last))),
        source_key=f"episode:{place.room_id}:{episode.first}",
    )
    if not remember([draft]):
        return False
    EpisodeRow.objects.create(
        memory_id=id,
        first_message=episode.first,
        last_message=last,
        began_at=episode.began_at or ended_at,
        ended_at=ended_at,
        message_count=episode.count,
        participants=[str(person) for person in episode.people],
        outcome=episode.outcome,
    )
    return True
