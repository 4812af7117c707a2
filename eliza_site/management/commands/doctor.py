"""`doctor`: says of each part of the installation whether it is well, and what cures it."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from eliza_site.doctor import Examined, examine
from eliza_site.doctor.findings import Level

MARKS = {Level.OK: "ok", Level.NOTE: "note", Level.WRONG: "WRONG"}


class Command(BaseCommand):
    help = "Examine settings, stores, fleet, models and plugins; exits with 1 where something is wrong."
    requires_system_checks: list[str] = []  # it is asked when they fail, and tells of them itself

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="report as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        parts = []
        for examined in examine():
            parts.append(examined)
            if not options["json"]:
                self._tell(examined)
        wrong = sum(finding.level is Level.WRONG for part in parts for finding in part.findings)
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(parts, wrong), indent=2))
        else:
            self.stdout.write(f"{wrong or 'Nothing'} {'is' if wrong < 2 else 'are'} wrong.")
        if wrong:
            sys.exit(1)

    def _tell(self, examined: Examined) -> None:
        styles = {Level.OK: self.style.SUCCESS, Level.NOTE: self.style.WARNING, Level.WRONG: self.style.ERROR}
        if examined.is_skipped:
            self.stdout.write(f"{'-':6}{examined.part}: not looked at, because of the above")
        for finding in examined.findings:
            mark = styles[finding.level](f"{MARKS[finding.level]:6}")
            self.stdout.write(f"{mark}{examined.part}: {finding.text}")
            if finding.cure:
                self.stdout.write(f"      {finding.cure}")
        self.stdout.flush()


def _as_json(parts: list[Examined], wrong: int) -> dict[str, Any]:
    return {
        "is_well": not wrong,
        "parts": [
            {
                "part": part.part,
                "is_skipped": part.is_skipped,
                "findings": [
                    {"level": finding.level, "text": finding.text, "cure": finding.cure}
                    for finding in part.findings
                ],
            }
            for part in parts
        ],
    }
