"""`work_suspects`: the nursery of one worker, which starts it and closes its standard input to end it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from agents import work
from agents.processes import nursery


class Command(BaseCommand):
    help = "Work turns in a process each, as a worker asks on standard input. Workers start it themselves."
    requires_system_checks: list[str] = []

    def handle(self, *_args: Any, **_options: Any) -> None:
        try:
            nursery.serve(work.work_taken)
        except ValueError as error:
            raise CommandError(str(error)) from error
