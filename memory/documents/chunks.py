"""Cuts a document's blocks into chunks: by headings, paragraphs, sentences, and never within a word.

Plain Python; `memory.documents.indexing` calls it. It takes one block at a time, so that a document of any length costs
the memory of one chunk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from memory.documents.formats.blocks import Block

VERSION = 1
"""Grows when the same file and settings give other chunks, so that documents are indexed anew."""
HEADING_SEPARATOR = " › "
"""As `plugins.api.Citation` joins them, so that whoever tells a chunk can tell its headings apart from its text."""
HEADING_SHARE = 0.3
"""So much of a chunk its headings may take; the outer ones are left out first."""

# Letters of the Latin alphabet, digits, letters of other scripts, and each other sign by itself.
_PART = re.compile(r"[A-Za-z]+|[0-9]+|[^\W\d_A-Za-z]+|[^\s]")
_CHARACTERS_A_TOKEN, _DIGITS_A_TOKEN = 4, 2
_HANGUL = re.compile("[\uac00-\ud7a3]")
# Scripts without spaces between words: the gap between two of their letters is a place to cut.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"\s*(?:[{_UNSPACED}][^\w\s]*|[^\s{_UNSPACED}]+)")
# A line within a paragraph ends no sentence, save where the next one is an item of a list.
_SENTENCE = re.compile(r"[.!?…]+[\"'”’»)\]]*\s+|[。！？]+[」』”）]*\s*|\n(?=\s*(?:[-*+•]|\d+[.)])\s)")
_LINE = re.compile(r"\n")


@dataclass(frozen=True, kw_only=True)
class Chunking:
    """How documents are cut.

    Unit: `size` and `overlap` in tokens by `count_tokens`; the size holds for text and headings together.
    """

    size: int = 200
    overlap: int = 30


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A piece of a document: what is kept of it, and where it stands.

    `headings` go from the outermost to the innermost. Pages count from 1; None where the format has none.
    Unit: `start` and `end` in characters of the document's text.
    """

    body: str
    headings: tuple[str, ...]
    start: int
    end: int
    page: int | None = None
    last_page: int | None = None

    @property
    def text(self) -> str:
        """Return what is embedded and searched: the headings in a line above the text."""
        return "\n".join(filter(None, [HEADING_SEPARATOR.join(self.headings), self.body]))


