"""Serves the demonstration model on loopback until it is told to stop; the Procfile runs it."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.llm.local_server import DEMONSTRATION_MODEL, LocalModelError, start_server

STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}


class Command(BaseCommand):
    help = "Serve the demonstration model as an OpenAI-compatible server on 127.0.0.1."
    requires_system_checks: list[str] = []  # it needs no database and no broker

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=settings.MODEL_PORT, help="0 takes any free one")

    def handle(self, *_args: Any, port: int, **_options: Any) -> None:
        # Blocked before the library starts its threads, which inherit it: only the wait below receives them.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        limits = {"prompt_tokens": settings.PROMPT_MAX_TOKENS, "answer_tokens": settings.MODEL_MAX_TOKENS}
        try:
            server = start_server(port=port, **limits)
        except LocalModelError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"{DEMONSTRATION_MODEL} (demonstration model) answers at {server.listening_address}/v1"
        )
        self.stdout.flush()
        signal.sigwait(STOP_SIGNALS)
        self.stdout.write("The demonstration model stops.")
        sys.stdout.flush()
        # Nothing is to be saved, and the library's own way out waits for answers under way.
        os._exit(0)
