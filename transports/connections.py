"""Connections for messages that no network brings: those of files and of the terminal. The commands ask.

An agent's connection to a platform is the oldest one that is enabled, so that the same file comes by the same
connection again.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.models import Agent
from transports.fake.transport import FakeTransport
from transports.models import Connection
from transports.web.transport import WebTransport

TERMINAL = "terminal"
FAKE_NAME = "fake"
"""The name of a connection that stands in for a network's own, which is thereby free to come later."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """How an agent is reached on a platform; `connection` is None where there is none yet."""

    platform: str
    connection: Connection | None
    is_disabled: bool = False


def find_route(agent: Agent, platform: str) -> Route:
    """Find the agent's connection to the platform."""
    known = list(
        Connection.objects.filter(agent=agent, platform=platform).order_by("-is_enabled", "created_at")
    )
    if not known:
        return Route(platform=platform, connection=None)
    return Route(platform=platform, connection=known[0], is_disabled=not known[0].is_enabled)


def make_fake_connection(agent: Agent, platform: str) -> Connection:
    """Make a connection of the fake transport, which takes every reply and sends nothing."""
    connection, _ = Connection.objects.get_or_create(
        agent=agent, platform=platform, name=FAKE_NAME, defaults={"transport": FakeTransport.name}
    )
    return connection


def terminal_connection(agent: Agent) -> Connection:
    """Find the agent's connection to the terminal, or make it: the web's transport, as it shows tokens."""
    connection, _ = Connection.objects.get_or_create(
        agent=agent,
        platform=TERMINAL,
        name="",
        defaults={"transport": WebTransport.name, "supports_streaming": WebTransport.supports_streaming},
    )
    return connection
