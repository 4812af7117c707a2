"""PDF: the text of its pages, by the headings of its outline. pypdf reads it; nothing in it is run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from memory.documents.formats.blocks import (
    Block,
    Blocks,
    DocumentRefused,
    Facts,
    Layout,
    Limits,
    check_pages,
    clean,
)

MAX_OUTLINE_ENTRIES = 10_000
MAX_HEADING_LEVEL = 6
_SOFT_HYPHEN = "\u00ad"
_BROKEN_WORD = re.compile(r"[^\W\d_]-")
_ITEM = re.compile(r"(?:[•▪◦‣●○■–*-]|\(?\d{1,3}[.)]|\(?[a-z][.)])\s")
_SENTENCE_END = re.compile(r"[.!?:;。！？][\"'”’»)\]]*")
# A line so much shorter than the page's others, which ends a sentence, ends its paragraph.
_SHORT_LINE = 0.8

Heading = tuple[int, str]


def read_pdf(file: BinaryIO, limits: Limits) -> Blocks:
    """Read the pages' paragraphs.

    Raises: DocumentRefused where it is broken, asks for a password, or has too many pages.
    """
    try:
        reader = PdfReader(file)
        # An empty password opens what is only kept from being printed or changed.
        if reader.is_encrypted and not reader.decrypt(""):
            raise DocumentRefused("it is encrypted: save it without a password")
        page_count = len(reader.pages)
    except (MemoryError, DocumentRefused):
        raise
    except Exception as error:  # whatever a broken file makes of the parser
        raise DocumentRefused(f"it is broken, {_first_line(error)}: save it anew") from None
    check_pages(page_count, limits)
    outline = _outline(reader)
    layout = Layout(limits)
    for index in range(page_count):
        yield from _page(_page_text(reader, index), index + 1, outline.get(index, ()), layout)
    return Facts(title=_title(reader), page_count=page_count)


def _page_text(reader: PdfReader, index: int) -> str:
    try:
        return clean(reader.pages[index].extract_text())
    except MemoryError:
        raise
    except Exception as error:  # whatever a broken page makes of the parser
        raise DocumentRefused(f"its page {index + 1} is broken, {_first_line(error)}: save it anew") from None


def _page(text: str, page: int, headings: Sequence[Heading], layout: Layout) -> Iterator[Block]:
    """Yield a page's blocks, each heading of the outline before the line that has its words, else first."""
    lines = [" ".join(line.replace(_SOFT_HYPHEN, "-").split()) for line in text.split("\n")]
    places: dict[int, list[Heading]] = {}
    found: set[int] = set()
    after = 0
    for heading in headings:
        place = _find_line(lines, heading[1], after)
        if place is not None:
            found.add(place)
            after = place + 1
        places.setdefault(after if place is None else place, []).append(heading)
    begin = 0
    for place in [*sorted(places), len(lines)]:
        for paragraph in _paragraphs(lines[begin:place], _usual_length(lines)):
            yield layout.place(paragraph, page=page, is_tight=bool(_ITEM.match(paragraph)))
        for level, title in places.get(place, ()):
            yield layout.place(title, level=level, page=page)
        begin = place + (place in found)


def _find_line(lines: Sequence[str], title: str, after: int) -> int | None:
    wanted = _compared(title)
    for number in range(after, len(lines)):
        line = _compared(lines[number])
        # The page often has the number before the title, which the outline leaves out.
        if line == wanted or re.sub(r"^[\divxlc.]+", "", line) == wanted:
            return number
    return None


def _compared(text: str) -> str:
    return "".join(text.split()).casefold()


def _usual_length(lines: Sequence[str]) -> int:
    lengths = sorted(len(line) for line in lines if line)
    return lengths[len(lengths) * 9 // 10] if lengths else 0


def _paragraphs(lines: Sequence[str], usual_length: int) -> Iterator[str]:
    """Join lines to paragraphs, and the halves of a word that was broken at a line's end."""
    joined, last = "", ""
    for line in lines:
        ends = bool(_SENTENCE_END.search(last[-3:])) and len(last) < _SHORT_LINE * usual_length
        if joined and (not line or ends or _ITEM.match(line)):
            yield joined
            joined = ""
        if not joined:
            joined = line
        elif _BROKEN_WORD.fullmatch(joined[-2:]) and line[0].islower():
            joined = joined[:-1] + line
        else:
            joined = f"{joined} {line}"
        last = line
    if joined:
        yield joined


def _outline(reader: PdfReader) -> dict[int, list[Heading]]:
    """Return the outline's entries by the index of their page. A broken outline is none."""
    entries: dict[int, list[Heading]] = {}
    try:
        for number, (level, entry) in enumerate(_flat(reader.outline, 1)):
            index = reader.get_destination_page_number(entry)
            title = " ".join(clean(str(entry.title or "")).split())
            if number >= MAX_OUTLINE_ENTRIES:
                break
            if index is not None and index >= 0 and title:
                entries.setdefault(index, []).append((min(level, MAX_HEADING_LEVEL), title))
    except (PyPdfError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
    return entries


def _flat(outline: Sequence[Any], level: int) -> Iterator[tuple[int, Any]]:
    for entry in outline:
        if isinstance(entry, list):
            yield from _flat(entry, level + 1)
        else:
            yield level, entry


def _title(reader: PdfReader) -> str:
    try:
        return " ".join(clean(str((reader.metadata and reader.metadata.title) or "")).split())
    except (PyPdfError, ValueError, TypeError, KeyError, AttributeError):
        return ""


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{lines[0][:200]} ({type(error).__name__})" if lines else type(error).__name__
