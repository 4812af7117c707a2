"""`show_memory ID`: where a memory came from, what took the place of what, and who had it in mind."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from agents.reports.memories import report_memory
from agents.reports.memory_pages import print_memory
from memory.provenance import MemoryNotFound, find_memory


class Command(BaseCommand):
    help = "Show a memory: its messages, the turn that made it, its history, and the turns that recalled it lately."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", metavar="ID", help="a memory's id, or its beginning")
        parser.add_argument("--full", action="store_true", help="fold no text")
        parser.add_argument("--json", action="store_true", help="report as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            report = report_memory(find_memory(options["id"]))
        except MemoryNotFound as error:
            raise CommandError(str(error)) from None
        if options["json"]:
            self.stdout.write(json.dumps(report, indent=2, ensure_ascii=False))
            return
        if self.stdout.isatty():
            print_memory(report, Console(highlight=False), full=options["full"])
            return
        plain = StringIO()
        print_memory(report, Console(file=plain, highlight=False), full=options["full"])
        self.stdout.write(plain.getvalue())
