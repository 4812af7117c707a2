"""What is taken out of text from outside, for every code point, against a plain definition by Unicode's categories."""

from __future__ import annotations

import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.cleaning import clean_json, clean_text, clean_words

NEVER_CHARACTERS = {*range(0xFDD0, 0xFDF0), 0xFFFE, 0xFFFF}
EVERY = range(sys.maxunicode + 1)
# All code points, lone surrogates too, and often those that something becomes of.
TEXTS = st.text(st.characters() | st.sampled_from("\r\n\t\0\x85\x9b\x7f\ud83d\ude00\ufffe\u2028a "))


def cleaned_slowly(text: str) -> str:
    """Take the text apart, as nobody would for each message."""
    kept: list[str] = []
    for character in text.replace("\r\n", "\n").replace("\r", "\n"):
        kind = unicodedata.category(character)
        if kind == "Cs":
            kept.append("\N{REPLACEMENT CHARACTER}")
        elif (kind != "Cc" or character in "\t\n") and ord(character) not in NEVER_CHARACTERS:
            kept.append(character)
    return "".join(kept)


def test_every_code_point_is_treated_by_its_category() -> None:
    wrong = [
        f"U+{code:04X}" for code in EVERY if clean_text(text := f"a{chr(code)}b") != cleaned_slowly(text)
    ]
    assert wrong == []


def test_all_of_them_in_one_text() -> None:
    text = "".join(map(chr, EVERY))
    assert clean_text(text) == cleaned_slowly(text)


@given(TEXTS)
def test_any_text_comes_out_as_by_the_plain_definition_and_stays_so(text: str) -> None:
    cleaned = clean_text(text)
    assert cleaned == cleaned_slowly(text)
    assert clean_text(cleaned) == cleaned
    assert "\0" not in cleaned
    cleaned.encode()


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("", ""),
        ("\n", "\n"),
        ("\0", ""),
        ("a\0b", "ab"),
        ("one\r\ntwo\rthree\nfour", "one\ntwo\nthree\nfour"),
        ("\r\r\n\n\r", "\n\n\n\n"),
        ("a\r\0\nb", "a\n\nb"),
        ("a\tb", "a\tb"),
        ("half \ud83d", "half \ufffd"),
        ("\ud83d\ude00", "\ufffd\ufffd"),
        ("\U0001f600", "\U0001f600"),
        ("red \x1b[31m, and by one sign \x9b31m", "red [31m, and by one sign 31m"),
        ("no break\xa0here\u2028or there", "no break\xa0here\u2028or there"),
    ],
)
def test_what_becomes_of_each_kind(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


@given(TEXTS)
def test_what_somebody_wrote_is_cleaned_and_composed_and_stays_so(text: str) -> None:
    cleaned = clean_words(text)
    assert cleaned == unicodedata.normalize("NFC", cleaned_slowly(text))
    assert clean_words(cleaned) == cleaned_slowly(cleaned) == cleaned


@pytest.mark.parametrize("text", ["", "Hello, Ann.", "two\nlines", "Grüße, 你好, \U0001f600"])
def test_a_text_with_nothing_to_take_out_is_given_back_itself(text: str) -> None:
    assert clean_text(text) is text


def nested(depth: int) -> Any:
    value: Any = "deep"
    for _ in range(depth):
        value = [value]
    return value


def test_json_is_cleaned_at_every_place() -> None:
    value = {"a\0": ["b\r\n", ("c\ud800",)], 5: {"d": 1.5, "e": float("nan"), "f": -float("inf")}, "g": None}
    assert clean_json(value) == {
        "a": ["b\n", ["c\ufffd"]],
        "5": {"d": 1.5, "e": None, "f": None},
        "g": None,
    }
    assert clean_json(nested(33)) == nested(33)
    assert "deep" not in str(clean_json(nested(34)))
