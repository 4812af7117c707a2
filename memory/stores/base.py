"""What a store is: what recall asks of the database beyond Django's querysets.

`memory.retrieval` asks it; `memory.stores.store` chooses it. What may surface is said by `MemoryQuerySet.visible_to`
in every store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from memory.dates import Span
from memory.questions import Term
from memory.ranking import Candidate

MOST_TERMS = 8
"""Of a long text so many terms are looked for, the rarest."""
NEAREST_STEPS = (20, 40, 100, 300)
"""So many candidates come by their vectors, and as many by their words; which of them, by how many are wanted."""
DATED_SPANS, DATED_ROWS, DATED = 3, 200, 25
"""Of so many dates: so many of the room's newest memories each, and of these so many, the nearest."""
NEIGHBOURS = 2
"""So many messages before and after a candidate come with it."""
USUAL_SIZE = 12.0
"""So many words has a message; a longer text's words count less."""


@dataclass(frozen=True, kw_only=True)
class Words:
    """What is known where a question is asked: who speaks there, and what each of its words is kept by.

    Unit: `total` in memories, all agents' together.
    """

    names: tuple[str, ...] = ()
    asker: str = ""
    stems: dict[str, str] = field(default_factory=dict)
    total: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Sought:
    """The terms that are looked for, rarest first: a full-text query of the store's own and a weight for each.

    `rare` is what finds candidates by words where much is visible, in the stores that look there first.
    """

    queries: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    rare: str | None = None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What candidates are asked for, and for whom; `column` has the vectors. `kinds` None means all of them.

    `column` has the vectors of the same model.
    Shape: `vector` has the embedder's dimensions; None where there is none.
    """

    agent_id: UUID
    room_id: UUID | None
    person_id: UUID | None
    limit: int
    sought: Sought
    vector: Sequence[float] | None = None
    embedding_model: str = ""
    column: str = "embedding"
    exclude_message_ids: frozenset[UUID] = frozenset()
    kinds: tuple[str, ...] | None = None
    spans: tuple[Span, ...] = ()
    asks_when: bool = False


class Store(Protocol):
    """A database that memories are recalled from."""

    def ask_words(
        self, terms: Sequence[Term], /, *, agent_id: UUID, room_id: UUID | None, person_id: UUID | None
    ) -> Words:
        """Ask who speaks in the room, and what is needed of the terms' words."""

    def seek(self, terms: Sequence[Term], words: Words, /) -> Sought:
        """Return which of the terms are looked for; those that say nothing, as "the" does, are not."""

    def find_candidates(self, wanted: Wanted) -> list[Candidate]:
        """Find what may answer and may surface: nearest by vector, best by words, said at one of the dates, and
        the messages before and after each.
        """


def nearest_for(limit: int) -> int:
    """Return how many candidates each way is asked for, where so many hits are wanted."""
    return next((nearest for nearest in NEAREST_STEPS if nearest >= limit * 2), NEAREST_STEPS[-1])
