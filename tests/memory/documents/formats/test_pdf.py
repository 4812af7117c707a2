"""PDF: pages, paragraphs, the outline's headings; what is broken or locked is refused with its reason."""

from __future__ import annotations

import io

import pytest

from memory.documents.formats.blocks import Block, DocumentRefused, Facts, Limits
from memory.documents.formats.pdf import read_pdf
from tests.doubles.pdfs import make_pdf

LIMITS = Limits(pages=5, characters=100_000)
PAGE = """Who falls ill tells the lead before nine in the morn-
ing, by telephone. A certificate is asked for from the
third day on.
The next paragraph begins after a short line. It is a
well-known rule.
- first item
- second item"""


def read(raw: bytes, limits: Limits = LIMITS) -> tuple[list[Block], Facts]:
    blocks: list[Block] = []
    reading = read_pdf(io.BytesIO(raw), limits)
    while True:
        try:
            blocks.append(next(reading))
        except StopIteration as end:
            return blocks, end.value


def test_lines_become_paragraphs_and_broken_words_whole() -> None:
    blocks, facts = read(make_pdf([PAGE, "The second page (all of it)."], title="The rules"))
    assert [(block.text, block.page) for block in blocks] == [
        ("Who falls ill tells the lead before nine in the morning, by telephone. A certificate is asked for from the"
         " third day on.", 1),
        ("The next paragraph begins after a short line. It is a well-known rule.", 1),
        ("- first item", 1),
        ("- second item", 1),
        ("The second page (all of it).", 2),
    ]  # fmt: skip
    assert facts == Facts(title="The rules", page_count=2)


def test_the_outline_gives_headings_where_their_words_stand() -> None:
    raw = make_pdf(
        ["Opening words.\n1 Absence\nAbout absence.", "More of it.\nFalling ill\nTell the lead.", "The end."],
        outline=[(1, "Absence", 1), (2, "Falling ill", 2), (1, "Not on the page", 3)],
    )
    blocks, _ = read(raw)
    assert [(block.text, block.level, block.page) for block in blocks] == [
        ("Opening words.", 0, 1),
        ("Absence", 1, 1),
        ("About absence.", 0, 1),
        ("More of it.", 0, 2),
        ("Falling ill", 2, 2),
        ("Tell the lead.", 0, 2),
        ("Not on the page", 1, 3),
        ("The end.", 0, 3),
    ]


def test_places_are_those_of_the_text_with_its_gaps() -> None:
    blocks, _ = read(make_pdf(["One.", "- two\n- three"]))
    whole = "One.\n- two\n- three"
    assert [whole[block.start : block.end] for block in blocks] == [block.text for block in blocks]


def test_an_empty_password_opens_it_and_any_other_is_a_refusal() -> None:
    assert read(make_pdf(["Open text."], password="", owner="secret"))[0][0].text == "Open text."
    with pytest.raises(DocumentRefused, match="it is encrypted: save it without a password"):
        read(make_pdf(["Locked."], password="secret"))


@pytest.mark.parametrize("raw", [b"%PDF-1.7", b"%PDF-1.7\n" + b"x" * 500, make_pdf(["a", "b"])[:500]])
def test_what_is_broken_is_refused_in_one_line(raw: bytes) -> None:
    with pytest.raises(DocumentRefused, match=r"^it is broken, [^\n]*: save it anew$"):
        read(raw)


def test_a_page_that_breaks_the_parser_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from pypdf import PageObject

    monkeypatch.setattr(PageObject, "extract_text", lambda _page: {}["/Font"])
    with pytest.raises(DocumentRefused, match=r"its page 1 is broken, '/Font' \(KeyError\): save it anew"):
        read(make_pdf(["text"]))


def test_too_many_pages_are_refused_before_they_are_read() -> None:
    with pytest.raises(DocumentRefused, match=r"it has 6 pages, and 5 are allowed"):
        read(make_pdf(["page"] * 6))
