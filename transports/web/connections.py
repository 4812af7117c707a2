"""The web's connections: each agent that is spoken to on the web has one, made at the first word.

The API asks; what it learns of an agent here is a few seconds old at most.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from uuid import UUID

from cachetools import TTLCache, cached
from cachetools.keys import hashkey
from django.db.models import Q

from agents.models import Agent
from transports.models import Connection
from transports.web.payloads import PLATFORM
from transports.web.transport import WebTransport

STAYS_FRESH_SECONDS = 3.0
SLUG = re.compile(r"[A-Za-z0-9_-]{1,100}")


@dataclass(frozen=True, kw_only=True)
class WebAgent:
    """An agent as the web addresses it."""

    id: UUID
    name: str
    slug: str
    status: str
    connection_id: UUID


def web_connection(agent: Agent) -> Connection:
    """Find the agent's connection to the web, or make it."""
    connection, _ = Connection.objects.get_or_create(
        agent=agent,
        platform=PLATFORM,
        name="",
        defaults={"transport": WebTransport.name, "supports_streaming": WebTransport.supports_streaming},
    )
    return connection


_agents: TTLCache[object, WebAgent | None] = TTLCache(maxsize=1024, ttl=STAYS_FRESH_SECONDS)


@cached(_agents, key=hashkey, lock=threading.Lock())
def find_web_agent(slug_or_id: str) -> WebAgent | None:
    """Return the agent of this slug or id, or None.

    Unit: up to STAYS_FRESH_SECONDS old.
    """
    which = Q(slug=slug_or_id)
    try:
        which |= Q(pk=UUID(slug_or_id))
    except ValueError:
        if not SLUG.fullmatch(slug_or_id):
            return None
    agent = Agent.objects.filter(which).first()
    if agent is None:
        return None
    return WebAgent(
        id=agent.pk,
        name=agent.name,
        slug=agent.slug,
        status=agent.status,
        connection_id=web_connection(agent).pk,
    )


def forget_web_agents() -> None:
    """Forget what was looked up, so that a change is seen at once."""
    _agents.clear()
