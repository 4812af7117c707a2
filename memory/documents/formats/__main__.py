"""The process that reads one untrusted file: from standard input to JSON lines on standard output.

`memory.documents.reading` starts it: `python -m memory.documents.formats FORMAT PAGES CHARACTERS SECONDS BYTES`. It
has no database, no settings and no secrets, writes no file, and the system ends it when it takes too much.

A line is a block, or `{"facts": …}` at the end, or `{"refused": …}` where the file can't be read.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from memory.documents.formats.blocks import Block, Blocks, DocumentRefused, Limits

Reader = Callable[[BinaryIO, Limits], Blocks]

MAX_BLOCK_CHARACTERS = 50_000
"""A longer block goes in several lines: whoever listens holds one line at a time."""


def main(arguments: list[str]) -> None:
    """Read standard input in the format that the arguments name, within their limits."""
    name, *numbers = arguments
    pages, characters, seconds, memory = map(int, numbers)
    read = _reader(name)
    _limit(seconds, memory)
    try:
        _write_all(read(sys.stdin.buffer, Limits(pages=pages, characters=characters)))
    except DocumentRefused as error:
        _write({"refused": str(error)})
    except MemoryError:
        _write({"refused": f"reading it takes more than {memory // 2**20:,} MiB of memory"})
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(1)
    except Exception as error:  # the door of a process that reads what anybody made
        _write({"refused": f"it can't be read: {type(error).__name__}"})


def _reader(name: str) -> Reader:
    # Imported one by one: a text needs no parser of PDFs, which takes its time to load.
    if name == "pdf":
        from memory.documents.formats.pdf import read_pdf as read
    elif name == "html":
        from memory.documents.formats.html import read_html as read
    elif name == "markdown":
        from memory.documents.formats.markdown import read_markdown as read
    elif name == "texts":
        from memory.documents.formats.texts import read_texts as read
    else:
        from memory.documents.formats.text import read_text as read
    return read


def _limit(seconds: int, memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # macOS keeps no limit on addresses; the limits of time and of text hold there.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _write_all(blocks: Blocks) -> None:
    while True:
        try:
            block = next(blocks)
        except StopIteration as end:
            _write({"facts": {"title": end.value.title, "page_count": end.value.page_count}})
            return
        for piece in _pieces(block):
            _write(_row(piece))


def _pieces(block: Block) -> Iterator[Block]:
    begin = 0
    while len(block.text) - begin > MAX_BLOCK_CHARACTERS:
        most = begin + MAX_BLOCK_CHARACTERS
        end = max(block.text.rfind(" ", begin, most), block.text.rfind("\n", begin, most)) + 1 or most
        yield replace(block, text=block.text[begin:end], start=block.start + begin, is_tight=begin > 0)
        begin = end
    yield replace(block, text=block.text[begin:], start=block.start + begin) if begin else block


def _row(block: Block) -> dict[str, Any]:
    row: dict[str, Any] = {"text": block.text, "start": block.start}
    for name in ("level", "page", "is_tight", "is_verbatim", "is_alone"):
        if value := getattr(block, name):
            row[name] = value
    return row


def _write(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
