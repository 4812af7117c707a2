"""`evaluate_recall`: remembers conversations, asks questions about them, and writes what recall brought."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

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
from agents.memories.rehearsal_scores import DEPTHS, recall_at
from agents.memories.rehearsals import RehearsalAnswer, rehearse
from agents.percentiles import percentile
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
            help='{"conversation", "question_id", "question"} a line; with "gold", the ids of the turns that answer'
            " it, recall is scored",
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
        if options["out"].resolve() in {options["turns"].resolve(), options["questions"].resolve()}:
            raise CommandError(f"--out {options['out']} is a file that is read: name another one.")
        try:
            turns = read_rehearsal_lines(options["turns"], RehearsalTurn, warn=self.stderr.write)
            questions = read_rehearsal_lines(options["questions"], RehearsalQuestion, warn=self.stderr.write)
            check_rehearsal(turns, questions, turns_path=options["turns"])
            # The file comes first: where it can't be written, nothing was done. It takes its name when it is whole.
            with _written_whole(options["out"]) as out, self._progress() as progress:
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
        except BrokenPipeError:  # nobody reads standard output any longer, or what --out names
            raise
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}. Name another file.") from None
        except (FaultyRehearsalFile, EmbeddingError) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{len(turns)} turns remembered, {len(answers)} questions asked: {options['out']}")
        for line in _scores(questions, answers, options["k"]):
            self.stdout.write(line)

    def _progress(self) -> Progress:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        return Progress(*columns, console=Console(), disable=not self.stdout.isatty())


@contextmanager
def _written_whole(path: Path) -> Iterator[TextIO]:
    """Open a file beside the one that it becomes once all of it is written; what is no file is written to as it is."""
    if path.exists() and not path.is_file():
        with path.open("w", encoding="utf-8") as stream:
            yield stream
        return
    path = path.resolve()
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            file = beside.open("w", encoding="utf-8")
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
        with file:
            yield file
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _line(answer: RehearsalAnswer) -> str:
    row = {
        "conversation": answer.conversation,
        "question_id": answer.question_id,
        "retrieved": list(answer.retrieved),
        "ms": round(answer.milliseconds, 3),
    }
    return json.dumps(row, ensure_ascii=False) + "\n"


def _scores(
    questions: Sequence[RehearsalQuestion], answers: Sequence[RehearsalAnswer], most: int
) -> Iterator[str]:
    """Tell how much of what answers the questions came, and how long a recall took."""
    depths = [depth for depth in DEPTHS if depth <= most] or [most]
    found = {depth: recall_at(depth, questions, answers) for depth in depths}
    if None in found.values():
        yield 'No question names the turns that answer it ("gold"), so recall is not scored.'
    else:
        known = sum(bool(question.gold) for question in questions)
        shares = ", ".join(f"{share:.3f} at {depth}" for depth, share in found.items())
        yield f"Recall over {known} questions: {shares}"
    times = [answer.milliseconds for answer in answers]
    half, most_of_all = percentile(times, 0.5), percentile(times, 0.95)
    yield f"Milliseconds a recall, without the embedder: p50 {half:.1f}, p95 {most_of_all:.1f}"
