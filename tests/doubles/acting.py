"""Gives every agent the actions of a test's own plugin, and lets an action's death be the worker's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from agents import facts, work
from agents.llm.scripted import ScriptedModel
from agents.models import Lane, Message, Turn
from plugins.api import Plugin
from plugins.registry import Components, Registered, components_for


class Died(BaseException):
    """Stands for the death of the worker: nothing catches it."""


@contextmanager
def acting_with(monkeypatch: pytest.MonkeyPatch, plugin: Plugin) -> Iterator[None]:
    """Let every agent have the built-ins and this plugin, which may do what it wants."""
    built_in = components_for(())

    def components(_names: tuple[str, ...]) -> Components:
        def mine(kind: str) -> tuple[Any, ...]:
            return tuple(Registered(plugin=plugin.name, component=part) for part in getattr(plugin, kind))

        return Components(
            actions=built_in.actions + mine("actions"), providers=built_in.providers + mine("providers")
        )

    monkeypatch.setattr(facts, "components_for", components)
    monkeypatch.setattr("agents.pipeline.act.check_effects", lambda plugin, effects: None)
    facts.agent_facts.cache_clear()
    yield
    facts.agent_facts.cache_clear()


def let_actions_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an action's death be the worker's, instead of that of the action's thread alone."""
    monkeypatch.setattr(
        "agents.pipeline.act.call_within", lambda _seconds, function, *given: function(*given)
    )


def answer(actions: str, text: str = "Well.", arguments: str = "{}") -> ScriptedModel:
    """Script a model that names these actions."""
    return ScriptedModel(
        f"<response><actions>{actions}</actions><arguments>{arguments}</arguments><text>{text}</text></response>"
    )


def drain(receipt: Any) -> int:
    """Work the receipt's lane in this process, as after its lease ended and its delay passed."""
    Lane.objects.update(lease_until=None, next_run_at="2020-01-01T00:00:00Z")
    Turn.objects.update(suspect_count=0)  # another death would have it worked in a process of its own
    return work.drain_lane(receipt.lane_id)


def said() -> list[str]:
    """Return all that agents said, in order."""
    return list(
        Message.objects.filter(direction="out")
        .order_by("received_at", "position")
        .values_list("text", flat=True)
    )
