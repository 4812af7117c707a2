"""`drill`: kills what runs here while people of its own speak, and tells whether anything was lost or said twice."""

from __future__ import annotations

import json
import random
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agents.inbox import Refused
from transports.drill.cast import remove_all
from transports.drill.faults import NotAllowed, is_redis
from transports.drill.planning import Order, make_plan
from transports.drill.readiness import NotReady
from transports.drill.reporting import as_json, notes_of, table_of
from transports.drill.running import Audience, Report, run
from transports.management.arguments import positive

WORD = "drill"
LEFT = "`drill --clear` removes what it left behind."


class Command(BaseCommand):
    help = (
        "Drill the fleet of this machine: people of its own speak to an agent of its own while workers are killed"
        " (SIGKILL), the broker is emptied and the database's sessions are cut; then all is judged. The exit code"
        " is 0 only when nothing was lost, doubled, out of order, undelivered or dead. Real people who are"
        " answered meanwhile feel the faults, too: their answers come later."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        plain = Order(seed=0)
        parser.add_argument("--messages", type=_count, default=plain.messages, metavar="N")
        parser.add_argument(
            "--rate", type=positive, default=plain.per_second, metavar="R", help="messages a second, at most"
        )
        parser.add_argument("--people", type=_count, default=plain.people, metavar="P", help="who speak")
        parser.add_argument(
            "--kill-workers", type=_number, default=0, metavar="K", help="workers to be killed"
        )
        parser.add_argument(
            "--flush-broker", **_times("empty the broker so many times; once without a number")
        )
        parser.add_argument("--kill-backends", **_times("cut the database's sessions so many times"))
        parser.add_argument(
            "--keyless", action="store_true", help="half of the people are on a network that knows no key"
        )
        parser.add_argument("--seed", type=int, help="what is random; printed, so that it can be repeated")
        parser.add_argument(
            "--timeout",
            type=positive,
            default=plain.patience_seconds,
            metavar="SECONDS",
            help="wait so long after the last message and fault (default: %(default)s)",
        )
        parser.add_argument("--json", action="store_true", help="report as JSON")
        parser.add_argument("--yes", action="store_true", help="do not ask before anything is harmed")
        parser.add_argument("--keep", action="store_true", help="keep the agent, its people and the ledger")
        parser.add_argument(
            "--clear", action="store_true", help="remove what earlier drills left; nothing else"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["clear"]:
            for name in remove_all():
                self.stdout.write(f"{name} is removed.")
            return
        order = _order_of(options)
        self._say(f"Seed {order.seed}", options)
        self._require_consent(order, options)
        try:
            report = self._run(order, options)
        except NotReady as error:
            raise CommandError(str(error)) from None
        except (NotAllowed, Refused) as error:
            raise CommandError(f"{error} {LEFT}") from None
        except KeyboardInterrupt:
            raise CommandError(f"Broken off, and not judged. {LEFT}") from None
        self._report(report, options)
        if not report.is_good:
            sys.exit(1)

    def _require_consent(self, order: Order, options: dict[str, Any]) -> None:
        """Ask for a word before anything is harmed.

        Raises: CommandError where nobody can be asked, or the word was another one.
        """
        if not order.has_faults:
            return
        for harm in _harms(order):
            self._say(harm, options)
        if options["yes"]:
            return
        if not sys.stdin.isatty():
            raise CommandError("This harms a running fleet: add --yes, or run it at a terminal.")
        if input(f"Type {WORD!r} to go on: ").strip() != WORD:
            raise CommandError("Nothing was done.")

    def _run(self, order: Order, options: dict[str, Any]) -> Report:
        with self._audience(order, options) as audience:
            return run(make_plan(order), audience, is_kept=options["keep"])

    @contextmanager
    def _audience(self, order: Order, options: dict[str, Any]) -> Iterator[Audience]:
        """Show bars at a terminal, and what happens unless a program reads."""
        console = Console()
        is_bare = options["json"] or not self.stdout.isatty()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, disable=is_bare) as progress:
            said = progress.add_task("said", total=order.messages)
            over = progress.add_task("over", total=order.messages)

            def happened(text: str) -> None:
                if is_bare:
                    self._say(text, options)
                else:
                    console.print(text, markup=False, highlight=False)

            yield Audience(
                said=lambda: progress.advance(said),
                over=lambda count: progress.advance(over, count),
                happened=happened,
            )

    def _report(self, report: Report, options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps(as_json(report), indent=2))
            return
        console = Console(
            width=None if self.stdout.isatty() else 120, file=cast("IO[str]", self.stdout), soft_wrap=True
        )
        console.print(table_of(report))
        for note in notes_of(report):
            console.print(note, markup=False, highlight=False)

    def _say(self, text: str, options: dict[str, Any]) -> None:
        (self.stderr if options["json"] else self.stdout).write(text)
        (self.stderr if options["json"] else self.stdout).flush()


def _order_of(options: dict[str, Any]) -> Order:
    seed = options["seed"]
    return Order(
        seed=random.SystemRandom().randrange(1, 1_000_000) if seed is None else seed,
        messages=options["messages"],
        per_second=options["rate"],
        people=options["people"],
        is_half_keyless=options["keyless"],
        kills=options["kill_workers"],
        flushes=options["flush_broker"],
        cuts=options["kill_backends"],
        patience_seconds=options["timeout"],
    )


def _harms(order: Order) -> Iterator[str]:
    """Say what will be harmed."""
    if order.kills:
        yield f"{order.kills} times a worker of this machine's fleet will be killed (SIGKILL)."
    if order.flushes and is_redis():
        yield (
            f"{order.flushes} times the broker's whole database will be emptied (FLUSHDB), with everything that"
            " other programs keep in it."
        )
        yield (
            "Streams and cache (REDIS_URL) live in the same database unless CELERY_BROKER_URL names another: pages"
            " that listen lose their events."
        )
    elif order.flushes:
        yield f"{order.flushes} times the fleet's queues will be emptied."
    if order.cuts:
        yield f"{order.cuts} times all other sessions of the site's role in its database will be ended."


def _times(explanation: str) -> dict[str, Any]:
    return {"nargs": "?", "type": _number, "const": 1, "default": 0, "metavar": "TIMES", "help": explanation}


def _number(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is no number of times")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text)
