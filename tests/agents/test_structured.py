"""Reading objects: by whichever way a model wrote them, and never an error."""

from __future__ import annotations

import json
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.structured import read_object, shaped
from plugins.api import Question
from plugins.builtin.reflection import ALIASES, SCHEMA

FACT = {"text": "Ann likes tea.", "type": "preference", "about": 1, "messages": [2]}
QUESTION = Question(
    purpose="t", instruction="", text="", schema=SCHEMA, list_key="facts", aliases=ALIASES, text_key=""
)
XML = """Here you are:
<response>
  <thought>She &lt;really&gt; likes tea.</thought>
  <facts>
    <fact><claim>Ann likes tea.</claim><type>preference</type><about>1</about><messages>2</messages></fact>
    <fact><claim>Bob &amp; Ann met.</claim><type>event</type><messages>2, 3</messages></fact>
  </facts>
  <relationships>
    <relationship><sourceEntityId>1</sourceEntityId><targetEntityId>2</targetEntityId>
      <type>friend</type><tags>chess, work</tags><messages>3</messages></relationship>
  </relationships>
</response>"""


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (json.dumps({"facts": [FACT], "relationships": []}), "json"),
        (f"```json\n{json.dumps({'facts': [FACT]})}\n```", "json"),
        (f"Of course!\n```\n{json.dumps({'facts': [FACT]}, indent=2)}\n```\nAnything else?", "json"),
        (f"Here it is: {json.dumps({'facts': [FACT]})} I hope that helps.", "json"),
        (f"I noted [2] things. {json.dumps({'facts': [FACT]})}", "json"),
        (json.dumps({"answer": {"facts": [FACT]}}), "json"),
        (json.dumps({"facts": {"facts": [FACT]}}), "json"),
        (json.dumps({"facts": FACT}), "json"),
        (json.dumps([FACT]), "json"),
        (json.dumps({"result": [FACT]}), "json"),
        (json.dumps([{"facts": [FACT]}]), "json"),
        ("<response><facts><fact><claim>Ann likes tea.</claim><type>preference</type><about>1</about>"
         "<messages>2</messages></fact></facts></response>", "xml"),
    ],
)  # fmt: skip
def test_the_same_answer_is_read_in_every_shape(text: str, path: str) -> None:
    value, found = read_object(text, QUESTION)
    assert value is not None
    assert (value["facts"], found) == ([FACT], path)


def test_a_tool_that_was_called_once_for_each_fact_is_read_as_one_answer() -> None:
    other = {**FACT, "text": "Ann has a cat."}
    text = json.dumps([{"facts": [FACT], "relationships": []}, {"facts": [other]}])
    assert read_object(text, QUESTION, is_tool_call=True) == (
        {"facts": [FACT, other], "relationships": []},
        "tool",
    )


def test_of_an_answer_that_was_cut_off_the_whole_facts_are_taken() -> None:
    other = {**FACT, "text": "Ann has a cat.", "messages": []}
    whole = json.dumps({"facts": [FACT, other, FACT], "relationships": []})
    cut = whole[: whole.rindex('"Ann likes') + 8]
    assert read_object(cut, QUESTION) == ({"facts": [FACT, other]}, "json")
    assert read_object('{"facts": [{"text": "Ann', QUESTION) == (None, "none")
    assert read_object('{"facts": [{"text": "a", "messages": []', QUESTION) == (None, "none")


def test_elements_that_were_left_open_are_closed_by_those_around_them() -> None:
    text = "<facts><fact><text>Ann likes tea.</text><messages>2</facts>"
    assert read_object(text, QUESTION) == ({"facts": [{"text": "Ann likes tea.", "messages": [2]}]}, "xml")


def test_elizaos_xml_is_read_with_its_own_names() -> None:
    assert read_object(XML, QUESTION) == (
        {
            "facts": [
                {"text": "Ann likes tea.", "type": "preference", "about": 1, "messages": [2]},
                {"text": "Bob & Ann met.", "type": "event", "messages": [2, 3]},
            ],
            "relationships": [
                {"from": 1, "to": 2, "type": "friend", "tags": ["chess", "work"], "messages": [3]}
            ],
        },
        "xml",
    )


