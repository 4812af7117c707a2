"""`evaluate_recall`: remembers conversations, asks questions about them, and writes what recall brought."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agents.management.arguments import positive_whole
from agents.memories.rehearsal_files import (
    FaultyRehearsalFile,
    RehearsalQuestion,
    RehearsalTurn,
    check_rehearsal,
    read_rehearsal_lines,
)
from agents.memories.rehearsals import RehearsalAnswer, rehearse
from memory.embeddings.base import EmbeddingError


class Command(BaseCommand):
    help = (
        "Measure recall with conversations of your own. They are remembered by an agent that is made for it and"
        " removed afterwards."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--turns",
            type=Path,
            required=True,
            metavar="FILE.jsonl",
            help='{"conversation", "id", "at", "speaker", "text"} a line',
        )
        parser.add_argument(
            "--questions",
            type=Path,
            required=True,
            metavar="FILE.jsonl",
            help='{"conversation", "question_id", "question"} a line',
        )
        parser.add_argument(
            "--out",
            type=Path,
            required=True,
            metavar="FILE.jsonl",
            help='gets {"conversation", "question_id", "retrieved": [ids, best first], "ms"} a line',
        )
        parser.add_argument(
            "--k", type=positive_whole, default=20, help="turns a question (default: %(default)s)"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            turns = read_rehearsal_lines(options["turns"], RehearsalTurn)
            questions = read_rehearsal_lines(options["questions"], RehearsalQuestion)
            check_rehearsal(turns, questions, turns_path=options["turns"])
            # The file comes first: where it can't be written, nothing was done.
            with options["out"].open("w", encoding="utf-8") as out, self._progress() as progress:
                bars = {
                    "remembered": progress.add_task("remembered", total=len(turns)),
                    "asked": progress.add_task("asked", total=len(questions)),
                }
                answers = rehearse(
                    turns,
                    questions,
                    limit=options["k"],
                    told=lambda what, done, _total: progress.update(bars[what], completed=done),
                )
                out.writelines(_line(answer) for answer in answers)
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}. Name another file.") from None
        except (FaultyRehearsalFile, EmbeddingError) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{len(turns)} turns remembered, {len(answers)} questions asked: {options['out']}")

    def _progress(self) -> Progress:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        return Progress(*columns, console=Console(), disable=not self.stdout.isatty())


def _line(answer: RehearsalAnswer) -> str:
    row = {
        "conversation": answer.conversation,
        "question_id": answer.question_id,
        "retrieved": list(answer.retrieved),
        "ms": round(answer.milliseconds, 3),
    }
    return json.dumps(row, ensure_ascii=False) + "\n"
