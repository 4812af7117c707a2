"""The file that `ingest --replies` writes: a line a reply, in the order in which networks acknowledged them.

Each line is written as soon as the reply is known, so that others can follow the file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType

from transports.ingest import ReplyLine

LAST = "~"
"""Comes after every time: the place of what was never acknowledged."""


class ReplyFile:
    """Writes replies as they come. What became known in the wrong order is put right at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("w", encoding="utf-8")
        self._newest = ""
        self._is_ordered = True

    def __enter__(self) -> ReplyFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if not self._is_ordered:
            self._put_in_order()

    def write(self, reply: ReplyLine) -> None:
        """Add the reply."""
        line = reply.as_json()
        replied_at = line["replied_at"] or LAST
        self._is_ordered = self._is_ordered and replied_at >= self._newest
        self._newest = max(self._newest, replied_at)
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()

    def _put_in_order(self) -> None:
        lines = self._path.read_text(encoding="utf-8").split("\n")[:-1]
        lines.sort(key=lambda line: json.loads(line)["replied_at"] or LAST)
        ordered = self._path.with_name(f".{self._path.name}.ordered")
        ordered.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        os.replace(ordered, self._path)
