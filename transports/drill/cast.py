"""Who plays in a drill: an agent of its own, its two networks with their ledger, and people who speak to it."""

from __future__ import annotations

import datetime as dt
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from uuid_utils.compat import uuid7

from agents import inbox
from agents.databases import is_away
from agents.envelopes import Incoming, IncomingPerson, IncomingRoom
from agents.models import Agent
from agents.people.stand_ins import external_prefix, find_stand_ins, make_stand_in, remove_stand_in
from transports.drill.faults import NotAllowed
from transports.drill.planning import KEYED, KEYLESS
from transports.models import Connection
from transports.verdicts import Said

PLATFORMS = {KEYED: "drill", KEYLESS: "drill-keyless"}
ANSWER_SECONDS = 0.25
"""An answer takes so long, so that whoever is killed had something in hand."""
SAY_AGAIN_SECONDS = 0.2
MAX_TRIES = 150


@dataclass(frozen=True, kw_only=True)
class Cast:
    """A drill's agent with its connections, by their transports, and the ledger of what they showed."""

    agent: Agent
    connections: dict[str, UUID]
    ledger: Path

    def say(self, number: int, *, person: int, network: str) -> Said:
        """Say one thing, again and again until it is acknowledged, as networks do; return what was acknowledged.

        Raises: OperationalError where the database stays away, inbox.Refused.
        """
        prefix = external_prefix(self.agent)
        name = f"{prefix}person-{person}"
        incoming = Incoming(
            connection_id=self.connections[network],
            external_id=f"{prefix}{number}",
            room=IncomingRoom(external_id=f"{name}-chat"),
            person=IncomingPerson(external_id=name, name=f"Person {person} of a drill"),
            text=f"This is message {number} of a drill.",
            said_at=dt.datetime.now(dt.UTC),
        )
        for tries_left in reversed(range(MAX_TRIES)):
            try:
                inbox.receive(incoming, is_limited=False)
                break
            except (OperationalError, InterfaceError) as error:
                if not tries_left or not is_away(error):
                    raise
                connection.close()
                time.sleep(SAY_AGAIN_SECONDS)
        return Said(external_id=incoming.external_id, conversation=f"{network} {name}")


def make_cast(seed: int) -> Cast:
    """Make an agent, its networks and the folder of their ledger.

    Raises: NotAllowed where the folder can't be written.
    """
    name = f"Drill {seed} {uuid7().hex[-6:]}"
    folder = _folder_of(name)
    try:
        folder.mkdir(parents=True)
        ledger = folder / "network.jsonl"
        ledger.touch(mode=0o600)
    except OSError as error:
        raise NotAllowed(
            f"The ledger can't be written ({error}): run the drill with the workers' RUN_DIR, as their user."
        ) from error
    agent = make_stand_in(name, answer_seconds=ANSWER_SECONDS)
    connections = {
        transport: Connection.objects.create(
            agent=agent, platform=platform, transport=transport, settings={"ledger": str(ledger)}
        ).pk
        for transport, platform in PLATFORMS.items()
    }
    return Cast(agent=agent, connections=connections, ledger=ledger)


def remove(agent: Agent) -> None:
    """Remove a drill's agent with its people, its rooms, what was said in them, and its ledger."""
    remove_stand_in(agent, platforms=PLATFORMS.values())
    shutil.rmtree(_folder_of(agent.name), ignore_errors=True)


def remove_all() -> Iterator[str]:
    """Remove what earlier drills left, and tell the name of each agent that is gone."""
    for agent in find_stand_ins():
        remove(agent)
        yield agent.name


def _folder_of(name: str) -> Path:
    return Path(settings.RUN_DIR).resolve() / "drills" / name.lower().replace(" ", "-")
