"""Jobs that run at the same time, each on a thread with a database connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from django.db import connection as database


def in_threads(*works: Callable[[], Any]) -> list[Any]:
    """Return what each returned, or the exception that it raised."""
    outcomes: list[Any] = [None] * len(works)

    def run(place: int, job: Callable[[], Any]) -> None:
        try:
            outcomes[place] = job()
        except Exception as error:
            outcomes[place] = error
        finally:
            database.close()

    threads = [threading.Thread(target=run, args=(place, job)) for place, job in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes
