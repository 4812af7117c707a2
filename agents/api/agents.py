"""The API's operations on agents, models and turns. `eliza_site.api` mounts the router."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Router, Schema
from ninja.errors import HttpError

from agents import conversations, turns
from agents.characters import character_view
from agents.conversations import Caller
from agents.llm.router import describe_models
from agents.models import Agent
from plugins.api import CharacterView

router = Router(tags=["agents"])

EXAMPLES = 3
PLAIN_EXAMPLES = ("Who are you?", "What do you like to talk about?", "What can you do for me?")
MAX_EXAMPLE_CHARACTERS = 120


class CallerRequest(HttpRequest):
    """A request after authentication."""

    auth: Caller


class AgentOut(Schema):
    """An agent that takes messages: a line about it, and a few things that it might be asked."""

    id: UUID
    name: str
    slug: str
    status: str
    bio: str
    topics: list[str]
    examples: list[str]


class ModelsOut(Schema):
    """Which models answer; `sentence` says it in words, and `is_demonstration` whether it is a toy."""

    small: str
    large: str
    is_demonstration: bool
    sentence: str
    embedding_sentence: str


class Stopped(Schema):
    """Whether the turn was still open."""

    is_stopping: bool


@router.get("/agents", response=list[AgentOut], auth=None, summary="List the running agents")
def list_agents(request: HttpRequest) -> list[AgentOut]:  # noqa: ARG001
    """List the agents that take messages."""
    running = Agent.objects.filter(status=Agent.Status.RUNNING).select_related("character")
    return [_agent_out(agent) for agent in running]


@router.get("/models", response=ModelsOut, auth=None, summary="Say which models answer")
def list_models(request: HttpRequest) -> dict[str, Any]:  # noqa: ARG001
    """Say which models answer, and whether they are demonstration models."""
    return asdict(describe_models())


@router.post("/turns/{turn}/stop", response=Stopped, summary="Stop an answer")
def stop_turn(request: CallerRequest, turn: str) -> Stopped:
    """Ask for the turn to end; what is written of it stays."""
    try:
        found = conversations.find_turn(request.auth, UUID(turn))
    except ValueError:
        found = None
    if found is None:
        raise HttpError(404, f"You have no turn {turn[:100]!r}.")
    return Stopped(is_stopping=turns.request_stop(found.pk))


def _agent_out(agent: Agent) -> AgentOut:
    character = character_view(agent.character.document)
    return AgentOut(
        id=agent.pk,
        name=agent.name,
        slug=agent.slug,
        status=agent.status,
        bio=character.bio[0] if character.bio else "",
        topics=list(character.topics[:5]),
        examples=_examples(character),
    )


def _examples(character: CharacterView) -> list[str]:
    """Return what the character's own examples begin with, filled up with plain questions."""
    openings = [
        conversation[0].get("text", "")
        for conversation in character.message_examples
        if conversation and conversation[0].get("name") != character.name
    ]
    fitting = [text for text in openings if 0 < len(text) <= MAX_EXAMPLE_CHARACTERS]
    return list(dict.fromkeys([*fitting, *PLAIN_EXAMPLES]))[:EXAMPLES]
