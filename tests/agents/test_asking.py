"""Asking a model: only as long as the turn's lease is held."""

from __future__ import annotations

from typing import Any

import pytest

from agents import lanes
from agents.asking import ask_model
from agents.inbox import receive
from agents.lanes import Fenced
from agents.llm.base import ChatMessage, ModelClass
from agents.llm.scripted import ScriptedModel
from agents.processes import keeper
from agents.scene import read_scene
from agents.trace import Trace


def test_no_model_is_asked_once_the_lease_may_be_over(incoming: Any, model: ScriptedModel) -> None:
    _lease, turn = lanes.claim(receive(incoming()).lane_id) or (None, None)
    assert turn is not None
    scene, trace = read_scene(turn), Trace(turn.id)

    def ask() -> str:
        words = (ChatMessage(role="user", content="hello"),)
        return ask_model(scene, trace, words, purpose="answer", model_class=ModelClass.LARGE).text

    with keeper.watch_over(turn) as watch:
        assert ask() == "Hello to you too."
        watch.renewed_at -= 1_000_000
        with pytest.raises(Fenced):
            ask()
    assert len(model.requests) == 1
