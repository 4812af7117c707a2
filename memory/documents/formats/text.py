"""Plain text: paragraphs between empty lines, pages between form feeds, and what stands alone as a heading does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from memory.documents.formats.blocks import Block, Blocks, Facts, Limits, check_length, check_pages
from memory.documents.formats.decoding import decode_text

MAX_HEADING_CHARACTERS = 100
_PARTS = "part|book|teil|buch|partie|livre|parte|libro"
_CHAPTERS = (
    "chapter|section|appendix|article|kapitel|abschnitt|anhang|artikel|chapitre|annexe|cap[ií]tulo|secci[oó]n"
)
_NAMED = re.compile(rf"(?:({_PARTS})|{_CHAPTERS})\s+(?:\d[\d.]*|[IVXLCDM]+|[A-Z])\b[^\n]*", re.IGNORECASE)
_NUMBERED = re.compile(r"(\d+(?:\.\d+)+)\.?\s+[^\W\d_][^\n]*[^\s.;,:]")
_UNDERLINE = re.compile(r"(=+|-+|~+|\*+)\s*")
_PART, _CHAPTER, _CAPITALS = 1, 2, 3


def read_text(file: BinaryIO, limits: Limits) -> Blocks:
    """Read the file's paragraphs. Their places are those of the file's own characters.

    A heading stands alone: underlined, or "Chapter 3 …", or "2.1 …", or in capitals.
    """
    text = decode_text(file.read())
    check_length(len(text), limits)
    page_count = text.count("\f") + 1 if "\f" in text else None
    check_pages(page_count or 1, limits)
    title = ""
    for start, end, page in _paragraphs(text):
        for block in _blocks(text[start:end], start, page if page_count else None):
            title = title or (block.text if block.level else "")
            yield block
    return Facts(title=title, page_count=page_count)


def _paragraphs(text: str) -> Iterator[tuple[int, int, int]]:
    """Yield where each paragraph begins and ends, and its page. Line by line: no pattern backtracks over it."""
    begin, end, page, position = -1, 0, 1, 0
    while position < len(text):
        line_end = text.find("\n", position)
        line_end = len(text) if line_end < 0 else line_end
        feed = text.find("\f", position, line_end)
        line_end = line_end if feed < 0 else feed
        line = text[position:line_end]
        if line.strip():
            begin = position if begin < 0 else begin
            end = position + len(line.rstrip())
        if begin >= 0 and (not line.strip() or feed >= 0):
            yield begin, end, page
            begin = -1
        page += feed >= 0
        position = line_end + 1
    if begin >= 0:
        yield begin, end, page


def _blocks(paragraph: str, start: int, page: int | None) -> Iterator[Block]:
    first, _, rest = paragraph.partition("\n")
    underline = _UNDERLINE.match(rest)
    is_underlined = (
        underline is not None
        and (underline.end() == len(rest) or rest[underline.end() - 1] == "\n")
        and len(underline[1]) >= max(3, len(first.strip()) // 2)
        and len(first) <= MAX_HEADING_CHARACTERS
    )
    if is_underlined and underline is not None:
        level = _PART if underline[1][0] == "=" else _CHAPTER
        yield _heading(first, start, level, page)
        body = len(first) + 1 + underline.end()
        if paragraph[body:].strip():
            yield Block(text=paragraph[body:], start=start + body, page=page)
    elif not rest and (level := _level(first.strip())):
        yield _heading(first, start, level, page)
    else:
        yield Block(text=paragraph, start=start, page=page)


def _heading(line: str, start: int, level: int, page: int | None) -> Block:
    return Block(text=line.strip(), start=start + len(line) - len(line.lstrip()), level=level, page=page)


def _level(line: str) -> int:
    """Return the level of a line that stands alone; 0 where it is no heading."""
    if len(line) > MAX_HEADING_CHARACTERS:
        return 0
    if named := _NAMED.fullmatch(line):
        return _PART if named[1] else _CHAPTER
    if numbered := _NUMBERED.fullmatch(line):
        return _CHAPTER + numbered[1].count(".")
    letters = [character for character in line if character.isalpha()]
    # Scripts without capitals have none that could mark a heading.
    if len(letters) > 2 and line == line.upper() != line.lower():
        return _CAPITALS
    return 0
