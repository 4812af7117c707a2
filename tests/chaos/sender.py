"""The sender of a fault test: a process of its own that brings messages in, and may be killed in it.

The zygote forks it. It reads one JSON object a line and answers each with one: `say` is `inbox.receive`, the
rest prepares.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection as database

from agents import agents, crashpoints
from agents.envelopes import Incoming, IncomingPerson, IncomingRoom
from agents.inbox import receive
from agents.models import Agent, Character, CharacterVersion
from transports.models import Connection
from transports.web.auth import caller_of_user, create_api_key

SENDERS_PLAN = "senders.json"


def say(*, connection: str, external_id: str, person: str, room: str, text: str) -> dict[str, Any]:
    """Bring one message in."""
    receipt = receive(
        Incoming(
            connection_id=UUID(connection),
            external_id=external_id,
            room=IncomingRoom(external_id=room),
            person=IncomingPerson(external_id=person, name=person.title()),
            text=text,
            said_at=dt.datetime.now(dt.UTC),
        )
    )
    return {"turn": str(receipt.turn_id), "is_new": receipt.is_new}


def make_agent(*, name: str, **changes: Any) -> dict[str, Any]:
    """Make a running agent."""
    document = {"name": name, "bio": ["Does as it is told."]}
    character = Character.objects.create(name=name, slug=name.lower(), document=document, version=1)
    CharacterVersion.objects.create(character=character, number=1, document=document)
    agent = Agent.objects.create(character=character, name=name, slug=name.lower(), **changes)
    return {"agent": str(agent.pk)}


def connect(
    *, agent: str, platform: str, transport: str, settings: dict[str, Any], is_streaming: bool
) -> dict[str, Any]:
    """Connect an agent to a network."""
    defaults = {"transport": transport, "settings": settings, "supports_streaming": is_streaming}
    made, _ = Connection.objects.update_or_create(agent_id=agent, platform=platform, defaults=defaults)
    return {"connection": str(made.pk)}


def make_key(*, name: str) -> dict[str, Any]:
    """Make a user of the site with a key to the API."""
    user, _ = User.objects.get_or_create(username=name)
    return {"key": create_api_key(name, user), "person": caller_of_user(user).external_id}


def pause(*, agent: str) -> dict[str, Any]:
    """Let the agent's messages wait."""
    agents.pause(Agent.objects.get(pk=agent))
    return {}


def start(*, agent: str) -> dict[str, Any]:
    """Put the agent to work again."""
    agents.start(Agent.objects.get(pk=agent))
    return {}


def set_on_uncertain(*, agent: str, choice: str) -> dict[str, Any]:
    """Choose what becomes of a reply that may have been sent."""
    Agent.objects.filter(pk=agent).update(on_uncertain=choice)
    return {}


DOORS = {door.__name__: door for door in (say, make_agent, connect, make_key, pause, start, set_on_uncertain)}


def main() -> None:
    """Answer until the input ends; crash points follow the senders' own plan."""
    crashpoints.arm(str(Path(settings.RUN_DIR) / SENDERS_PLAN))
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = DOORS[order.pop("door")](**order)
        except Exception as error:  # the door of this process: the test sees what failed
            answer = {"error": f"{type(error).__name__}: {error}"}
            # As at the end of a request: a session that was cut is of no use to the next order.
            database.close()
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
