"""What a process knows of each agent: its character, plugins and models, read once a revision.

`agents.pipeline` asks it for each turn; the revision and version come with the claimed turn, so that nothing
stale is ever used.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cachetools import LRUCache, cached
from cachetools.keys import hashkey
from django.conf import settings

from agents.characters.views import character_view
from agents.models import Agent, CharacterVersion
from plugins.api import AgentView
from plugins.registry import Components, components_for


@dataclass(frozen=True, kw_only=True)
class AgentFacts:
    """An agent as the pipeline works it."""

    view: AgentView
    character_version_id: UUID | None
    components: Components
    model_small: str
    model_large: str
    temperature: float
    max_tokens: int
    apology: str
    bot_turn_limit: int | None
    talk_share_limit: int
    settings: Mapping[str, Any]


@cached(LRUCache(maxsize=512), key=lambda *key: hashkey(*key), lock=threading.Lock())
def agent_facts(agent_id: UUID, revision: int, character_version: int) -> AgentFacts:  # noqa: ARG001
    """Return what is known of the agent at this revision, by which it is kept, and version of its character."""
    agent = Agent.objects.select_related("character").get(pk=agent_id)
    version = CharacterVersion.objects.filter(
        character_id=agent.character_id, number=character_version
    ).first()
    document = version.document if version else agent.character.document
    plugin_names = tuple(str(name) for name in document.get("plugins") or ())
    return AgentFacts(
        view=AgentView(id=agent.pk, name=agent.name, character=character_view(document)),
        character_version_id=version.pk if version else None,
        components=components_for(plugin_names),
        model_small=agent.model_small,
        model_large=agent.model_large,
        temperature=agent.temperature,
        max_tokens=agent.max_tokens or settings.MODEL_MAX_TOKENS,
        apology=agent.apology,
        bot_turn_limit=agent.bot_turn_limit,
        talk_share_limit=agent.talk_share_limit,
        settings=agent.settings,
    )
