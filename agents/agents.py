"""Starts, pauses and stops agents, and tells workers that an agent changed; the admin calls it.

Workers keep what they read of an agent for as long as its revision stays the same.
"""

from __future__ import annotations

from uuid import UUID

from django.db.models import F
from django.utils import timezone

from agents.models import Agent


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
