"""Agents that stand in for real ones while a fleet is drilled, and their removal with all that was said to them.

`transports.drill` calls it. A stand-in is worked as any agent is, but answers from a script; its settings mark it.
"""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import F, QuerySet

from agents import agents
from agents.characters import CharacterDocument, save_characters
from agents.models import Agent, Person, Room, Turn

MARK = "is_stand_in"
ANSWER = "Heard."


def make_stand_in(name: str, *, answer_seconds: float) -> Agent:
    """Make a running agent whose every answer takes so long and costs nothing."""
    document = CharacterDocument(content={"name": name, "bio": ["Answers while the fleet is drilled."]})
    (saved,) = save_characters([document])
    script = f"scripted@{answer_seconds:.3f}:{ANSWER}"
    Agent.objects.filter(pk=saved.agent.pk).update(
        model_small=script, model_large=script, settings={MARK: True}, revision=F("revision") + 1
    )
    return Agent.objects.get(pk=saved.agent.pk)


def find_stand_ins() -> QuerySet[Agent]:
    """Return all stand-ins that are still there."""
    return Agent.objects.filter(**{f"settings__{MARK}": True})


def is_busy(agent: Agent) -> bool:
    """Tell whether something of the agent is still worked, or learnt from."""
    turns = Turn.objects.filter(agent=agent)
    is_learning = turns.filter(evaluation=Turn.Evaluation.DUE).exists()
    return is_learning or turns.filter(state__in=Turn.OPEN_STATES).exists()


def external_prefix(agent: Agent) -> str:
    """Return how the ids of everything begin that a network has for this agent alone."""
    return f"{agent.slug}/"


def remove_stand_in(agent: Agent, *, platforms: Collection[str]) -> None:
    """Remove the agent, its character, and its rooms and people on these platforms with all their messages.

    It goes in pieces, the agent last: one that broke off is found again by `find_stand_ins`.
    """
    agents.stop(agent)
    mine = {"platform__in": platforms, "external_id__startswith": external_prefix(agent)}
    Room.objects.filter(**mine).delete()
    Person.objects.filter(**{f"accounts__{key}": value for key, value in mine.items()}).delete()
    character = agent.character
    agent.delete()
    character.delete()
