"""Ranking: how near each candidate comes to a question. Plain Python and numpy; `memory.retrieval` calls it.

Signals that have no scale of their own (vector, text, neighbourhood, session) are counted in standard deviations
over the candidates, so that none outweighs another by its unit. The others lie between 0 and 1.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memory.questions import Question, is_named, is_question

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]
DAY_SECONDS = 86400.0
SMALLEST = 1e-9

WEIGHTS: dict[str, float] = {
    "vector": 1.0,
    "text": 1.0,
    "neighbourhood": 0.5,
    "session": 0.5,
    "speaker": 4.0,
    "date": 4.0,
    "when": 2.0,
    "question": -1.5,
    "recency": 0.25,
    "importance": 1.0,
}
"""What each signal weighs. The first eight were fitted on conversations and then rounded towards less; the last
two are judged, as nothing measured tells of them. `docs/memory.md` has the figures.
"""

SESSION_GAP = dt.timedelta(hours=1)
"""A longer silence in a room begins a new session."""
REACH = 2
"""So many messages before and after a message are its neighbourhood."""
NEIGHBOURS = (0.6, 0.3)
"""What a word counts that stands in the message next to this one, or in the one after."""
LENGTH_SHARE = 0.3
"""How much of a word's weight hangs on the length of its text. Source: BM25's b (Robertson and Zaragoza, 2009)."""
COMMONEST_SHARE = 0.99
"""A word that more of all texts have weighs no less."""
DATE_FADES_DAYS = 10.0
"""So far from a date that was said, it counts 1/e: what happened is told soon afterwards."""
RECENCY_FADES_DAYS = 30.0
ONESELF = 0.5
"""What "I" and "my" count of a name: they name the asker, but are said of much else."""


class Candidate(NamedTuple):
    """A memory that may answer.

    `nearness` is the cosine of its angle to the question, None without a vector. `matches` has a bit for each
    term of the question that its text has. `is_core` tells those that were found by themselves from those that
    stand next to one.
    Unit: `size` in words, `said_at` in seconds since 1970. Times and ids are as the database gives them quickest: only
    of the hits become Python's own.
    """

    id: str
    kind: str
    room_id: str | None
    speaker: str
    said_at: float
    importance: float
    nearness: float | None
    matches: int
    size: int
    tells_when: bool
    is_core: bool
    text: str
    source_messages: str = "[]"


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A candidate with its score, and what each signal added to it."""

    candidate: Candidate
    score: float
    scores: dict[str, float]


def rank(
    candidates: Sequence[Candidate],
    question: Question,
    *,
    term_count: int,
    asker: str = "",
    now: dt.datetime,
    limit: int,
    weights: dict[str, float] | None = None,
) -> list[Ranked]:
    """Rank the candidates, best first; `term_count` is how many bits their `matches` have."""
    if not candidates:
        return []
    rows = sorted(candidates, key=_place)
    signals = _signals(rows, question, term_count, asker, now)
    chosen = WEIGHTS if weights is None else weights
    parts = {name: chosen.get(name, 0.0) * values for name, values in signals.items()}
    total = np.sum(list(parts.values()), axis=0)
    # Of two that are equal, the newer one comes first.
    times = np.array([row.said_at for row in rows])
    order = np.lexsort((-times, -total))[:limit].tolist()
    return [
        Ranked(
            candidate=rows[row],
            score=float(total[row]),
            scores={
                name: float(values[row]) for name, values in parts.items() if abs(values[row]) > SMALLEST
            },
        )
        for row in order
    ]


def _place(candidate: Candidate) -> tuple[str, float, str]:
    """Order by what was said in a room one after the other; what was not said in a room stands before it."""
    room = candidate.room_id if candidate.room_id and candidate.kind == "message" else ""
    return room, candidate.said_at, candidate.id


def _signals(
    rows: Sequence[Candidate], question: Question, term_count: int, asker: str, now: dt.datetime
) -> dict[str, Numbers]:
    times = np.array([row.said_at for row in rows])
    follows = _follows(rows, times)
    links = _links(follows, np.array([row.is_core for row in rows]))
    starts, sessions = np.flatnonzero(~follows), np.cumsum(~follows) - 1
    is_said = np.array([row.kind == "message" and row.room_id is not None for row in rows])
    nearness = np.array([np.nan if row.nearness is None else row.nearness for row in rows], dtype=float)
    known = ~np.isnan(nearness)
    nearness = np.where(known, nearness, nearness[known].mean() if known.any() else 0.0)
    has_terms = _matrix([row.matches for row in rows], term_count)
    sizes = np.array([row.size for row in rows], dtype=float)
    rarity = _rarity(has_terms)
    ages = np.maximum(0.0, now.timestamp() - times) / DAY_SECONDS
    return {
        "vector": standard(nearness),
        "text": standard(_text(has_terms, rarity, sizes, links)),
        "neighbourhood": standard(_around(nearness, is_said, links)),
        "session": standard(_best_of(nearness, sessions, starts))
        + standard(_best_of(has_terms.T, sessions, starts).T @ rarity),
        "speaker": _speaker(rows, question, asker),
        "date": _date(times, question),
        "when": np.array([row.tells_when and question.asks_when for row in rows], dtype=float),
        "question": np.array([is_question(row.text) for row in rows], dtype=float),
        "recency": np.exp(-ages / RECENCY_FADES_DAYS),
        "importance": np.array([row.importance for row in rows]) - 0.5,
    }


