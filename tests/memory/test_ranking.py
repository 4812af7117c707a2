"""Ranking: each signal by itself moves a candidate as it says, with numbers made by hand."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest

from memory.dates import Span
from memory.questions import Question
from memory.ranking import WEIGHTS, Candidate, rank, rarity_of_share, standard

NOW = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
ROOM, OTHER_ROOM = "room", "other room"
LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


def candidate(number: int, **changes: Any) -> Candidate:
    """A message of a day of its own, long ago, with nothing that speaks for or against it."""
    fields: dict[str, Any] = {
        "id": f"{number:02}",
        "kind": "message",
        "room_id": ROOM,
        "speaker": "Ann",
        "said_at": (LONG_AGO + dt.timedelta(days=number)).timestamp(),
        "importance": 0.5,
        "nearness": 0.5,
        "matches": 0,
        "size": 10,
        "tells_when": False,
        "is_core": True,
        "text": "words",
    }
    said_at = changes.pop("said_at", None)
    if said_at is not None:
        fields["said_at"] = said_at.timestamp()
    return Candidate(**{**fields, **changes})


def after(minutes: float) -> dt.datetime:
    return LONG_AGO + dt.timedelta(minutes=minutes)


def question(**changes: Any) -> Question:
    return Question(**{"text": "what", "terms": (), **changes})


def ranked(*candidates: Candidate, asked: Question | None = None, **changes: Any) -> list[int]:
    fields: dict[str, Any] = {"term_count": 2, "now": NOW, "limit": 10}
    return [int(hit.candidate.id) for hit in rank(candidates, asked or question(), **{**fields, **changes})]


def scores(
    *candidates: Candidate, asked: Question | None = None, **changes: Any
) -> dict[int, dict[str, float]]:
    fields: dict[str, Any] = {"term_count": 2, "now": NOW, "limit": 10}
    hits = rank(candidates, asked or question(), **{**fields, **changes})
    return {int(hit.candidate.id): hit.scores for hit in hits}


def test_values_are_counted_in_standard_deviations() -> None:
    assert standard(np.array([1.0, 2.0, 3.0])) == pytest.approx([-1.2247, 0.0, 1.2247], abs=1e-4)
    assert standard(np.array([5.0, 5.0])).tolist() == [0.0, 0.0]
    # No unit outweighs another.
    assert standard(np.array([1.0, 2.0, 3.0])) == pytest.approx(standard(np.array([10.0, 20.0, 30.0])))


def test_the_nearer_vector_comes_first() -> None:
    found = scores(candidate(1, nearness=0.2), candidate(2, nearness=0.6), candidate(3, nearness=0.4))
    assert list(found) == [2, 3, 1]
    assert found[2]["vector"] == pytest.approx(1.2247, abs=1e-4)


def test_what_has_no_vector_stands_where_the_mean_is() -> None:
    found = scores(candidate(1, nearness=0.2), candidate(2, nearness=0.6), candidate(3, nearness=None))
    assert list(found) == [2, 3, 1]
    assert "vector" not in found[3]
    assert ranked(candidate(1, nearness=None), candidate(2, nearness=None)) == [2, 1]


def test_more_words_come_first_and_a_rare_one_counts_more_than_a_common_one() -> None:
    assert ranked(candidate(1), candidate(2, matches=1), candidate(3, matches=3)) == [3, 2, 1]
    common = [candidate(number, matches=1) for number in range(1, 6)]
    assert ranked(*common, candidate(9, matches=2))[0] == 9


def test_a_word_counts_less_in_a_long_text() -> None:
    assert ranked(candidate(1, matches=1, size=5), candidate(2, matches=1, size=50), candidate(3)) == [
        1,
        2,
        3,
    ]


def test_a_word_of_a_neighbour_counts_in_part_and_less_further_off() -> None:
    row = [candidate(number, said_at=after(number)) for number in (2, 3, 4)]
    found = scores(candidate(1, said_at=after(1), matches=1), *row, asked=question(), weights={"text": 1.0})
    assert list(found) == [1, 2, 3, 4]
    values = [found[number].get("text", 0.0) for number in (1, 2, 3, 4)]
    steps = [(values[place] - values[3]) / (values[0] - values[3]) for place in range(4)]
    assert steps == pytest.approx([1.0, 0.6, 0.3, 0.0])


def test_near_neighbours_lift_a_message_between_them() -> None:
    between = [
        candidate(1, said_at=after(1), nearness=0.9),
        candidate(2, said_at=after(2), nearness=0.5),
        candidate(3, said_at=after(3), nearness=0.9),
    ]
    alone = candidate(4, said_at=after(5000), nearness=0.5)
    order = ranked(*between, alone, weights={"vector": 1.0, "neighbourhood": 0.5})
    assert order.index(2) < order.index(4)


def test_a_silence_or_another_room_makes_no_neighbours() -> None:
    near = candidate(1, said_at=after(1), nearness=0.9, matches=1)
    late = candidate(2, said_at=after(62), nearness=0.5)
    elsewhere = candidate(3, said_at=after(2), nearness=0.5, room_id=OTHER_ROOM)
    fact = candidate(4, said_at=after(2), nearness=0.5, kind="fact")
    found = scores(near, late, elsewhere, fact, weights={"text": 1.0, "session": 1.0})
    assert found[2] == found[3] == found[4]
    close = candidate(2, said_at=after(60), nearness=0.5)
    found = scores(near, close, elsewhere, weights={"text": 1.0, "session": 1.0})
    assert found[2]["text"] > found[3]["text"]
    assert found[2]["session"] > found[3]["session"]


def test_what_only_stands_next_in_the_list_is_no_neighbour() -> None:
    """Between the second message after one candidate and the second before the next, others may have been said."""
    first = [candidate(number, said_at=after(number), is_core=number == 1) for number in (1, 2, 3)]
    far = candidate(4, said_at=after(30), is_core=False, matches=1)
    last = [candidate(number, said_at=after(number + 26), is_core=number == 6) for number in (5, 6)]
    found = scores(*first, far, *last, weights={"text": 1.0})
    assert found[3]["text"] == found[1]["text"] == found[2]["text"]
    assert found[5]["text"] > found[3]["text"]


def test_a_session_lifts_all_that_was_said_in_it() -> None:
    talk = [candidate(number, said_at=after(10 * number)) for number in range(1, 6)]
    apart = candidate(9, said_at=after(9000))
    hit = candidate(6, said_at=after(55), nearness=0.9, matches=3)
    found = scores(*talk, hit, apart, weights={"session": 1.0})
    assert found[1]["session"] == found[6]["session"] > 0 > found[9]["session"]


def test_who_is_named_comes_first_by_any_part_of_the_name() -> None:
    rows = candidate(1, speaker="Ann Smith"), candidate(2, speaker="Bob")
    assert ranked(*rows, asked=question(named=frozenset({"ann"}))) == [1, 2]
    assert scores(*rows, asked=question(named=frozenset({"bob"})))[2]["speaker"] == WEIGHTS["speaker"]
    assert ranked(*rows) == [2, 1]


def test_a_fact_is_of_whom_it_tells() -> None:
    rows = (
        candidate(1, kind="fact", speaker="", text="Ann likes tea."),
        candidate(2, text="Ann, do you like tea?", speaker="Bob"),
    )
    assert ranked(*rows, asked=question(named=frozenset({"ann"})), weights={"speaker": 4.0}) == [1, 2]


def test_i_and_my_speak_of_the_asker_and_count_less_than_a_name() -> None:
    rows = candidate(1, speaker="Ann"), candidate(2, speaker="Bob")
    found = scores(*rows, asked=question(is_of_oneself=True), asker="Ann")
    assert found[1]["speaker"] == WEIGHTS["speaker"] / 2
    assert "speaker" not in found[2]
    assert "speaker" not in scores(*rows, asked=question(is_of_oneself=True))[1]


def test_what_was_said_at_the_date_comes_first_and_soon_after_it_next() -> None:
    day = dt.datetime(2023, 5, 7, tzinfo=dt.UTC)
    spans = (Span(start=day, end=day + dt.timedelta(days=1)),)
    rows = (
        candidate(1, said_at=day + dt.timedelta(days=300)),
        candidate(2, said_at=day + dt.timedelta(hours=12)),
        candidate(3, said_at=day + dt.timedelta(days=11)),
    )
    found = scores(*rows, asked=question(spans=spans), weights={"date": 1.0})
    assert list(found) == [2, 3, 1]
    assert found[2]["date"] == 1.0
    assert found[3]["date"] == pytest.approx(np.exp(-1))


def test_who_asks_when_gets_what_tells_when() -> None:
    rows = candidate(1, tells_when=True), candidate(2)
    assert ranked(*rows, asked=question(asks_when=True)) == [1, 2]
    assert ranked(*rows) == [2, 1]


def test_a_question_seldom_answers_one() -> None:
    assert ranked(candidate(1, text="So it is."), candidate(2, text="Is it so?"), candidate(3)) == [3, 1, 2]


def test_of_equals_the_newer_and_the_more_important_come_first() -> None:
    yesterday = NOW - dt.timedelta(days=1)
    assert ranked(candidate(1, said_at=yesterday), candidate(2)) == [1, 2]
    found = scores(candidate(1, said_at=yesterday), candidate(2), candidate(3, importance=1.0))
    assert found[1]["recency"] == pytest.approx(WEIGHTS["recency"] * np.exp(-1 / 30))
    assert found[3]["importance"] == WEIGHTS["importance"] / 2
    assert next(iter(found)) == 3
    future = candidate(4, said_at=NOW + dt.timedelta(days=9))
    assert scores(future)[4]["recency"] == WEIGHTS["recency"]


def test_a_score_is_the_sum_of_what_brought_it_and_zeros_are_left_out() -> None:
    rows = [candidate(number, nearness=number / 10, matches=number % 3) for number in range(1, 9)]
    hits = rank(rows, question(), term_count=2, now=NOW, limit=3)
    assert len(hits) == 3
    for hit in hits:
        assert hit.score == pytest.approx(sum(hit.scores.values()))
        assert "date" not in hit.scores


def test_nothing_and_little_are_ranked_too() -> None:
    assert rank([], question(), term_count=0, now=NOW, limit=5) == []
    assert ranked(candidate(1), term_count=0) == [1]
    assert ranked(candidate(1, room_id=None, kind="document"), candidate(2, room_id=None, kind="fact")) == [
        2,
        1,
    ]


def test_the_order_in_which_candidates_come_changes_nothing() -> None:
    rows = [
        candidate(number, said_at=after(number * 7), nearness=(number * 37 % 11) / 11, matches=number % 4)
        for number in range(1, 20)
    ]
    assert ranked(*rows) == ranked(*reversed(rows)) == ranked(*rows[7:], *rows[:7])


def test_a_word_that_all_texts_have_still_weighs_something_and_a_rare_one_the_more() -> None:
    weights = [rarity_of_share(share) for share in (0.0, 0.001, 0.5, 0.99, 1.0)]
    assert weights == sorted(weights, reverse=True)
    assert weights[-1] > 0
