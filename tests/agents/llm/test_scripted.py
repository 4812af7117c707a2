"""What only the scripted model does: its list, its function, its ledger."""

import pytest

from agents.llm.base import ModelError, ModelFailure
from agents.llm.scripted import ScriptedModel
from tests.agents.llm.asking import ask


def test_answers_come_in_order_and_the_last_one_stays() -> None:
    model = ScriptedModel(["one", ModelError("no", failure=ModelFailure.SERVER_ERROR), "three"])
    assert model.complete(ask()).text == "one"
    with pytest.raises(ModelError, match="no"):
        model.complete(ask())
    assert [model.complete(ask()).text for _ in range(2)] == ["three", "three"]


def test_a_function_answers_what_was_asked_and_the_ledger_keeps_it() -> None:
    model = ScriptedModel(lambda request: request.messages[-1].content.upper())
    assert model.complete(ask("hello")).text == "HELLO"
    assert [request.messages[-1].content for request in model.requests] == ["hello"]


def test_a_script_without_answers_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one answer"):
        ScriptedModel([])
