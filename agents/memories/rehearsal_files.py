"""Files for `evaluate_recall`, one JSON object a line: what was said, and what is asked of it afterwards.

A turn: `{"conversation", "id", "at", "speaker", "text"}`; a question: `{"conversation", "question_id",
"question"}`, and `"gold"`, the ids of the turns that answer it, where they are known. `at` is a time with its zone.
What else a line says is left aside: a turn's `session` too, as recall has to find sessions by the times, and a
question's `category`. But where a key is missing and another one is nearly it, that is told. Words and names are
cleaned as the inbox cleans them.
`agents.memories.rehearsals` works with them.
"""

from __future__ import annotations

import difflib
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, ValidationError, field_validator

from agents.cleaning import clean_words

SHOWN_FAULTS = 5
Name = str | int
Words = Annotated[str, AfterValidator(clean_words)]
_Line = TypeVar("_Line", bound="RehearsalLine")


class FaultyRehearsalFile(Exception):
    """A file with lines that can't be read; the text names the first of them, and what is wrong."""


class RehearsalLine(BaseModel):
    """What every line has: the conversation that it belongs to."""

    model_config = ConfigDict(frozen=True)

    conversation: Name


class RehearsalTurn(RehearsalLine):
    """One message of a conversation."""

    id: Name
    at: AwareDatetime
    speaker: Words
    text: Words


class RehearsalQuestion(RehearsalLine):
    """One question about a conversation; `gold` are the turns that answer it, where that is known."""

    question_id: Name
    question: Words
    gold: tuple[Name, ...] = ()

    @field_validator("gold", mode="before")
    @classmethod
    def _read_gold(cls, given: object) -> object:
        if given is None:
            return ()
        if not isinstance(given, list | tuple) or not all(isinstance(id, str | int) for id in given):
            raise ValueError('it is no list of ids of turns, such as ["t1", "t2"]')
        return given


def read_rehearsal_lines(path: Path, kind: type[_Line], *, warn: Callable[[str], None]) -> list[_Line]:
    """Read all lines of the file; blank ones are left out. `warn` is told of keys that look misspelt.

    Raises: FaultyRehearsalFile, OSError.
    """
    lines: list[_Line] = []
    faults: list[str] = []
    misspelt: dict[tuple[str, str], list[int]] = defaultdict(list)
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.strip():
                continue
            try:
                given = json.loads(raw)
                for pair in _misspelt(given, kind):
                    misspelt[pair].append(number)
                lines.append(kind.model_validate(given))
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(map(str, first["loc"])) or "the line"
                faults.append(f"line {number}: {place}: {first['msg']}")
            except ValueError as error:
                faults.append(f"line {number}: no JSON: {error}")
    for (key, meant), (line, *others) in misspelt.items():
        more = f" and {len(others)} more" if others else ""
        warn(f"{path}: line {line}{more}: {key!r} means nothing, and {meant!r} is missing: is it meant?")
    if faults:
        more = f", and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
        raise FaultyRehearsalFile(f"{path}: {'; '.join(faults[:SHOWN_FAULTS])}{more}. Nothing was done.")
    if not lines:
        raise FaultyRehearsalFile(f"{path} has no line. Nothing was done.")
    return lines


def _misspelt(given: object, kind: type[RehearsalLine]) -> list[tuple[str, str]]:
    """Return keys that mean nothing, each with the one that it is nearly and that the line lacks."""
    if not isinstance(given, dict):
        return []
    known, strange = kind.model_fields.keys(), given.keys() - kind.model_fields.keys()
    return [
        (key, meant)
        for meant in known - given.keys()
        for key in difflib.get_close_matches(meant, strange, n=1)
    ]


def check_rehearsal(
    turns: Sequence[RehearsalTurn], questions: Sequence[RehearsalQuestion], *, turns_path: Path
) -> None:
    """Refuse questions about conversations that are not there, or turns that are not, and turns that share an id.

    Raises: FaultyRehearsalFile.
    """
    unknown = {question.conversation for question in questions} - {turn.conversation for turn in turns}
    if unknown:
        names = ", ".join(sorted(map(str, unknown))[:SHOWN_FAULTS])
        raise FaultyRehearsalFile(f"{turns_path} has no turn of {names}, which questions are about.")
    seen: set[tuple[Name, Name]] = set()
    for turn in turns:
        if (turn.conversation, turn.id) in seen:
            raise FaultyRehearsalFile(
                f"{turns_path} has two turns {turn.id!r} in {turn.conversation!r}: give each an id of its own."
            )
        seen.add((turn.conversation, turn.id))
    for question in questions:
        missing = [id for id in question.gold if (question.conversation, id) not in seen]
        if missing:
            raise FaultyRehearsalFile(
                f"{turns_path} has no turn {missing[0]!r} in {question.conversation!r}, which is `gold` of the question"
                f" {question.question_id!r}."
            )
