"""Finds agents by name, starts, pauses and stops them, and tells workers that an agent changed.

The admin and the commands call it.

Workers keep what they read of an agent for as long as its revision stays the same.
"""

from __future__ import annotations

from uuid import UUID

from django.db.models import F
from django.utils import timezone

from agents.cleaning import clean_words
from agents.models import Agent


class UnknownAgent(LookupError):
    """No agent has that name, or several have it; the text says which there are."""


def get_agent(name: str) -> Agent:
    """Return the agent of this slug or name, in any case.

    Raises: UnknownAgent.
    """
    name = clean_words(name)
    found = list(Agent.objects.filter(slug__iexact=name)) or list(Agent.objects.filter(name__iexact=name))
    if len(found) == 1:
        return found[0]
    if found:
        slugs = ", ".join(agent.slug for agent in found)
        raise UnknownAgent(f"{len(found)} agents are named {name!r}: say which by one of {slugs}.")
    known = ", ".join(Agent.objects.order_by("slug").values_list("slug", flat=True))
    cure = f"There are: {known}." if known else "There is none: `manage.py load_character` brings one."
    raise UnknownAgent(f"No agent is named {name!r}. {cure}")


def start(agent: Agent) -> None:
    """Put an agent to work, from where it was paused or stopped."""
    _set_status(agent, Agent.Status.RUNNING)


def pause(agent: Agent) -> None:
    """Let an agent's messages wait until it is started again."""
    _set_status(agent, Agent.Status.PAUSED)


def stop(agent: Agent) -> None:
    """Take an agent out of work."""
    _set_status(agent, Agent.Status.STOPPED)


def renew(agent_id: UUID) -> None:
    """Make workers read the agent, its character and its connections anew."""
    Agent.objects.filter(pk=agent_id).update(revision=F("revision") + 1)


def _set_status(agent: Agent, status: Agent.Status) -> None:
    agent.status = status
    Agent.objects.filter(pk=agent.pk).update(
        status=status, revision=F("revision") + 1, updated_at=timezone.now()
    )