def standard(values: Numbers) -> Numbers:
    """Return how many standard deviations each value lies above the mean; 0 where all are equal."""
    # By hand: with numpy's own mean and deviation a ranking takes half as long again.
    from_mean = values - values.sum() / len(values)
    deviation = math.sqrt(from_mean @ from_mean / len(values))
    return from_mean / deviation if deviation > SMALLEST else np.zeros_like(values)


def _matrix(matches: Sequence[int], term_count: int) -> Numbers:
    bits = np.array(matches, dtype=np.int64)[:, None] >> np.arange(term_count, dtype=np.int64)[None, :]
    return (bits & 1).astype(float)


def _rarity(has_terms: Numbers) -> Numbers:
    """Return what each term weighs: the more, the fewer of the candidates have it.

    Source: BM25's inverse document frequency, Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009.
    """
    count, having = len(has_terms), has_terms.sum(axis=0)
    return np.asarray(np.log(1.0 + (count - having + 0.5) / (having + 0.5)) * (having > 0))


def _text(has_terms: Numbers, rarity: Numbers, sizes: Numbers, links: Sequence[Flags]) -> Numbers:
    """Add up the terms that a text has, a term of a neighbour's counting less, and a long text's too."""
    length = 1.0 - LENGTH_SHARE + LENGTH_SHARE * sizes / max(float(sizes.mean()), 1.0)
    best = has_terms / length[:, None]
    for distance, (share, is_linked) in enumerate(zip(NEIGHBOURS, links, strict=True), start=1):
        ties = share * is_linked[distance:, None]
        best[:-distance] = np.maximum(best[:-distance], has_terms[distance:] * ties)
        best[distance:] = np.maximum(best[distance:], has_terms[:-distance] * ties)
    return np.asarray(best @ rarity)


def _around(nearness: Numbers, is_said: Flags, links: Sequence[Flags]) -> Numbers:
    """Return the mean nearness of the messages next to each; what was not said in a room stands for itself.

    A message that is not known counts as the mean of all.
    """
    mean = nearness.mean()
    before, after = np.full_like(nearness, mean), np.full_like(nearness, mean)
    before[1:] = np.where(links[0][1:], nearness[:-1], mean)
    after[:-1] = np.where(links[0][1:], nearness[1:], mean)
    return np.where(is_said, (before + after) / 2.0, nearness)


def _best_of(values: Numbers, sessions: NDArray[np.intp], starts: NDArray[np.intp]) -> Numbers:
    """Return for each row the largest value of its session; the last axis is that of the rows."""
    return np.asarray(np.maximum.reduceat(values, starts, axis=-1)[..., sessions])


def _follows(rows: Sequence[Candidate], times: Numbers) -> Flags:
    """Tell for each row whether it was said in the same session as the row before it."""
    rooms = [row.room_id if row.kind == "message" else None for row in rows]
    is_same = [room is not None and room == before for room, before in zip(rooms[1:], rooms, strict=False)]
    follows = np.zeros(len(rows), dtype=bool)
    follows[1:] = np.array(is_same, dtype=bool) & (times[1:] - times[:-1] <= SESSION_GAP.total_seconds())
    return follows


def _links(follows: Flags, is_core: Flags) -> list[Flags]:
    """Tell for each row whether the one before it in the list, and the second before, are so in the room, too.

    The messages around a candidate came with it, so there the list has no gap; further off it may.
    """
    count = len(follows)
    since, until = np.full(count, REACH + 1), np.full(count, REACH + 1)
    since[is_core] = until[is_core] = 0
    for step in range(1, REACH + 1):
        reached = follows[1:] & (since[:-1] == step - 1) & (since[1:] > step)
        since[1:][reached] = step
        reached = follows[1:] & (until[1:] == step - 1) & (until[:-1] > step)
        until[:-1][reached] = step
    one = follows.copy()
    one[1:] &= (since[:-1] < REACH) | (until[1:] < REACH)
    two = np.zeros(count, dtype=bool)
    two[2:] = one[2:] & one[1:-1]
    return [one, two]


def _speaker(rows: Sequence[Candidate], question: Question, asker: str) -> Numbers:
    """Return 1 for those who are named, and less for the asker who says "I"; a fact names whom it is about."""
    if not question.named and not question.is_of_oneself:
        return np.zeros(len(rows))
    by_speaker = {speaker: _speaker_of(speaker, question, asker) for speaker in {row.speaker for row in rows}}
    return np.array([max(by_speaker[row.speaker], _tells_of(row, question)) for row in rows])


def _speaker_of(speaker: str, question: Question, asker: str) -> float:
    if is_named(speaker, question.named):
        return 1.0
    return ONESELF if question.is_of_oneself and asker and speaker == asker else 0.0


def _tells_of(row: Candidate, question: Question) -> float:
    if row.kind == "message" or not question.named:
        return 0.0
    return float(is_named(row.text, question.named))


def _date(times: Numbers, question: Question) -> Numbers:
    """Return 1 for what was said at a date that the question names, and less the further off it was."""
    best = np.zeros(len(times))
    for span in question.spans:
        start, end = span.start.timestamp(), span.end.timestamp()
        days = np.maximum(0.0, np.maximum(start - times, times - end)) / DAY_SECONDS
        best = np.maximum(best, np.exp(-days / DATE_FADES_DAYS))
    return best


def rarity_of_share(share: float) -> float:
    """Return what a term weighs that this share of all texts has: more than nothing, even where all have it."""
    share = min(max(share, 1e-6), COMMONEST_SHARE)
    return math.log(1.0 + (1.0 - share) / share)
