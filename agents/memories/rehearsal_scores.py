"""How well a rehearsal recalled: recall at a depth, where it is known which turns answer a question. Plain Python."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from agents.memories.rehearsal_files import RehearsalQuestion
from agents.memories.rehearsals import RehearsalAnswer

DEPTHS = (5, 10, 20)


def recall_at(
    depth: int, questions: Sequence[RehearsalQuestion], answers: Sequence[RehearsalAnswer]
) -> float | None:
    """Return the share of a question's gold turns among the first so many that came, averaged over the questions.

    Questions of which no gold turn is known are left aside; None where all are. Unit: 0 to 1.
    Source: Maharana et al., Evaluating Very Long-Term Conversational Memory of LLM Agents (LoCoMo), 2024.
    """
    shares = [
        len(set(answer.retrieved[:depth]) & set(question.gold)) / len(set(question.gold))
        for question, answer in zip(questions, answers, strict=True)
        if question.gold
    ]
    return statistics.fmean(shares) if shares else None