@pytest.mark.parametrize(
    "text", ["", "no", "{", "[1, 2", '{"other": 1}', "[1, 2]", "<b>bold</b>", "[" * 10_000, "null", '"facts"']
)
def test_what_is_no_answer_is_none(text: str) -> None:
    assert read_object(text, QUESTION) == (None, "none")


def test_nothing_to_note_is_an_answer() -> None:
    assert read_object("[]", QUESTION) == ({"facts": []}, "json")
    assert read_object('{"facts": [], "relationships": []}', QUESTION)[0] == {
        "facts": [],
        "relationships": [],
    }


def test_plain_words_are_an_answer_only_where_they_are_asked_for() -> None:
    question = Question(purpose="t", instruction="", text="", schema=SUMMARY, text_key="summary")
    assert read_object("They spoke of tea.", question) == ({"summary": "They spoke of tea."}, "text")
    assert read_object("```\nThey spoke of tea.\n```", question) == (
        {"summary": "They spoke of tea."},
        "text",
    )
    assert read_object('{"summary": "Tea', question) == (None, "none")


SUMMARY = {"type": "object", "properties": {"summary": {"type": "string"}}}


@pytest.mark.parametrize(
    ("value", "schema", "made"),
    [
        ("3", {"type": "integer"}, 3),
        ("[3]", {"type": "integer"}, 3),
        ("#3.", {"type": "integer"}, 3),
        (3.0, {"type": ["integer", "null"]}, 3),
        (3.5, {"type": "integer"}, None),
        (True, {"type": "integer"}, None),
        (float("inf"), {"type": "integer"}, None),
        ("three", {"type": "integer"}, None),
        ("0.7", {"type": "number"}, 0.7),
        (float("nan"), {"type": "number"}, None),
        ("high", {"type": "number"}, None),
        (7, {"type": "string"}, "7"),
        ({"a": 1}, {"type": "string"}, None),
        (5, {"type": "array", "items": {"type": "integer"}}, [5]),
        ("1 and 2", {"type": "array", "items": {"type": "integer"}}, [1, 2]),
        ([1, "x", None, 2], {"type": "array", "items": {"type": "integer"}}, [1, 2]),
        ("a, b", {"type": "array", "items": {"type": "string"}}, ["a", "b"]),
    ],
)
def test_values_take_the_shape_of_the_schema_or_are_left_out(value: Any, schema: Any, made: Any) -> None:
    assert shaped(value, schema, {}) == made


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["facts", "text", "about", "messages", "from", "x"]), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("shape", ["json", "escaped", "xml", "text"])
def test_words_are_composed_in_every_shape(shape: str) -> None:
    schema = {"type": "object", "properties": {"mood": {"type": "string"}}}
    question = Question(purpose="t", instruction="", text="", schema=schema, text_key="mood")
    apart = normalize("NFD", "très gai")
    text = {
        "json": json.dumps({"mood": apart}, ensure_ascii=False),
        "escaped": json.dumps({"mood": apart}),
        "xml": f"<response><mood>{apart}</mood></response>",
        "text": apart,
    }[shape]
    assert read_object(text, question)[0] == {"mood": "très gai"}


@given(JSON_VALUES)
def test_any_json_gives_what_the_schema_has_or_nothing(found: Any) -> None:
    value, _path = read_object(json.dumps(found), QUESTION)
    for fact in (value or {}).get("facts", []):
        assert set(fact) <= set(SCHEMA["properties"]["facts"]["items"]["properties"])
        assert isinstance(fact.get("text", ""), str)
        assert all(isinstance(number, int) for number in fact.get("messages", []))


@given(st.text(alphabet='<>/{}[]":,`factsresponse \n0', max_size=200))
def test_no_text_raises(text: str) -> None:
    read_object(text, QUESTION)
