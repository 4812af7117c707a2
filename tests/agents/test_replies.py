"""Reading a model's answer, whichever way it was written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.replies import Answer, VisibleText, read_answer

XML = (
    "<response>\n<thought>greet</thought>\n<actions>REPLY, SEND_MAIL</actions>\n"
    '<arguments>{"SEND_MAIL": {"to": "bob"}}</arguments>\n<text>Hi <b>you</b></text>\n</response>'
)


@pytest.mark.parametrize(
    ("raw", "answer"),
    [
        ("  Hello.  ", Answer(text="Hello.")),
        ("IGNORE", Answer(text="", actions=("IGNORE",))),
        ("none.", Answer(text="", actions=("NONE",))),
        ("Do not ignore me", Answer(text="Do not ignore me")),
        (
            XML,
            Answer(
                text="Hi <b>you</b>",
                actions=("REPLY", "SEND_MAIL"),
                thought="greet",
                parse_path="xml",
                arguments={"SEND_MAIL": {"to": "bob"}},
            ),
        ),
        ("<response><text>cut off", Answer(text="cut off", parse_path="xml")),
        (
            "<response><text>write </text> to close</text></response>",
            Answer(text="write </text> to close", parse_path="xml"),
        ),
        (
            '```json\n{"text": "Hi", "actions": ["REPLY"], "thought": "t"}\n```',
            Answer(text="Hi", thought="t", parse_path="json"),
        ),
        (
            '{"text": "", "actions": [{"name": "SEND", "arguments": {"a": 1}}]}',
            Answer(text="", actions=("SEND",), parse_path="json", arguments={"SEND": {"a": 1}}),
        ),
        ('{"other": 1}', Answer(text='{"other": 1}')),
        ('{"text": "cut', Answer(text='{"text": "cut')),
        ("<textarea> is a tag", Answer(text="<textarea> is a tag")),
    ],
)
def test_an_answer_is_read(raw: str, answer: Answer) -> None:
    assert read_answer(raw) == answer


@given(st.text())
def test_no_answer_breaks_the_reader(raw: str) -> None:
    assert isinstance(read_answer(raw), Answer)


def shown(raw: str, size: int) -> str:
    visible = VisibleText()
    return "".join(visible.feed(raw[start : start + size]) for start in range(0, len(raw), size))


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_of_a_streamed_answer_only_the_words_are_shown(size: int) -> None:
    assert shown("Hello there.", size) == "Hello there."
    assert shown(XML, size).strip() == "Hi <b>you</b>"
    assert shown(json.dumps({"text": "Hi"}), size) == ""


@given(st.text(alphabet="ab <>/tex", min_size=1), st.integers(min_value=1, max_value=7))
def test_plain_text_is_shown_whole(raw: str, size: int) -> None:
    text = "a" + raw
    assert shown(text, size) == text
