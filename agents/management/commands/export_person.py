"""`export_person PERSON`: writes all that is known of a person as one JSON document."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents import audit
from agents.exports import export_person
from agents.exports.schema import json_schema
from agents.people.families import Family, get_family
from agents.people.finding import UnknownPerson


class Command(BaseCommand):
    help = (
        "Write all that is known of a person, and of nobody else, as one JSON document, as it stands at one moment."
        " `docs/privacy.md` says what it has and what it leaves out."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "person", nargs="?", default="", metavar="PERSON", help="a person's id, or network:account id"
        )
        parser.add_argument("--out", type=Path, metavar="FILE", help="write there instead of standard output")
        parser.add_argument("--why", default="", metavar="TEXT", help="the reason, for the audit")
        parser.add_argument(
            "--schema", action="store_true", help="write the document's JSON Schema, and nothing of anybody"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["schema"]:
            self.stdout.write(json.dumps(json_schema(), indent=2))
            return
        try:
            family = get_family(options["person"])
        except UnknownPerson as error:
            raise CommandError(str(error)) from None
        if options["out"] is None:
            counts = export_person(family, lambda text: self.stdout.write(text, ending=""))
        else:
            counts = self._write_file(family, options["out"])
        audit.record(audit.COMMAND, "export", "person", {family.person.pk: counts}, why=options["why"])

    def _write_file(self, family: Family, path: Path) -> dict[str, int]:
        """Write beside the file, readable for nobody else, and put it in its place when it is whole."""
        part = path.with_name(f".{path.name}.part")
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                counts = export_person(family, file.write, tell=self._tell)
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise CommandError(f"{path} can't be written: {error.strerror}.") from None
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return counts

    def _tell(self, section: str, count: int) -> None:
        self.stdout.write(f"{count:>9,}  {section.replace('_', ' ')}")
