"""The text of character lists and conversations: what is written is read back without loss."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.admin.character_text import (
    TextFormatError,
    read_conversations,
    read_json_object,
    read_lines,
    write_conversations,
    write_lines,
)

any_text = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"))
messages = st.fixed_dictionaries(
    {
        "name": any_text,
        "content": st.fixed_dictionaries(
            {"text": any_text}, optional={"actions": st.lists(any_text), "extra": any_text}
        ),
    }
)


@given(st.lists(any_text))
@settings(max_examples=40, deadline=None)
def test_any_list_of_texts_comes_back_as_it_was(items):
    assert read_lines(write_lines(items)) == items


@given(st.lists(st.lists(messages)))
@settings(max_examples=40, deadline=None)
def test_any_conversations_come_back_as_they_were(conversations):
    assert read_conversations(write_conversations(conversations)) == conversations


def test_conversations_are_written_as_people_write_them():
    conversations = [
        [
            {"name": "{{name1}}", "content": {"text": "Hello"}},
            {"name": "Ada", "content": {"text": "Good day.\nSit down.", "actions": ["REPLY", "WAVE"]}},
        ],
        [{"name": "{{name1}}", "content": {"text": "What is 7: a number?"}}],
    ]

    assert write_conversations(conversations) == (
        "{{name1}}: Hello\nAda [REPLY, WAVE]: Good day.\n  Sit down.\n\n{{name1}}: What is 7: a number?"
    )


def test_what_the_text_cannot_say_is_written_as_json():
    conversations = [[{"name": "Ada", "content": {"text": "Look", "url": "https://example.org"}}]]

    assert write_conversations(conversations).startswith("[\n")
    assert write_lines([{"path": "notes.md"}, "plain"]).startswith("[\n")
    assert write_lines(["two\nlines"]).startswith("[\n")


def test_a_line_that_is_no_message_is_named_with_its_number():
    with pytest.raises(TextFormatError, match=r"Line 3 is no message.*'nobody speaks'"):
        read_conversations("Ada: one\nAda: two\nnobody speaks")


def test_broken_json_is_named_with_its_place():
    with pytest.raises(TextFormatError, match="Line 2, column 5 is no JSON"):
        read_lines('[\n "a"')
    with pytest.raises(TextFormatError, match="no object"):
        read_json_object("[1]")


def test_a_line_may_begin_with_a_bracket():
    assert read_lines("[sic] she said\n\n  second  ") == ["[sic] she said", "second"]
