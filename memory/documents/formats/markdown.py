"""Markdown (CommonMark and tables): its blocks as they are written, by its headings.

The text stays Markdown, which a model reads well, and each block's place is that of the file's own characters.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import BinaryIO

from markdown_it import MarkdownIt
from markdown_it.token import Token

from memory.documents.formats.blocks import Block, Blocks, Facts, Limits, check_length
from memory.documents.formats.decoding import decode_text
from memory.documents.formats.html import seen_text

_MAX_NESTING = 100
_LEAVES = frozenset({"paragraph_open", "fence", "code_block", "tr_open"})
_FENCE = re.compile(r"-{3,}\s*")
_FRONT_MATTER_END = re.compile(r"(?:-{3,}|\.{3})\s*")
_FRONT_MATTER_LINES = 200
_TITLE = re.compile(r"title\s*:\s*(.*)", re.IGNORECASE)


def read_markdown(file: BinaryIO, limits: Limits) -> Blocks:
    """Read the file's blocks: headings, paragraphs, items, rows, code. What is HTML in it is read as HTML."""
    text = decode_text(file.read())
    check_length(len(text), limits)
    lines = text.split("\n")
    front, title = _front_matter(lines)
    # As many empty lines in its place keep the numbers of the others.
    body = "\n".join([""] * front + lines[front:])
    starts = list(itertools.accumulate((len(line) + 1 for line in lines), initial=0))
    heading, last_line = "", -1
    for token, name in _leaves(_parser().parse(body)):
        first, end = token.map or (0, 0)
        while end > first and not lines[end - 1].strip():
            end -= 1
        block = _block(
            token, name, text[starts[first] : starts[end] - 1 if end else 0], starts[first], limits
        )
        if block is None:
            continue
        yield _tight(block) if first == last_line and not block.level else block
        last_line = end
        if block.level == 1 or (block.level and not heading):
            title = title or (block.text if block.level == 1 else "")
            heading = heading or block.text
    return Facts(title=title or heading)


def _parser() -> MarkdownIt:
    # What is nested more deeply than that is left out by the parser, whose own limit of 20 is soon reached by lists.
    parser = MarkdownIt("commonmark", {"maxNesting": _MAX_NESTING}).enable("table")
    # Only blocks are wanted: what stands in a line is left as it is written.
    parser.core.ruler.disable(["inline", "text_join"])
    return parser


def _leaves(tokens: list[Token]) -> Iterator[tuple[Token, str]]:
    """Yield the tokens that hold text, and of a heading its words."""
    for token, following in itertools.zip_longest(tokens, tokens[1:]):
        if token.type == "heading_open":
            yield token, following.content
        elif token.map and (token.type in _LEAVES or token.type == "html_block"):
            yield token, ""


def _block(token: Token, name: str, text: str, start: int, limits: Limits) -> Block | None:
    if token.type == "heading_open":
        words = _plain(name)
        return (
            Block(text=words, start=start + max(0, text.find(name)), level=int(token.tag[1]))
            if words
            else None
        )
    if token.type == "html_block":
        seen = seen_text(text, limits)
        return Block(text=seen, start=start) if seen else None
    indent = 0 if token.type == "code_block" else len(text) - len(text.lstrip())
    text = text[indent:].rstrip()
    is_code = token.type in ("fence", "code_block")
    return Block(text=text, start=start + indent, is_verbatim=is_code) if text else None


def _tight(block: Block) -> Block:
    return Block(text=block.text, start=block.start, is_tight=True, is_verbatim=block.is_verbatim)


def _plain(words: str) -> str:
    """Return a heading's words without their markup."""
    (inline,) = MarkdownIt("commonmark").parseInline(words)
    children = inline.children or []
    kinds = {"text", "code_inline", "image"}
    shown = (" " if child.type.endswith("break") else child.content for child in children
             if child.type in kinds or child.type.endswith("break"))  # fmt: skip
    return " ".join("".join(shown).split())


def _front_matter(lines: list[str]) -> tuple[int, str]:
    """Return how many lines the file's front matter takes, and the title in it."""
    if not _FENCE.fullmatch(lines[0]):
        return 0, ""
    title = ""
    for number, line in enumerate(lines[1:_FRONT_MATTER_LINES], start=1):
        if _FRONT_MATTER_END.fullmatch(line):
            return number + 1, title
        if match := _TITLE.fullmatch(line.strip()):
            title = match[1].strip().strip("\"'")
    return 0, ""
