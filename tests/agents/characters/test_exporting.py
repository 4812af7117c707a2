"""Export, and the round trip: what was read, given back and read again is the same."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.characters import check_character, export_character, parse_character
from agents.characters.shapes import V1_KEYS

SAMPLES = Path(__file__).parent / "samples"

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
names = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=12).filter(str.strip)
lists = st.lists(texts, max_size=3)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner), max_leaves=6
)
placeholders = texts | st.sampled_from(["{{user1}}", "{{name1}}", "Hi {{user2}}!"])
contents = st.fixed_dictionaries(
    {"text": placeholders}, optional={"action": texts, "actions": lists, "extra": values}
)
messages = st.fixed_dictionaries({"user": placeholders, "content": contents}) | st.fixed_dictionaries(
    {"name": placeholders, "content": contents}
)
talks = st.lists(messages, max_size=3)
conversations = st.lists(talks | st.fixed_dictionaries({"examples": talks}), max_size=3)
sources = (
    texts
    | st.fixed_dictionaries({"path": texts}, optional={"shared": st.booleans()})
    | st.fixed_dictionaries({"directory": texts | st.fixed_dictionaries({"path": texts})})
    | st.fixed_dictionaries({"item": st.fixed_dictionaries({"case": st.just("path"), "value": texts})})
)
secret_values = st.none() | st.booleans() | st.integers() | texts
secrets = st.dictionaries(texts, secret_values, max_size=3)
settings = (
    st.dictionaries(texts | st.sampled_from(["OPENAI_API_KEY", "botToken"]), values, max_size=3)
    .flatmap(lambda plain: st.just(plain) | secrets.map(lambda inner: {**plain, "secrets": inner}))
    .filter(lambda chosen: chosen.get("secrets") is None or isinstance(chosen["secrets"], dict))
)
known = {
    "id": st.uuids().map(str),
    "username": texts | st.none(),
    "system": texts,
    "bio": texts | lists,
    "lore": texts | lists,
    "messageExamples": conversations,
    "message_examples": conversations,
    "postExamples": lists,
    "post_examples": lists,
    "topics": lists,
    "adjectives": lists | st.none(),
    "style": st.dictionaries(st.sampled_from(["all", "chat", "post"]), lists),
    "knowledge": st.lists(sources, max_size=3),
    "documents": st.lists(sources, max_size=3),
    "plugins": st.lists(texts | st.fixed_dictionaries({"name": texts}), max_size=3),
    "templates": st.dictionaries(texts, texts, max_size=2),
    "settings": settings,
    "secrets": secrets,
    "modelProvider": texts,
    "clientConfig": st.dictionaries(texts, values, max_size=2),
    "advancedMemory": st.booleans(),
    "moodRing": values,
}
characters = st.fixed_dictionaries({"name": names}, optional=known)


def read(data):
    return parse_character(json.dumps(data), source="file.json")


@given(characters)
def test_a_character_that_is_given_back_and_read_again_is_the_same(data):
    assert check_character(data) == []
    document = read(data)
    exported = export_character(document, include_secrets=True)
    again = read(exported)
    assert (again.content, again.secrets) == (document.content, document.secrets)
    assert export_character(again, include_secrets=True) == exported
    without = read(export_character(document))
    assert (without.content, without.secrets) == (document.content, {})


@pytest.mark.parametrize("name", ["v0.json", "v1.json", "v2.json"])
def test_secrets_are_left_out_unless_asked_for(name):
    document = parse_character((SAMPLES / name).read_bytes(), source=name)
    hidden = json.dumps(export_character(document))
    shown = json.dumps(export_character(document, include_secrets=True))
    for secret in ("sk-v0", "discord-bot-token", "sk-v1", "token-v1", "4711", "token-v2"):
        assert secret not in hidden
        assert (secret in shown) == (secret in (SAMPLES / name).read_text())


def test_a_1x_file_comes_back_as_it_went_in():
    raw = (SAMPLES / "v1.json").read_text()
    exported = export_character(parse_character(raw, source="v1.json"), include_secrets=True)
    assert exported == json.loads(raw)


def test_known_keys_come_first_in_their_usual_order():
    keys = list(export_character(parse_character((SAMPLES / "v0.json").read_bytes(), source="v0")))
    assert keys[:4] == ["name", "system", "bio", "messageExamples"]
    known_keys = [key for key in keys if key in V1_KEYS]
    assert keys == known_keys + sorted(set(keys) - set(known_keys))


def test_an_export_is_a_copy():
    document = read({"name": "Ann", "settings": {"a": {"b": 1}, "secrets": {"K": "v"}}})
    export_character(document, include_secrets=True)["settings"]["a"]["b"] = 2
    assert document.content["settings"] == {"a": {"b": 1}}