def count_tokens(text: str) -> int:
    """Estimate how many tokens an embedder makes of the text, rather too many than too few.

    Unit: tokens. Measured on all-MiniLM-L6-v2 with sentences in thirteen languages: 0.85 to 1.7 of what it
    makes.
    """
    count = 0
    for part in map(_whole, _PART.finditer(text)):
        if not part[0].isalnum():
            count += 1
        elif part[0].isascii():
            size = _DIGITS_A_TOKEN if part[0].isdigit() else _CHARACTERS_A_TOKEN
            count += -(-len(part) // size)
        else:
            # Of what an English model does not know it makes a token of each letter, and two of Hangul's.
            count += len(part) + len(_HANGUL.findall(part))
    return count


def _whole(match: re.Match[str]) -> str:
    return match[0]


def chunk_blocks(blocks: Iterable[Block], chunking: Chunking) -> Iterator[Chunk]:
    """Cut the blocks into chunks, in their order. A chunk has text of one section alone.

    A section of nothing but its heading is a chunk with the heading as its text.
    """
    path: list[Block] = []
    # How many of the path's headings stand in a chunk already, from the outermost.
    told = 0
    packer = _Packer((), chunking)
    for block in blocks:
        if not block.level:
            yield from packer.add(block)
            told = len(path)
            continue
        yield from packer.end()
        if told < len(path) and block.level <= path[-1].level:
            yield _heading_chunk(path, chunking)
            told = len(path)
        path = [*(heading for heading in path if heading.level < block.level), block]
        told = min(told, len(path) - 1)
        packer = _Packer(_headings(path, chunking), chunking)
        for place in range(told, len(path) - len(packer.headings)):
            # There is no room for it above the text below it.
            told = place + 1
            yield _heading_chunk(path[:told], chunking)
        if packer.headings and packer.headings[-1] != block.text:
            # It was cut to a heading's length, and is told whole as the section's first paragraph.
            yield from packer.add(replace(block, level=0))
            told = len(path)
    yield from packer.end()
    if told < len(path):
        yield _heading_chunk(path, chunking)


def _headings(path: list[Block], chunking: Chunking) -> tuple[str, ...]:
    """Return the path's texts, without the outer ones where they take more than their share."""
    left = int(chunking.size * HEADING_SHARE)
    kept: list[str] = []
    for heading in reversed(path):
        words = _WORD.findall(" ".join(heading.text.split()))
        shown = ""
        while words and count_tokens(shown + words[0]) <= left:
            shown += words.pop(0)
        if not shown or (words and kept):
            break
        kept.append(shown + " …" if words else shown)
        left -= count_tokens(kept[-1]) + 1
    return tuple(reversed(kept))


def _heading_chunk(path: list[Block], chunking: Chunking) -> Chunk:
    *above, heading = path
    return Chunk(
        body=heading.text,
        headings=_headings(above, chunking),
        start=heading.start,
        end=heading.end,
        page=heading.page,
        last_page=heading.page,
    )


@dataclass(frozen=True, slots=True)
class _Piece:
    """A sentence or less: from `begin` to `end` in its block."""

    block: Block
    begin: int
    end: int
    tokens: int

    @property
    def text(self) -> str:
        return self.block.text[self.begin : self.end]


@dataclass
class _Packer:
    """Fills the chunks of one section.

    Whole paragraphs go together while they fit; one that does not fit begins a new chunk where this one is half
    full. So chunks begin where paragraphs begin, and after a change in the text the next chunks soon begin again
    where they began before.
    """

    headings: tuple[str, ...]
    chunking: Chunking
    pieces: list[_Piece] = field(default_factory=list)
    tokens: int = 0
    new_count: int = 0
    room: int = field(init=False)

    def __post_init__(self) -> None:
        self.room = self.chunking.size - count_tokens(HEADING_SEPARATOR.join(self.headings))

    def add(self, block: Block) -> Iterator[Chunk]:
        room = self.room
        if block.is_alone:
            yield from self.end()
        pieces = _split(block, room)
        if self.tokens + sum(piece.tokens for piece in pieces) > room and self.tokens >= room // 2:
            yield from self._flush()
        for piece in pieces:
            if self.tokens + piece.tokens > room:
                yield from self._flush()
                while self.pieces and self.tokens + piece.tokens > room:
                    self.tokens -= self.pieces.pop(0).tokens
            self.pieces.append(piece)
            self.tokens += piece.tokens
            self.new_count += 1
        if block.is_alone:
            yield from self.end()

    def end(self) -> Iterator[Chunk]:
        """Give what is left, and let nothing of it overlap into what follows."""
        yield from self._flush()
        self.pieces, self.tokens = [], 0

    def _flush(self) -> Iterator[Chunk]:
        if not self.new_count:
            return
        first, last = self.pieces[0], self.pieces[-1]
        yield Chunk(
            body=_joined(self.pieces),
            headings=self.headings,
            start=first.block.start + first.begin + len(first.text) - len(first.text.lstrip()),
            end=last.block.start + last.begin + len(last.text.rstrip()),
            page=first.block.page,
            last_page=last.block.page,
        )
        self.pieces = _overlap(self.pieces, self.chunking.overlap)
        self.tokens = sum(piece.tokens for piece in self.pieces)
        self.new_count = 0


def _split(block: Block, room: int) -> list[_Piece]:
    """Split a block into sentences, and a sentence that is too long between words."""
    pieces: list[_Piece] = []
    begin = 0
    for match in (_LINE if block.is_verbatim else _SENTENCE).finditer(block.text):
        pieces += _split_sentence(block, begin, match.end(), room)
        begin = match.end()
    return pieces + _split_sentence(block, begin, len(block.text), room)


def _split_sentence(block: Block, begin: int, end: int, room: int) -> list[_Piece]:
    if not block.text[begin:end].strip():
        return []
    tokens = count_tokens(block.text[begin:end])
    if tokens <= room:
        return [_Piece(block, begin, end, tokens)]
    pieces: list[_Piece] = []
    tokens, last = 0, begin
    for word_begin, word_end in _words(block.text, begin, end, room):
        word_tokens = count_tokens(block.text[word_begin:word_end])
        if tokens and tokens + word_tokens > room:
            pieces.append(_Piece(block, begin, last, tokens))
            begin, tokens = last, 0
        tokens += word_tokens
        last = word_end
    return [*pieces, _Piece(block, begin, end, tokens)]


def _words(text: str, begin: int, end: int, room: int) -> Iterator[tuple[int, int]]:
    """Yield where words stand. One that fits into no chunk is no word of any language, but data, and is cut."""
    for match in _WORD.finditer(text, begin, end):
        if count_tokens(match[0]) <= room:
            yield match.span()
            continue
        # No character is more than two tokens.
        step = max(1, room // 2)
        for start in range(match.start(), match.end(), step):
            yield start, min(start + step, match.end())


def _overlap(pieces: list[_Piece], overlap: int) -> list[_Piece]:
    """Return the last sentences that fit into the overlap, else the last words of the last sentence."""
    kept: list[_Piece] = []
    left = overlap
    for piece in reversed(pieces):
        if piece.tokens > left:
            break
        kept.insert(0, piece)
        left -= piece.tokens
    if kept or not pieces or pieces[-1].block.is_verbatim:
        return kept
    last = pieces[-1]
    begin, tokens = last.end, 0
    for match in reversed(list(_WORD.finditer(last.block.text, last.begin, last.end))):
        tokens += count_tokens(match[0])
        if tokens > overlap:
            break
        begin = match.start()
    words = last.block.text[begin : last.end]
    return [_Piece(last.block, begin, last.end, count_tokens(words))] if words.strip() else []


def _joined(pieces: list[_Piece]) -> str:
    """Return the pieces' text: within a block as it is written, else with the gap that the blocks have."""
    text = ""
    for before, piece in zip([None, *pieces], pieces, strict=False):
        if before is None or (before.block is piece.block and before.end == piece.begin):
            text += piece.text
        else:
            text = text.rstrip() + ("\n" if piece.block.is_tight else "\n\n") + piece.text
    return text.strip()
