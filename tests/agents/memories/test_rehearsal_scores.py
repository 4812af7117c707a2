"""Scores of a rehearsal: recall at a depth."""

from __future__ import annotations

import pytest

from agents.memories.rehearsal_files import Name, RehearsalQuestion
from agents.memories.rehearsal_scores import DEPTHS, recall_at
from agents.memories.rehearsals import RehearsalAnswer

RANKED: tuple[Name, ...] = tuple(range(1, 31))


def question(number: int, *gold: Name) -> RehearsalQuestion:
    return RehearsalQuestion(conversation="c", question_id=number, question="?", gold=gold)


def answer(number: int) -> RehearsalAnswer:
    return RehearsalAnswer(conversation="c", question_id=number, retrieved=RANKED, milliseconds=1.0)


@pytest.mark.parametrize(
    ("golds", "depth", "share"),
    [
        ([(7,)], 5, 0.0),
        ([(7,)], 10, 1.0),
        ([(1, 7, 15, 99)], 5, 0.25),
        ([(1, 7, 15, 99)], 20, 0.75),
        ([(1, 1, 7)], 5, 0.5),
        ([(1,), (6,)], 5, 0.5),
        ([(1,), ()], 5, 1.0),
        ([()], 5, None),
    ],
)
def test_recall_is_the_mean_share_of_what_answers_that_came(
    golds: list[tuple[Name, ...]], depth: int, share: float | None
) -> None:
    questions = [question(number, *gold) for number, gold in enumerate(golds)]
    assert recall_at(depth, questions, [answer(number) for number in range(len(golds))]) == share


def test_depths_are_those_that_are_told_elsewhere() -> None:
    assert DEPTHS == (5, 10, 20)
