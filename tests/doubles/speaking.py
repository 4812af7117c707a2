"""People who go on speaking to a fleet until they are told to stop: a program beside it.

Run as `python -m tests.doubles.speaking CONNECTION PREFIX TEXT`, with the fleet's environment. Each message is received
as a network's is, and its id printed; it ends when its standard input does.
"""

from __future__ import annotations

import datetime as dt
import os
import select
import sys
from uuid import UUID

import django

PEOPLE = 6
PAUSE_SECONDS = 0.25


def main() -> None:
    """Speak, one person after the other."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eliza_site.settings")
    django.setup()
    from agents.envelopes import Incoming, IncomingPerson, IncomingRoom
    from agents.inbox import receive

    connection, prefix, text = sys.argv[1:]
    number = 0
    while not select.select([sys.stdin], [], [], PAUSE_SECONDS)[0]:
        person = f"{prefix}-person-{number % PEOPLE}"
        receive(
            Incoming(
                connection_id=UUID(connection),
                external_id=f"{prefix}-{number}",
                room=IncomingRoom(external_id=f"dm-{person}", type="DM"),
                person=IncomingPerson(external_id=person, name=person),
                text=f"{number}: {text}",
                said_at=dt.datetime.now(dt.UTC),
            )
        )
        print(f"{prefix}-{number}", flush=True)  # noqa: T201
        number += 1


if __name__ == "__main__":
    main()
