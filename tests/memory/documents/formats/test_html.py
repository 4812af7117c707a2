"""HTML: what a reader of the page sees, by its headings; nothing of it runs, and nothing is fetched."""

from __future__ import annotations

import io
import socket
from typing import Any

import pytest

from memory.documents.formats.blocks import Block, DocumentRefused, Facts, Limits
from memory.documents.formats.html import read_html

LIMITS = Limits(pages=1, characters=1_000_000)


def read(page: str | bytes, limits: Limits = LIMITS) -> tuple[list[Block], Facts]:
    blocks: list[Block] = []
    reading = read_html(io.BytesIO(page.encode() if isinstance(page, str) else page), limits)
    while True:
        try:
            blocks.append(next(reading))
        except StopIteration as end:
            return blocks, end.value


def texts(page: str | bytes) -> list[str]:
    return [block.text for block in read(page)[0]]


def test_blocks_follow_the_pages_own_with_headings_items_and_rows() -> None:
    blocks, facts = read(
        "<title>My\n page</title><h1>Big <em>one</em></h1>loose<p>One<br>two  three<p>Four &amp; five &eacute;"
        "<ul><li>a<li><p>b</ul><table><tr><th>A<th>B<tr><td>1<td>2</table><h2>Small</h2><pre>  x\n    y\n</pre>"
    )
    assert [(block.text, block.level, block.is_tight, block.is_verbatim) for block in blocks] == [
        ("Big one", 1, False, False),
        ("loose", 0, False, False),
        ("One\ntwo three", 0, False, False),
        ("Four & five é", 0, False, False),
        ("- a", 0, True, False),
        ("b", 0, False, False),
        ("A | B", 0, True, False),
        ("1 | 2", 0, True, False),
        ("Small", 2, False, False),
        ("  x\n    y", 0, False, True),
    ]
    assert facts.title == "My page"


def test_places_are_those_of_the_text_with_its_gaps() -> None:
    blocks, _ = read("<h1>A</h1><p>Text</p><ul><li>b</li><li>c</li></ul>")
    whole = "A\n\nText\n- b\n- c"
    assert [whole[block.start : block.end] for block in blocks] == [block.text for block in blocks]


@pytest.mark.parametrize(
    "hidden",
    [
        "<script>if (a < b) document.write('</p>seen?')</script>",
        "<style>p::after { content: 'seen?' }</style>",
        "<!-- seen? -->",
        "<?php echo 'seen?' ?>",
        "<template><p>seen?</p></template>",
        "<noscript>seen?</noscript>",
        "<nav><ul><li>seen?</ul></nav>",
        "<iframe src='http://127.0.0.1:9/'>seen?</iframe>",
        "<div style='DISPLAY : none'><p>seen?<b>seen?</b></p></div>",
        "<p hidden>seen?</p>",
        "<span aria-hidden=true>seen?</span>",
        "<svg><text>seen?</text></svg>",
        "<textarea>seen?</textarea>",
        "<p style='visibility:hidden'><img src=x><br>seen?</p>",
    ],
)
def test_what_no_reader_sees_is_left_out(hidden: str) -> None:
    assert texts(f"<p>before</p>{hidden}<p>after</p>") == ["before", "after"]


def test_nothing_is_fetched_and_no_file_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")

    def refuse(*_arguments: Any, **_named: Any) -> Any:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "socket", refuse)
    page = (
        f'<!DOCTYPE html [<!ENTITY x SYSTEM "file://{secret}">]><link rel=stylesheet href="http://127.0.0.1:9/">'
        f'<img src="http://127.0.0.1:9/"><object data="file://{secret}"></object><p>&x; text</p>'
    )
    shown = "\n".join(texts(page))
    assert "text" in shown
    assert "the secret" not in shown


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("<meta charset=iso-8859-1><p>Käse".encode("latin-1"), "Käse"),
        (
            '<meta http-equiv=content-type content="text/html; charset=windows-1251"><p>Сыр'.encode("cp1251"),
            "Сыр",
        ),
        ("<meta charset=no-such-thing><p>Käse".encode(), "Käse"),
        ("<p>Käse".encode(), "Käse"),
        ("<p>Käse “x”".encode("cp1252"), "Käse “x”"),
        ("<p>Käse".encode("utf-16"), "Käse"),
        ("<meta charset=iso-8859-1><p>Käse".encode("utf-8-sig"), "Käse"),
    ],
)
def test_the_encoding_is_found_as_browsers_do(raw: bytes, shown: str) -> None:
    assert texts(raw) == [shown]


def test_deep_and_wide_pages_are_read_to_their_end() -> None:
    assert texts("<div>" * 50_000 + "deep")[-1] == "deep"
    assert len(texts("<p>wide</p>" * 20_000)) == 20_000


def test_more_text_than_allowed_is_refused() -> None:
    with pytest.raises(DocumentRefused, match="more than 10 characters"):
        read("<p>eleven char</p>", Limits(pages=1, characters=10))


def test_a_page_without_a_title_has_its_first_heading_for_one() -> None:
    assert read("<h2>Second</h2><h1>First</h1>")[1].title == "Second"
    assert read("<p>text")[1].title == ""
    assert texts("") == []
