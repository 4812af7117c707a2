"""Two vector spaces compared by what they recall of the same questions, before anybody switches.

The command `reembed_memories --compare` calls it. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from agents.models import Message
from memory.embeddings import get_embedder
from memory.embeddings.spaces import Space, find_other_space, used_space
from memory.retrieval import RecallQuery, recall
from memory.vector_spaces.changes import progress
from plugins.api import RecalledMemory

COMPARED = 10
"""So many hits of each question are compared."""
SHORTEST_CHARACTERS = 8
"""Of "yes" and "hello" both recall anything."""
READ_FOR_ONE = 4
"""So many messages are read for each question, as people repeat themselves."""

Told = Callable[[int, int], None]


class CannotCompare(Exception):
    """There is nothing to compare; the text says why, and the cure."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A question of which the spaces recall different memories first. `overlap` counts those that both have."""

    question: str
    used: tuple[str, ...]
    other: tuple[str, ...]
    overlap: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What came of it; `missing` memories have no vector of the other space yet.

    Unit: `overlap` from 0 to 1, over all questions of which anything was recalled.
    """

    used: str
    other: str
    questions: int
    overlap: float
    same_first: int
    missing: int
    differences: tuple[Difference, ...] = field(default=())


def compare(sample: int, *, told: Told = lambda _done, _total: None) -> Comparison:
    """Recall the newest messages of people by both spaces, as a turn would, and tell how far they agree.

    Raises: CannotCompare.
    """
    used, other = used_space(), find_other_space()
    if other is None:
        raise CannotCompare("There is no other space to compare: begin one with --model.")
    messages = _questions(sample)
    if not messages:
        raise CannotCompare("Nobody said anything yet that could be asked.")
    overlap, same_first, asked = 0.0, 0, 0
    differences: list[Difference] = []
    for number, message in enumerate(messages, start=1):
        first, second = _recalled(message, used), _recalled(message, other)
        told(number, len(messages))
        if not first and not second:
            continue
        asked += 1
        common = len({hit.id for hit in first} & {hit.id for hit in second})
        overlap += common / max(len(first), len(second))
        if first and second and first[0].id == second[0].id:
            same_first += 1
        else:
            differences.append(
                Difference(
                    question=message.text,
                    used=tuple(hit.text for hit in first),
                    other=tuple(hit.text for hit in second),
                    overlap=common,
                )
            )
    return Comparison(
        used=get_embedder(used).name,
        other=other.name,
        questions=asked,
        overlap=overlap / asked if asked else 0.0,
        same_first=same_first,
        missing=sum(one.missing for one in progress() if one.space.pk == other.id),
        differences=tuple(sorted(differences, key=lambda one: one.overlap)),
    )


def _questions(sample: int) -> list[Message]:
    rows = (
        Message.objects.filter(direction=Message.Direction.IN, person__is_bot=False)
        .only("id", "agent_id", "room_id", "person_id", "text", "said_at")
        .order_by("-id")[: sample * READ_FOR_ONE]
    )
    found: dict[tuple[object, str], Message] = {}
    for row in rows:
        if len(row.text.strip()) >= SHORTEST_CHARACTERS:
            found.setdefault((row.room_id, row.text), row)
    return list(found.values())[:sample]


def _recalled(message: Message, space: Space) -> tuple[RecalledMemory, ...]:
    found = recall(
        RecallQuery(
            agent_id=message.agent_id,
            room_id=message.room_id,
            person_id=message.person_id,
            text=message.text,
            limit=COMPARED,
            now=message.said_at,
            exclude_message_ids=frozenset({message.pk}),
        ),
        embedder=partial(get_embedder, space),
    )
    if found.error:
        raise CannotCompare(f"{space.choice.model} makes no vectors now: {found.error}")
    return found.memories
