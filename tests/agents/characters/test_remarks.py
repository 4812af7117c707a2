"""What of a character file has no effect: each unknown key by its place, and nothing of what others own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.characters import parse_character, remarks

SAMPLES = Path(__file__).parent / "samples"


def read(**changes: Any) -> Any:
    return parse_character(json.dumps({"name": "Ann", **changes}), source="file.json")


def unknown(**changes: Any) -> dict[str, str]:
    return dict(read(**changes).unknown_keys)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"topcs": ["tea"], "mood": 7}, {"topcs": "topics", "mood": ""}),
        ({"style": {"al": [], "all": [], "post": []}}, {"style.al": "all"}),
        (
            {"messageExamples": [[{"nam": "x", "name": "A", "content": {"text": "hi", "acton": "X"}}]]},
            {"messageExamples[0][0].nam": "name", "messageExamples[0][0].content.acton": "action"},
        ),
        (
            {"messageExamples": [[], {"examples": [{"user": "A", "content": {"txt": ""}}], "exmples": 1}]},
            {"messageExamples[1].examples[0].content.txt": "text", "messageExamples[1].exmples": "examples"},
        ),
        (
            {"message_examples": [[{"name": "A", "content": {"o k": 1}}]]},
            {'message_examples[0][0].content["o k"]': ""},
        ),
        ({"knowledge": ["words", {"path": "a.md", "sharedd": True}]}, {"knowledge[1].sharedd": "shared"}),
        (
            {"documents": [{"directory": {"path": "a", "recurse": True}}]},
            {"documents[0].directory.recurse": ""},
        ),
        (
            {"documents": [{"item": {"case": "path", "value": "a.md", "vlue": 1}}]},
            {"documents[0].item.vlue": "value"},
        ),
    ],
)
def test_a_key_that_nothing_knows_is_found_wherever_it_stands(
    changes: dict[str, Any], found: dict[str, str]
) -> None:
    assert unknown(**changes) == found


def test_within_elizaos_agent_its_place_begins_with_the_character() -> None:
    raw = json.dumps({"character": {"name": "Ann", "style": {"chats": []}}})
    assert parse_character(raw, source="x").unknown_keys == {"character.style.chats": "chat"}


def test_beside_a_wrapped_character_nothing_has_an_effect_and_a_characters_key_is_shown_its_place() -> None:
    raw = json.dumps({"plugins": ["clock"], "character": {"name": "Ann"}, "init": "x", "_note": "x"})
    assert parse_character(raw, source="x").unknown_keys == {"plugins": "character.plugins", "init": ""}


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": {"anything": {"at": {"all": 1}}, "secrets": {"MY_KEY": "x"}}},
        {"secrets": {"MY_KEY": "x"}},
        {"templates": {"whoseEverTemplate": "{{agentName}}"}},
        {"clientConfig": {"discord": {"anything": 1}}, "twitterProfile": {"anything": 1}},
        {"plugins": [{"name": "clock", "description": "tells the time", "actions": []}]},
        {
            "messageExamples": [
                [{"name": "A", "content": {"text": "", "thought": "", "source": "x", "url": "y"}}]
            ]
        },
        {"$schema": "x", "_note": "y", "style": {"_note": "z"}},
    ],
)
def test_what_others_own_is_free(changes: dict[str, Any]) -> None:
    assert unknown(**changes) == {}


@pytest.mark.parametrize(
    ("name", "found"),
    [("v0.json", {}), ("v1.json", {}), ("v2.json", {"moodRing": ""}), ("v2_agent.json", {})],
)
def test_of_elizaos_own_lines_nothing_is_unknown(name: str, found: dict[str, str]) -> None:
    assert parse_character((SAMPLES / name).read_bytes(), source=name).unknown_keys == found


def test_the_remarks_are_a_sentence_for_keys_and_one_for_plugins() -> None:
    document = read(style={"al": []}, mood=1, plugins=["clock", "@elizaos/plugin-nowhere"])
    assert remarks(document) == [
        "plugins that are not here are ignored: @elizaos/plugin-nowhere",
        "keys that mean nothing here: style.al (is it all?), mood",
    ]
    assert remarks(read()) == []


def test_a_remark_stays_short_whatever_the_file_has() -> None:
    (many,) = remarks(read(**{f"k{number}": 1 for number in range(1021)}))
    assert many.endswith(", k19 and 1,001 more")
    (long,) = remarks(read(**{"k" * 100_000: 1}))
    assert len(long) < 200
