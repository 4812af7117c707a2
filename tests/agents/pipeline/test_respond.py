"""Whom a message names: a word of its own, whatever script it is in."""

from __future__ import annotations

import pytest

from agents.pipeline.respond import _names


@pytest.mark.parametrize(
    ("name", "text", "is_named"),
    [
        ("Eliza", "@eliza, are you there?", True),
        ("Eliza", "Elizabeth is here", False),
        ("राम", "राम, सुनो", True),
        ("राम", "रामू आया", False),
        ("सीता", "क्या सीता है?", True),
    ],
)
def test_an_agent_is_named_by_a_whole_word(name: str, text: str, is_named: bool) -> None:
    assert _names(name, text) is is_named
