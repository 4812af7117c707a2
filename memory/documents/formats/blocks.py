"""What a document is once it is read: blocks of text in their order, and what is known of the whole.

Every format makes them; `memory.documents.chunks` cuts them.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass

# Control characters are no text, and half of a surrogate pair is no character: no store takes them.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ud800-\udfff\ufeff]")


class DocumentRefused(Exception):
    """The file is not taken; the text says in half a sentence why, and the cure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A paragraph, an item of a list, a row of a table, a heading.

    `level` is a heading's, from 1; 0 is no heading. `page` counts from 1; None where the format has none.
    `is_tight` follows the block before it on the next line. `is_verbatim` is cut between lines rather than
    sentences, as code is. `is_alone` shares a chunk with nothing.
    Unit: `start` in characters of the document's text.
    """

    text: str
    start: int
    level: int = 0
    page: int | None = None
    is_tight: bool = False
    is_verbatim: bool = False
    is_alone: bool = False

    @property
    def end(self) -> int:
        """Return where the block ends in the document's text."""
        return self.start + len(self.text)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a document when it is read to its end. `page_count` is None without pages."""

    title: str = ""
    page_count: int | None = None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one document may have."""

    pages: int
    characters: int


Blocks = Generator[Block, None, Facts]
"""The blocks, one by one, and the facts as what the generator returns."""


class Layout:
    """Gives each block its place, where the document's text is not the file itself: an empty line in between."""

    def __init__(self, limits: Limits) -> None:
        self._position = 0
        self._limits = limits

    def place(
        self,
        text: str,
        *,
        level: int = 0,
        page: int | None = None,
        is_tight: bool = False,
        is_verbatim: bool = False,
    ) -> Block:
        """Return the text as the next block.

        Raises: DocumentRefused where the document has more text than is allowed.
        """
        start = self._position + (0 if not self._position else 1 if is_tight else 2)
        self._position = start + len(text)
        check_length(self._position, self._limits)
        return Block(
            text=text, start=start, level=level, page=page, is_tight=is_tight, is_verbatim=is_verbatim
        )


def check_length(characters: int, limits: Limits) -> None:
    """Refuse a document with more text than is allowed.

    Raises: DocumentRefused.
    """
    if characters > limits.characters:
        raise DocumentRefused(
            f"it has more than {limits.characters:,} characters of text: divide it into several files"
        )


def check_pages(pages: int, limits: Limits) -> None:
    """Refuse a document with more pages than is allowed.

    Raises: DocumentRefused.
    """
    if pages > limits.pages:
        raise DocumentRefused(
            f"it has {pages:,} pages, and {limits.pages:,} are allowed: divide it, or raise DOCUMENT_MAX_PAGES"
        )


def clean(text: str) -> str:
    """Return the text without what is no text, its lines ended by `\\n`."""
    return _NO_TEXT.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
