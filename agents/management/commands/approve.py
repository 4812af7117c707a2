"""`approve [ID…]`: what waits for a person's word, and that word."""

from __future__ import annotations

import argparse
import getpass
import json
from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.approvals import CannotDecide, grant, mark_done, refuse
from agents.models import Approval
from agents.reports.turns import approval_report

VERBS = {"granted": grant, "refused": refuse, "marked as done": mark_done}


class Command(BaseCommand):
    help = "List the actions that wait for a person, or grant those named; --refuse and --was-done decide otherwise."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "ids", nargs="*", type=_number, metavar="ID", help="approvals, as --list shows them"
        )
        parser.add_argument("--list", action="store_true", help="list what is pending (so without an ID)")
        ways = parser.add_mutually_exclusive_group()
        ways.add_argument("--refuse", action="store_true", help="let the turns go on without the actions")
        ways.add_argument("--was-done", action="store_true", help="count uncertain actions as done")
        parser.add_argument("--why", default="", metavar="TEXT", help="kept with the decision")
        parser.add_argument("--json", action="store_true", help="report as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        way = "refused" if options["refuse"] else "marked as done" if options["was_done"] else "granted"
        failures = [] if options["list"] else _decide(options["ids"], way, options["why"])
        shown = Approval.objects.select_related("turn__agent", "turn__person").order_by("pk")
        if options["list"] or not options["ids"]:
            shown = shown.filter(state=Approval.State.PENDING)
        else:
            shown = shown.filter(pk__in=options["ids"])
        if options["json"]:
            self.stdout.write(json.dumps([_report(approval) for approval in shown], indent=2))
        else:
            self._print(shown)
        if failures:
            raise CommandError("\n".join(failures))

    def _print(self, approvals: Iterable[Approval]) -> None:
        lines = [_line(approval) for approval in approvals]
        self.stdout.write("\n".join(lines) if lines else "Nothing waits for an approval.")


def _decide(ids: list[int], way: str, why: str) -> list[str]:
    failures = []
    for approval_id in ids:
        try:
            VERBS[way](approval_id, by=getpass.getuser(), why=why)
        except CannotDecide as error:
            failures.append(str(error))
    return failures


def _report(approval: Approval) -> dict[str, Any]:
    person = approval.turn.person
    names = {"agent": approval.turn.agent.slug, "person": person.name if person else None}
    return {**approval_report(approval), **names}


def _line(approval: Approval) -> str:
    person = approval.turn.person
    until = f", until {approval.expires_at:%Y-%m-%d %H:%M:%S}" if approval.expires_at else ""
    state = f"{approval.state}{until if approval.state == Approval.State.PENDING else ''}"
    return (
        f"{approval.pk} {approval.action} {json.dumps(approval.arguments, ensure_ascii=False)}"
        f" ({approval.kind}, {state}) by {approval.turn.agent.slug}"
        f" for {person.name if person else 'nobody'}, turn {approval.turn_id}"
    )


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no approval's number: `approve --list` shows them")
    return int(text)
