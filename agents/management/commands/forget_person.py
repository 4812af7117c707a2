"""`forget_person PERSON`: removes all that is known of a person, for good."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import redis
from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents import audit, forgetting
from agents.forgetting import CannotForget, Progress
from agents.people.families import Family, get_family
from agents.people.finding import UnknownPerson

WORD = "forget"
LOOK_SECONDS = 1.0
REQUESTED = "It was requested."
NOTHING = ["           nothing"]


class Command(BaseCommand):
    help = (
        "Forget a person: their accounts, messages, memories and all that hangs on them. What stays for others is"
        " cut free of their words. It can't be undone. One that broke off goes on when it is run again, and by"
        " itself while a fleet runs."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("person", metavar="PERSON", help="a person's id, or network:account id")
        parser.add_argument("--dry-run", action="store_true", help="tell how much it is, and change nothing")
        parser.add_argument("--yes", action="store_true", help="do not ask before it begins")
        parser.add_argument(
            "--why", default=REQUESTED, metavar="TEXT", help="the reason for the audit; it must not name them"
        )
        parser.add_argument("--json", action="store_true", help="report as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        begun = forgetting.find_unfinished(options["person"])
        if begun is None:
            family = self._find(options["person"])
            if options["dry_run"]:
                self._report_survey(family, options)
                return
            self._require_consent(family, options)
            begun = self._begin(family, options)
        elif options["dry_run"]:
            raise CommandError("The person is being forgotten already: run it without --dry-run to end it.")
        else:
            self._say("It had begun before, and goes on.", options)
        self._work(begun, options)

    def _find(self, reference: str) -> Family:
        try:
            return get_family(reference)
        except UnknownPerson as error:
            raise CommandError(str(error)) from None

    def _begin(self, family: Family, options: dict[str, Any]) -> UUID:
        try:
            return forgetting.begin(family.person.pk, by=audit.COMMAND, why=options["why"]).pk
        except CannotForget as error:
            raise CommandError(str(error)) from None

    def _require_consent(self, family: Family, options: dict[str, Any]) -> None:
        """Ask for a word before anything is lost.

        Raises: CommandError where nobody can be asked, or the word was another one.
        """
        for name in forgetting.staff_of(family):
            self._say(f"The user {name} may see the admin, and stays: delete it there.", options)
        if options["yes"]:
            return
        if not sys.stdin.isatty():
            raise CommandError("This can't be undone: add --yes, or run it at a terminal.")
        for line in _lines(forgetting.survey(family).gone):
            self._say(line, options)
        merged = f" and {len(family.ids) - 1} merged into them" if len(family.ids) > 1 else ""
        self._say(f"{family.person}{merged} will be forgotten, for good.", options)
        if input(f"Type {WORD!r} to go on: ").strip() != WORD:
            raise CommandError("Nothing was done.")

    def _work(self, begun: UUID, options: dict[str, Any]) -> None:
        heard: list[Progress] = []

        def tell(progress: Progress) -> None:
            if self.stdout.isatty() and not options["json"]:
                self.stdout.write(f"\r{sum(progress.counts.values()):,} rows", ending="")
            heard[:] = [progress]

        try:
            while not forgetting.go_on(begun, tell=tell):
                # A worker took it up, or one that was killed holds it still, for half a minute at most.
                time.sleep(LOOK_SECONDS)
        except redis.RedisError as error:
            raise CommandError(
                f"Valkey does not answer ({error}): streams and cached values are still there. Run it again later;"
                " while a fleet runs, it goes on by itself."
            ) from None
        counts = heard[0].counts if heard else {}
        if options["json"]:
            self.stdout.write(json.dumps({"forgetting": str(begun), "counts": counts}, indent=2))
            return
        for line in _lines(counts):
            self.stdout.write(line)
        self.stdout.write("The person is forgotten.")

    def _report_survey(self, family: Family, options: dict[str, Any]) -> None:
        survey = forgetting.survey(family)
        if options["json"]:
            report = {"forgetting": None, "counts": dict(survey.gone), "searched": dict(survey.searched)}
            self.stdout.write(json.dumps(report, indent=2))
            return
        self.stdout.write("Would go:")
        for line in _lines(survey.gone) or NOTHING:
            self.stdout.write(line)
        self.stdout.write("Would stay, and be searched for the person's words:")
        for line in _lines(survey.searched) or NOTHING:
            self.stdout.write(line)

    def _say(self, text: str, options: dict[str, Any]) -> None:
        (self.stderr if options["json"] else self.stdout).write(text)


def _lines(counts: Mapping[str, int]) -> list[str]:
    return [f"{count:>9,}  {kind.replace('_', ' ')}" for kind, count in counts.items() if count]
