"""`show_turn ID`: everything that is known of one turn."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from agents.reports.turn_pages import print_turn
from agents.reports.turns import TurnNotFound, find_turn, report_turn


class Command(BaseCommand):
    help = "Show a turn: message, steps, model calls, recalled memories and deliveries."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", metavar="ID", help="a turn's, message's or reply's id, or its beginning")
        parser.add_argument("--full", action="store_true", help="fold nothing, and show the prompts")
        parser.add_argument("--json", action="store_true", help="report as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            report = report_turn(find_turn(options["id"]))
        except TurnNotFound as error:
            raise CommandError(str(error)) from None
        if options["json"]:
            self.stdout.write(json.dumps(report, indent=2, ensure_ascii=False))
            return
        if self.stdout.isatty():
            print_turn(report, Console(highlight=False), full=options["full"])
            return
        plain = StringIO()
        print_turn(report, Console(file=plain, highlight=False), full=options["full"])
        self.stdout.write(plain.getvalue())
