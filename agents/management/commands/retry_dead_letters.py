"""`retry_dead_letters`: has dead letters worked again, or discards them."""

from __future__ import annotations

import argparse
import datetime as dt
import json
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents import audit
from agents.agents import UnknownAgent, get_agent
from agents.dead_letters import discard, find, retry


class Command(BaseCommand):
    help = "Work dead letters again, or discard them. Without a choice it takes all of them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--agent", default="", metavar="NAME", help="only this agent's")
        parser.add_argument("--since", type=_moment, metavar="ISO", help="only those that died since then")
        parser.add_argument(
            "--id", nargs="+", default=[], type=_identifier, metavar="ID", help="only these turns"
        )
        parser.add_argument(
            "--place", choices=["front", "end"], default="front", help="before or after all that waits"
        )
        parser.add_argument("--discard", action="store_true", help="settle that they are never answered")
        parser.add_argument("--why", default="", metavar="TEXT", help="the reason, for the audit")
        parser.add_argument("--dry-run", action="store_true", help="tell which, and change nothing")
        parser.add_argument("--json", action="store_true", help="report as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            agent = get_agent(options["agent"]) if options["agent"] else None
        except UnknownAgent as error:
            raise CommandError(str(error)) from None
        found = find(agent=agent, since=options["since"], turn_ids=options["id"])
        missing = set(options["id"]) - {turn.pk for turn in found}
        if missing:
            raise CommandError(
                f"No such dead letter: {', '.join(sorted(map(str, missing)))}. Nothing was changed."
            )
        ids = [turn.pk for turn in found]
        decided = {"by": audit.COMMAND, "why": options["why"]}
        changed: list[UUID] = []
        if options["discard"] and not options["dry_run"]:
            changed = discard(ids, **decided)
        elif not options["dry_run"]:
            changed = retry(ids, place=options["place"], **decided)
        self._report(found, changed, "discarded" if options["discard"] else "retried", options)

    def _report(self, found: list[Any], changed: list[UUID], deed: str, options: dict[str, Any]) -> None:
        if options["json"]:
            report = {"found": [_row(turn) for turn in found], deed: [str(turn_id) for turn_id in changed]}
            self.stdout.write(json.dumps(report, indent=2, ensure_ascii=False))
            return
        for turn in found:
            row = _row(turn)
            self.stdout.write(f"{row['turn']}  {row['agent']}  {row['person'] or '–'}  {row['error']}")
        would = "would be " if options["dry_run"] else ""
        count = len(found) if options["dry_run"] else len(changed)
        self.stdout.write(f"{count} dead letter{'' if count == 1 else 's'} {would}{deed}.")


def _row(turn: Any) -> dict[str, Any]:
    return {
        "turn": str(turn.pk),
        "agent": turn.agent.name,
        "person": turn.person.name if turn.person else None,
        "ended_at": turn.ended_at.isoformat() if turn.ended_at else None,
        "error": " ".join(turn.error.split())[:200],
    }


def _moment(text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no moment such as 2026-05-01T12:00:00+00:00"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _identifier(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no id of a turn") from error
