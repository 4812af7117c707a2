"""Prompts: within their budget, with the newest kept."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agents import lanes
from agents.inbox import receive
from agents.prompts import answer_prompt, count_tokens
from agents.scene import Scene
from agents.trace import Trace
from plugins.api import Action, ActionResult, MessageView

NOW = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)


@pytest.fixture
def scene(incoming: Any) -> Scene:
    """A private scene with one message."""
    from agents.pipeline import store

    claimed = lanes.claim(receive(incoming("What did I say?")).lane_id)
    assert claimed is not None
    turn = claimed[1]
    assert turn is not None
    return store.open_scene(turn, Trace(turn.id))


def said(text: str, *, by_agent: bool) -> MessageView:
    return MessageView(
        id=uuid4(), text=text, speaker="x", person_id=None if by_agent else uuid4(), said_at=NOW
    )


def with_history(scene: Scene, texts: list[str]) -> Scene:
    messages = tuple(said(text, by_agent=bool(number % 2)) for number, text in enumerate(texts))
    return replace(scene, state=replace(scene.state, recent_messages=messages))


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=st.lists(st.text(alphabet="abc ", max_size=4000), max_size=30),
    known=st.text(alphabet="abc ", max_size=20_000),
    message=st.text(alphabet="abc ", min_size=1, max_size=20_000),
)
def test_the_budget_is_kept_at_any_length(
    scene: Scene, settings: Any, texts: list[str], known: str, message: str
) -> None:
    settings.PROMPT_MAX_TOKENS = 1000
    scene = replace(with_history(scene, texts), message=replace(scene.message, text=message))
    prompt = answer_prompt(scene, [("KNOWN", known)], [])
    assert sum(count_tokens(line.content) for line in prompt) <= 1000 + 10
    assert prompt[0].role == "system"
    assert prompt[-1].role == "user"


def test_of_a_long_history_the_newest_is_kept(scene: Scene, settings: Any) -> None:
    settings.PROMPT_MAX_TOKENS = 400
    prompt = answer_prompt(with_history(scene, [f"{number} " + "x" * 200 for number in range(20)]), [], [])
    kept = [int(line.content.split()[0]) for line in prompt[1:-1]]
    assert kept == list(range(kept[0], 20))
    assert len(kept) < 20


def test_in_a_group_each_line_says_who_spoke(scene: Scene) -> None:
    scene = with_history(replace(scene, turn=replace(scene.turn, room_type="GROUP")), ["hello all"])
    prompt = answer_prompt(scene, [], [])
    assert prompt[1].content == "x: hello all"
    assert prompt[-1].content == "Ann: What did I say?"


def test_offered_actions_are_told_with_their_arguments(scene: Scene) -> None:
    action = Action(
        name="SEND",
        description="Send it.",
        execute=lambda context: ActionResult(),
        parameters={"type": "object", "properties": {"to": {"type": "string"}}},
    )
    system = answer_prompt(scene, [("CHARACTER", "You are Eliza.")], [action])[0].content
    assert system.startswith("You are Eliza.")
    assert "- SEND: Send it. Arguments: to." in system
