"""Secrets: what counts as one, and what a file without them does to those that are kept."""

import pytest

from agents.characters.secrets import join_secrets, split_secrets, update_secrets


@pytest.mark.parametrize(
    "name",
    [
        "OPENAI_API_KEY",
        "botToken",
        "password",
        "TWITTER_API_SECRET_KEY",
        "EVM_PRIVATE_KEY",
        "api-key",
        "apiKey",
    ],
)
def test_a_text_that_is_named_like_a_secret_is_one(name):
    plain, secrets = split_secrets({"name": "x", "settings": {name: "hush"}})
    assert (plain, secrets) == ({"name": "x", "settings": {}}, {"settings": {name: "hush"}})


@pytest.mark.parametrize(
    "setting", [{"MAX_TOKENS": 5}, {"tokens": "x"}, {"keyboard": "x"}, {"token": ""}, {"token": 1}]
)
def test_what_only_sounds_like_a_secret_is_not(setting):
    assert split_secrets({"name": "x", "settings": setting}) == ({"name": "x", "settings": setting}, {})


def test_a_list_that_holds_a_secret_is_kept_apart_as_a_whole():
    character = {"name": "x", "clientConfig": {"accounts": [{"user": "a", "password": "hush"}]}}
    plain, secrets = split_secrets(character)
    assert "hush" not in str(plain)
    assert join_secrets(plain, secrets) == character


def test_the_persona_is_never_searched():
    character = {"name": "x", "templates": {"secret": "a", "token": "b"}, "style": {"all": ["token"]}}
    assert split_secrets(character) == (character, {})


def test_a_file_without_secrets_forgets_none():
    stored = {"settings": {"secrets": {"A": "1", "B": "2"}}}
    assert update_secrets(stored, {}) == stored
    assert update_secrets(stored, {"settings": {"secrets": {"A": ""}}}) == stored
    assert update_secrets(stored, {"settings": {"secrets": {"B": "3"}}}) == {
        "settings": {"secrets": {"A": "1", "B": "3"}}
    }


def test_null_forgets_a_secret():
    stored = {"settings": {"secrets": {"A": "1", "B": "2"}}}
    assert update_secrets(stored, {"settings": {"secrets": {"A": None}}}) == {
        "settings": {"secrets": {"B": "2"}}
    }
    assert update_secrets({"secrets": {"A": "1"}}, {"secrets": {"A": None}}) == {}
