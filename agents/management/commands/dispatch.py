"""`dispatch`: a dispatcher in a process of its own, beside those of the workers, until it is told to stop."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from agents import dispatcher
from agents.processes import departures


class Command(BaseCommand):
    help = "Find work that was left behind and hand it out, until SIGTERM or SIGINT. Any number may run."

    def handle(self, *_args: Any, **_options: Any) -> None:
        stop = threading.Event()

        def end(_signal: int, _frame: FrameType | None) -> None:
            stop.set()
            departures.begin()

        before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
        self.stdout.write(f"Dispatching every {settings.DISPATCH_PERIOD_SECONDS:g} seconds.")
        self.stdout.flush()
        dispatcher.run(stop)
        for number, handler in before.items():
            signal.signal(number, handler)
        self.stdout.write("The dispatcher stops.")
