"""What is taken from a model's answer."""

from __future__ import annotations

import json
from typing import Any
from unicodedata import normalize

import pytest

from agents.inbox import receive
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.models import Step
from tests.doubles.acting import drain, said


@pytest.mark.parametrize("is_escaped", [True, False])
def test_words_are_composed_and_what_an_action_is_given_stays_as_it_is(
    incoming: Any, is_escaped: bool
) -> None:
    apart = normalize("NFD", "Zoé")
    answer = {"text": apart, "thought": apart, "actions": [{"name": "REPLY", "arguments": {"to": apart}}]}
    with answering_with(ScriptedModel(json.dumps(answer, ensure_ascii=is_escaped))):
        drain(receive(incoming()))

    output = Step.objects.get(name="generate").output
    assert (output["text"], output["thought"], said()) == ("Zoé", "Zoé", ["Zoé"])
    assert output["arguments"] == {"REPLY": {"to": apart}}
