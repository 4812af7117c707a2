"""`talk AGENT TEXT`: says something to an agent, through inbox, queue and a worker, and prints the reply."""

from __future__ import annotations

import getpass
import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.agents import UnknownAgent, get_agent
from agents.workers import explain_waiting
from transports.management.arguments import positive
from transports.talk import Answer, NoAnswer, NotSaid, OnToken, talk

TIMEOUT_SECONDS = 120.0


class Command(BaseCommand):
    help = "Say something to an agent and print its reply."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("agent", help="its name or slug")
        parser.add_argument("text")
        parser.add_argument(
            "--person", default="", metavar="NAME", help="who speaks (default: your user name)"
        )
        parser.add_argument("--room", default="", metavar="NAME", help="a group (default: a chat of you two)")
        parser.add_argument("--timeout", type=positive, default=TIMEOUT_SECONDS, metavar="SECONDS")
        parser.add_argument("--json", action="store_true", help="report as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        on_token = self._shown if self.stdout.isatty() and not options["json"] else None
        try:
            answer = _talk(options, on_token)
        except (UnknownAgent, NotSaid) as error:
            raise CommandError(str(error)) from None
        except NoAnswer as error:
            raise CommandError(f"{error} {explain_waiting()}") from None
        self._report(answer, options)
        if answer.turn.result not in {"answered", "silent"}:
            sys.exit(1)

    def _report(self, answer: Answer, options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(answer), indent=2, ensure_ascii=False))
        elif answer.turn.result == "parked":
            self.stdout.write(f"({options['agent']} waits for an approval: see `approve --list`.)")
        elif not answer.turn.replies:
            self.stdout.write(f"({options['agent']} said nothing.)")
        elif self._streamed.strip() == answer.text.strip():
            self.stdout.write("")
        else:
            self.stdout.write(f"\n{answer.text}" if self._streamed else answer.text)
        if answer.turn.error:
            self.stderr.write(f"{answer.turn.error} `show_turn {answer.turn.id}` tells more.")
        for reply in answer.turn.replies:
            if reply.error:
                self.stderr.write(f"The reply is {reply.state}: {reply.error}")

    _streamed = ""

    def _shown(self, piece: str | None) -> None:
        self._streamed = "" if piece is None else self._streamed + piece
        self.stdout.write("\n" if piece is None else piece, ending="")
        self.stdout.flush()


def _talk(options: dict[str, Any], on_token: OnToken | None) -> Answer:
    return talk(
        get_agent(options["agent"]),
        options["text"],
        person=options["person"] or getpass.getuser(),
        room=options["room"],
        timeout_seconds=options["timeout"],
        on_token=on_token,
    )


def _as_json(answer: Answer) -> dict[str, Any]:
    return {
        "message": str(answer.receipt.message_id),
        "turn": str(answer.turn.id),
        "room": str(answer.receipt.room_id),
        "result": answer.turn.result,
        "text": answer.text,
        "seconds": answer.seconds,
        "error": answer.turn.error,
    }
