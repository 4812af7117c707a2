"""`ingest FILE.jsonl`: sends inbound messages through inbox, queue and workers, like any message."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agents.agents import UnknownAgent
from agents.models import Agent
from agents.processes.workers import explain_waiting
from transports import ingest
from transports.fake.transport import FAKE_NAMES
from transports.ingest import Audience, FaultyFile, Figures, Patience, Plan, ReplyLine
from transports.management.arguments import positive
from transports.models import Connection
from transports.reply_files import ReplyFile

SAMPLE_AGENT = "Eliza"


class Command(BaseCommand):
    help = (
        'Send inbound messages, one JSON a line: {"id", "platform", "room", "person", "text", "at",'
        ' "attachments"?, "mention"?, "room_type"?}. A message that is known already changes nothing.'
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE.jsonl")
        parser.add_argument("--agent", default=SAMPLE_AGENT, help="its name or slug (default: %(default)s)")
        parser.add_argument(
            "--rate", type=positive, metavar="N", help="messages a second (default: no limit)"
        )
        parser.add_argument("--wait", action="store_true", help="until every new message is answered")
        parser.add_argument("--replies", type=Path, metavar="OUT.jsonl", help="a line a reply; waits, too")
        parser.add_argument(
            "--timeout",
            type=positive,
            metavar="SECONDS",
            help=f"wait so long after the last message (default: until {ingest.STALLED_AFTER_SECONDS:.0f}"
            " seconds pass without an answer)",
        )
        parser.add_argument("--json", action="store_true", help="report as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            plan = ingest.plan(options["file"], options["agent"])
            # The replies' file comes first: where it can't be written, nothing was made.
            with ReplyFile(options["replies"]) if options["replies"] else nullcontext() as out:
                connections = self._connect(plan, options)
                figures = self._run(plan, connections, out, options)
        except FaultyFile as error:
            for number, fault in error.faults:
                self.stderr.write(f"line {number}: {fault}")
            raise CommandError(str(error)) from None
        except BrokenPipeError:  # nobody reads standard output any longer
            raise
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}. Name another file.") from None
        except (UnknownAgent, ingest.Interrupted) as error:
            raise CommandError(str(error)) from None
        self._report(plan, connections, figures, options)
        if not figures.is_complete:
            sys.exit(1)

    def _connect(self, plan: Plan, options: dict[str, Any]) -> dict[str, Connection]:
        """Make what connections are missing, and say which they are."""
        connections = ingest.connect(plan)
        for platform, connection in connections.items():
            if connection.transport not in FAKE_NAMES:
                continue
            made = (
                "its connection is"
                if plan.routes[platform].connection
                else "has no connection yet and gets one"
            )
            self._say(
                f"{platform}: {made} of the fake transport, which takes replies and sends nothing", options
            )
        if plan.agent.status == Agent.Status.PAUSED:
            self._say(f"{plan.agent.name} is paused: the messages wait until it is started again", options)
        return connections

    def _run(
        self,
        plan: Plan,
        connections: dict[str, Connection],
        out: ReplyFile | None,
        options: dict[str, Any],
    ) -> Figures:
        is_waiting = options["wait"] or options["replies"]
        patience = Patience(seconds=options["timeout"]) if is_waiting else None
        with self._audience(plan, out, options, is_waiting=patience is not None) as audience:
            return ingest.ingest(
                plan, connections, per_second=options["rate"], patience=patience, audience=audience
            )

    @contextmanager
    def _audience(
        self, plan: Plan, out: ReplyFile | None, options: dict[str, Any], *, is_waiting: bool
    ) -> Iterator[Audience]:
        """Show a bar at a terminal, and each reply unless a program reads."""
        console = Console()
        is_bare = options["json"] or not self.stdout.isatty()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, disable=is_bare) as progress:
            total = plan.survey.count
            sent = progress.add_task("sent", total=total)
            ended = progress.add_task("answered", total=total, visible=is_waiting)

            def replied(reply: ReplyLine) -> None:
                if out is not None:
                    out.write(reply)
                line = f"{reply.platform} {reply.person}: {' '.join(reply.text.split())}"
                if not is_bare:
                    console.print(line, markup=False, highlight=False)
                elif not options["json"]:
                    self.stdout.write(line)
                    self.stdout.flush()

            yield Audience(
                sent=lambda: progress.advance(sent),
                ended=lambda _turn: progress.advance(ended),
                replied=replied,
            )

    def _report(
        self, plan: Plan, connections: dict[str, Connection], figures: Figures, options: dict[str, Any]
    ) -> None:
        report = _figures_of(plan, connections, figures)
        if options["json"]:
            self.stdout.write(json.dumps(report, indent=2))
        else:
            self.stdout.write(f"{figures.new} new, {figures.known} known already")
        if figures.has_waited and not options["json"]:
            self.stdout.write(_sentence(figures))
        if parked := figures.results["parked"]:
            self.stderr.write(f"Turns that wait for an approval: {parked}. See `approve --list`.")
        if figures.open:
            self.stderr.write(explain_waiting())

    def _say(self, text: str, options: dict[str, Any]) -> None:
        (self.stderr if options["json"] else self.stdout).write(text)


def _figures_of(plan: Plan, connections: dict[str, Connection], figures: Figures) -> dict[str, Any]:
    return {
        "agent": plan.agent.slug,
        "messages": plan.survey.count,
        "new": figures.new,
        "known": figures.known,
        "connections": [
            {
                "platform": platform,
                "connection": str(connection.pk),
                "transport": connection.transport,
                "is_new": plan.routes[platform].connection is None,
            }
            for platform, connection in connections.items()
        ],
        "replies": figures.replies,
        "results": dict(figures.results),
        "open": figures.open,
        "is_complete": figures.is_complete,
        "seconds": round(figures.seconds, 3),
        "p50_seconds": figures.percentile(0.5),
        "p95_seconds": figures.percentile(0.95),
    }


def _sentence(figures: Figures) -> str:
    parts = [f"{count} {result}" for result, count in sorted(figures.results.items())]
    if figures.open:
        parts.append(f"{figures.open} not ended in time")
    p50, p95 = figures.percentile(0.5), figures.percentile(0.95)
    times = f"; from receipt to reply p50 {p50:.3f} s, p95 {p95:.3f} s" if p50 is not None and p95 else ""
    return f"{', '.join(parts) or 'nothing to wait for'} in {figures.seconds:.1f} s{times}"
