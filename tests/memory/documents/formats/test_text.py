"""Plain text: paragraphs with their places, pages at form feeds, and headings that stand alone."""

from __future__ import annotations

import io

import pytest

from memory.documents.formats.blocks import Block, DocumentRefused, Facts, Limits
from memory.documents.formats.text import read_text

LIMITS = Limits(pages=10, characters=5_000_000)


def read(text: str | bytes, limits: Limits = LIMITS) -> tuple[list[Block], Facts]:
    """Return the blocks and the facts of a text."""
    raw = text.encode() if isinstance(text, str) else text
    blocks: list[Block] = []
    reading = read_text(io.BytesIO(raw), limits)
    while True:
        try:
            blocks.append(next(reading))
        except StopIteration as end:
            return blocks, end.value


def test_paragraphs_stand_between_empty_lines_each_at_its_place() -> None:
    text = "\n\nFirst of\ntwo lines.  \n \nSecond.\n\n\n  Indented third."
    blocks, facts = read(text)
    assert [block.text for block in blocks] == ["First of\ntwo lines.", "Second.", "  Indented third."]
    assert all(text[block.start : block.end] == block.text for block in blocks)
    assert facts == Facts()


def test_a_form_feed_turns_the_page_even_within_a_paragraph() -> None:
    blocks, facts = read("One.\n\nTwo begins\fand ends.\n\f\nFour.")
    assert [(block.text, block.page) for block in blocks] == [
        ("One.", 1), ("Two begins", 1), ("and ends.", 2), ("Four.", 3),
    ]  # fmt: skip
    assert facts.page_count == 3
    with pytest.raises(DocumentRefused, match="it has 11 pages, and 10 are allowed"):
        read("x\f" * 10)


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("Part II: The sea", 1),
        ("Chapter 12", 2),
        ("Kapitel 3 Die Reise", 2),
        ("2.1 Falling ill", 3),
        ("2.1.4. Falling ill abroad", 4),
        ("THE RULES OF THE HOUSE", 3),
        ("The rules of the house", 0),
        ("2. Buy milk", 0),
        ("3.5 litres of milk are left.", 0),
        ("Chapter and verse are known.", 0),
        ("A1", 0),
        ("住所録", 0),
        ("X" * 101, 0),
    ],
)
def test_a_line_alone_may_be_a_heading(line: str, level: int) -> None:
    blocks, _ = read(f"{line}\n\nText.")
    assert [(block.text, block.level) for block in blocks] == [(line, level), ("Text.", 0)]


def test_an_underlined_line_is_a_heading_also_without_an_empty_line_after_it() -> None:
    text = "Title\n=====\nText right below.\n\nPart\n----\n\nMore.\n\nNo title, as the line is too short\n-\n"
    blocks, facts = read(text)
    assert [(block.text, block.level) for block in blocks] == [
        ("Title", 1),
        ("Text right below.", 0),
        ("Part", 2),
        ("More.", 0),
        ("No title, as the line is too short\n-", 0),
    ]
    assert all(text[block.start : block.end] == block.text for block in blocks)
    assert facts.title == "Title"


@pytest.mark.parametrize(
    "raw",
    ["Grüße".encode("utf-8-sig"), "Grüße".encode("utf-16"), "Grüße".encode("utf-32"), "Grüße".encode()],
)
def test_byte_order_marks_tell_the_encoding(raw: bytes) -> None:
    assert [block.text for block in read(raw)[0]] == ["Grüße"]


def test_what_is_no_text_is_left_out_and_what_is_not_utf8_is_refused_with_its_place() -> None:
    assert read(b"a\x01b\r\nc\rd")[0][0].text == "ab\nc\nd"
    with pytest.raises(DocumentRefused, match="it is not UTF-8: byte 0xfc in line 2; save it as UTF-8"):
        read(b"one\nM\xfcller")


def test_more_text_than_allowed_is_refused() -> None:
    with pytest.raises(DocumentRefused, match="it has more than 10 characters of text"):
        read("eleven char", Limits(pages=1, characters=10))


@pytest.mark.parametrize("text", [" " * 2_000_000 + "x", "\n" * 2_000_000 + "x", "word " * 400_000])
def test_no_shape_of_a_text_takes_more_than_its_length(text: str) -> None:
    """A pattern that tried each place anew would take hours."""
    assert len(read(text)[0]) == 1
