"""`talk AGENT TEXT`: says something to an agent, through inbox, queue and a worker, and prints the reply.

`talk --ephemeral CHARACTER` does all of it in this process, without a server, and keeps nothing.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.agents import UnknownAgent, get_agent
from agents.cleaning import clean_words
from agents.models import Agent
from agents.processes.workers import explain_waiting
from transports.ephemeral import NotEphemeral, working_alone
from transports.management.arguments import positive
from transports.talk import Answer, NoAnswer, NotSaid, talk

TIMEOUT_SECONDS = 120.0


class Command(BaseCommand):
    help = "Say something to an agent and print its reply."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "agent", help="its name or slug; with --ephemeral a character file, or a sample character's name"
        )
        parser.add_argument(
            "text", nargs="*", help="a message each; with --ephemeral, else from the terminal"
        )
        parser.add_argument(
            "--ephemeral", action="store_true", help="in this process alone: no server, and nothing is kept"
        )
        parser.add_argument(
            "--person", default="", metavar="NAME", help="who speaks (default: your user name)"
        )
        parser.add_argument("--room", default="", metavar="NAME", help="a group (default: a chat of you two)")
        parser.add_argument("--timeout", type=positive, default=TIMEOUT_SECONDS, metavar="SECONDS")
        parser.add_argument("--json", action="store_true", help="report as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["ephemeral"]:
            self._hold_alone(options)
        elif not options["text"]:
            raise CommandError("Say something: talk AGENT TEXT")
        try:
            agent = get_agent(options["agent"])
        except UnknownAgent as error:
            raise CommandError(str(error)) from None
        if not all(self._say(agent, text, options) for text in options["text"]):
            sys.exit(1)

    def _hold_alone(self, options: dict[str, Any]) -> None:
        """Hold a conversation in this process, and end it: what it still learns would be forgotten at once."""
        if not settings.EPHEMERAL:
            raise CommandError("Run it as: manage.py talk --ephemeral CHARACTER")
        code = 0
        try:
            with working_alone(options["agent"], tell=self.stderr.write) as agent:
                for text in options["text"] or self._lines():
                    code |= self._say_on(agent, text, options)
        except NotEphemeral as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            self.stdout.write("")
        self.stdout.flush()
        self.stderr.flush()
        os._exit(code)

    def _say_on(self, agent: Agent, text: str, options: dict[str, Any]) -> int:
        """Say the text, whatever becomes of it; return the command's exit code."""
        try:
            return 0 if self._say(agent, text, options) else 1
        except CommandError as error:
            self.stderr.write(str(error))
            return 1

    def _lines(self) -> Iterator[str]:
        while True:
            try:
                line = input("> " if sys.stdin.isatty() else "")
            except EOFError:
                return
            if line.strip():
                yield line

    def _say(self, agent: Agent, text: str, options: dict[str, Any]) -> bool:
        """Say the text, print what becomes of it, and tell whether that is as it should be."""
        on_token = self._shown if self.stdout.isatty() and not options["json"] else None
        self._streamed = ""
        try:
            answer = talk(
                agent,
                text,
                person=options["person"] or getpass.getuser(),
                room=options["room"],
                timeout_seconds=options["timeout"],
                on_token=on_token,
            )
        except NotSaid as error:
            raise CommandError(str(error)) from None
        except NoAnswer as error:
            why = "The model may be slow: --timeout waits longer."
            raise CommandError(f"{error} {why if settings.EPHEMERAL else explain_waiting()}") from None
        self._report(answer, options)
        return answer.turn.result in {"answered", "silent"}

    def _report(self, answer: Answer, options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(answer), indent=2, ensure_ascii=False))
        elif answer.turn.result == "parked":
            how = ", which nobody can give here" if settings.EPHEMERAL else ": see `approve --list`"
            self.stdout.write(f"({options['agent']} waits for an approval{how}.)")
        elif not answer.turn.replies:
            self.stdout.write(f"({options['agent']} said nothing.)")
        elif clean_words(self._streamed).strip() == answer.text.strip():
            self.stdout.write("")
        else:
            self.stdout.write(f"\n{answer.text}" if self._streamed else answer.text)
        if answer.turn.error:
            more = "" if settings.EPHEMERAL else f" `show_turn {answer.turn.id}` tells more."
            self.stderr.write(f"{answer.turn.error}{more}")
        for reply in answer.turn.replies:
            if reply.error:
                self.stderr.write(f"The reply is {reply.state}: {reply.error}")

    _streamed = ""

    def _shown(self, piece: str | None) -> None:
        self._streamed = "" if piece is None else self._streamed + piece
        self.stdout.write("\n" if piece is None else piece, ending="")
        self.stdout.flush()


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
