"""HTML: the text that a reader of the page sees, by its headings. Nothing is fetched and nothing runs.

lxml's parser calls the page's parts out one by one, so that no tree of a large page is held.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from lxml import etree

from memory.documents.formats.blocks import Block, Blocks, Facts, Layout, Limits
from memory.documents.formats.decoding import decode_html

_PIECE_CHARACTERS = 64 * 1024
_HEADINGS = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}


def _tags(names: str) -> frozenset[str]:
    return frozenset(names.split())


# What a reader of the page does not see, or what is there for getting about on it.
_UNSEEN = _tags(
    "script style template noscript svg math canvas iframe object embed audio video map nav select textarea"
    " button dialog datalist"
)
_BLOCKS = _HEADINGS.keys() | _tags(
    "address article aside blockquote body caption center dd details div dl dt fieldset figcaption figure"
    " footer form header hgroup hr html legend li main menu ol p pre search section summary table tbody tfoot"
    " thead tr ul"
)
_TIGHT = _tags("li dd tr")
_CELLS = _tags("td th")
# An element without an end tag: it hides nothing after it.
_VOID = _tags("area base br col embed hr img input link meta source track wbr")
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_SPACE = re.compile(r"[ \t\n\f\r]+")
_MAX_TITLE_CHARACTERS = 500


class _Page:
    """Hears a page's parts from the parser, and makes blocks of them."""

    def __init__(self, limits: Limits) -> None:
        self.ready: list[Block] = []
        self.title = ""
        self.heading = ""
        self._layout = Layout(limits)
        self._words: list[str] = []
        self._level = 0
        self._pre = 0
        self._is_tight = False
        self._hidden_depth = 0
        self._in_title = False

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Begin an element."""
        if self._hidden_depth or ((tag in _UNSEEN or _is_hidden(attributes)) and tag not in _VOID):
            self._hidden_depth += tag not in _VOID
        elif tag == "title":
            self._in_title = True
        elif tag == "br":
            self._words.append("\n")
        elif tag in _CELLS and "".join(self._words).strip():
            self._words.append(" | ")
        elif tag in _BLOCKS:
            self._end_block()
            self._level = _HEADINGS.get(tag, self._level)
            self._pre += tag == "pre"
            self._is_tight = tag in _TIGHT
            if tag == "li":
                self._words.append("- ")

    def end(self, tag: str) -> None:
        """End an element."""
        if self._hidden_depth:
            self._hidden_depth -= tag not in _VOID
        elif tag == "title":
            self._in_title = False
        elif tag in _BLOCKS:
            self._end_block()
            self._level = 0 if tag in _HEADINGS else self._level
            self._pre = max(0, self._pre - (tag == "pre"))

    def data(self, text: str) -> None:
        """Hear a piece of text; one text may come in several."""
        if self._hidden_depth:
            return
        if self._in_title:
            self.title = (self.title + text)[:_MAX_TITLE_CHARACTERS]
        else:
            self._words.append(text if self._pre else _SPACE.sub(" ", text))

    def close(self) -> None:
        """End the page."""
        self._end_block()

    def _end_block(self) -> None:
        text = "".join(self._words)
        self._words.clear()
        if self._pre:
            text = text.strip("\n").rstrip()
        else:
            text = "\n".join(
                " ".join(line.split(" ")).strip() for line in _squeezed(text).split("\n")
            ).strip()
        if not text or text == "-":
            return
        if self._level:
            text = " ".join(text.split())
            self.heading = self.heading or text
        self.ready.append(
            self._layout.place(text, level=self._level, is_tight=self._is_tight, is_verbatim=bool(self._pre))
        )


def read_html(file: BinaryIO, limits: Limits) -> Blocks:
    """Read the page's blocks; their places are those of the text without its tags."""
    page = _Page(limits)
    yield from parse_html(decode_html(file.read()), page)
    return Facts(title=" ".join(page.title.split()) or page.heading)


def seen_text(html: str, limits: Limits) -> str:
    """Return what a reader sees of a piece of HTML, such as one within Markdown."""
    return "\n".join(block.text for block in parse_html(html, _Page(limits)))


def parse_html(html: str, page: _Page) -> Iterator[Block]:
    """Feed the page to the parser piece by piece, and yield its blocks as they are there."""
    # The encoding is said here, so that the page's own word for another is of no effect.
    parser = etree.HTMLParser(
        target=page, encoding="utf-8", no_network=True, recover=True, remove_comments=True, remove_pis=True,
        huge_tree=True,
    )  # fmt: skip
    for start in range(0, len(html), _PIECE_CHARACTERS):
        parser.feed(html[start : start + _PIECE_CHARACTERS].encode())
        yield from page.ready
        page.ready.clear()
    if html.strip():
        parser.close()
    yield from page.ready


def _squeezed(text: str) -> str:
    return re.sub(r" {2,}", " ", text)


def _is_hidden(attributes: Mapping[str, str]) -> bool:
    if "hidden" in attributes or attributes.get("aria-hidden") == "true":
        return True
    return bool(_HIDDEN_STYLE.search(attributes.get("style", "")))
