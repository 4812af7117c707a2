"""`recall AGENT QUERY`: shows what an agent recalls, and which scores brought it."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from agents.agents import UnknownAgent
from agents.management.arguments import positive_whole
from agents.memories.recollections import (
    Answer,
    NoDirectChat,
    find_place,
    recollect,
    report_answer,
)
from agents.people.finding import NotFound
from agents.reports.tables import FOLDED_CHARACTERS, Row, print_table
from plugins.api import RecalledMemory

COLUMNS: Row = (">score", "because of", "when", "who", "kind", "memory", "text")


class Command(BaseCommand):
    help = "Show what an agent recalls of a text, best first, with what each signal added to the score."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("agent", help="its name or slug")
        parser.add_argument("query")
        parser.add_argument(
            "--person", default="", metavar="PERSON", help="who asks: an id, platform:id, or a name"
        )
        parser.add_argument(
            "--room",
            default="",
            metavar="ROOM",
            help="where: an id, platform:id, or a name (default: the person's newest direct chat, or nowhere)",
        )
        parser.add_argument(
            "--limit",
            "--k",
            type=positive_whole,
            default=10,
            metavar="N",
            help="so many (default: %(default)s)",
        )
        parser.add_argument("--full", action="store_true", help="fold no text")
        parser.add_argument("--json", action="store_true", help="report as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        if not options["query"].strip():
            raise CommandError("Say what is to be recalled: the text is empty.")
        try:
            place = find_place(options["agent"], room_name=options["room"], person_name=options["person"])
        except NoDirectChat as error:
            raise CommandError(f"{str(error).rstrip('.')} with --room.") from None
        except (UnknownAgent, NotFound) as error:
            raise CommandError(str(error)) from None
        answer = recollect(place, options["query"], limit=options["limit"])
        found = answer.found
        if found.error:
            self.stderr.write(f"Only words were compared: {found.error}")
        if options["json"]:
            self.stdout.write(json.dumps(report_answer(answer), indent=2, ensure_ascii=False))
        elif not found.memories:
            self.stdout.write("Nothing comes to mind.")
        else:
            self._print(answer, is_full=options["full"])

    def _print(self, answer: Answer, *, is_full: bool) -> None:
        is_terminal = self.stdout.isatty()
        rows = [_row(memory, is_full, is_terminal) for memory in answer.found.memories]
        if is_terminal:
            print_table(Console(highlight=False), "Recalled", COLUMNS, rows)
            return
        plain = StringIO()
        print_table(Console(file=plain, highlight=False), "Recalled", COLUMNS, rows)
        self.stdout.write(plain.getvalue().lstrip("\n"))


def _row(memory: RecalledMemory, is_full: bool, is_terminal: bool) -> Row:
    """Return a hit's cells; at a terminal, where columns are narrow, its id stands below its text."""
    because = sorted(memory.scores.items(), key=lambda item: -abs(item[1]))
    text = " ".join(memory.text.split())
    if not is_full and len(text) > FOLDED_CHARACTERS:
        text = text[: FOLDED_CHARACTERS - 1] + "…"
    return (
        f"{memory.score:.2f}",
        ", ".join(f"{name} {score:+.2f}" for name, score in because if abs(score) >= 0.005),
        f"{memory.said_at:%Y-%m-%d %H:%M}" if memory.said_at else "",
        memory.speaker,
        memory.kind,
        "" if is_terminal else str(memory.id),
        f"{text}\n{memory.id}" if is_terminal else text,
    )
