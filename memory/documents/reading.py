"""Reads a document's file in a process of its own, which is ended when it takes too long or too much.

What parses untrusted files holds no secrets, no database and no network address; what it answers is text.
`memory.documents.indexing` calls it.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO

from django.conf import settings

from memory.documents.formats.blocks import Block, DocumentRefused, Facts

MAX_CHARACTERS = 20_000_000
"""Of text in one document: a small file can unfold to any length."""
MAX_MEMORY_BYTES = 2**30
_KILLED = (-signal.SIGKILL, -signal.SIGXCPU)
# The limit is one of the reader's own work; whoever listens may take longer to store it. This ends one that hangs.
_HANGS_AFTER = 5


class Reading:
    """The blocks of a file while it is read; `facts` once they came to their end."""

    def __init__(self, file: BinaryIO, format: str) -> None:
        self.facts = Facts()
        self._seconds = int(settings.DOCUMENT_READ_SECONDS)
        file.flush()
        file.seek(0)
        limits = (settings.DOCUMENT_MAX_PAGES, MAX_CHARACTERS, self._seconds, MAX_MEMORY_BYTES)
        # The file is its standard input: it needs no path, and an empty environment has no secrets.
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-E", "-s", "-m", "memory.documents.formats", format, *map(str, limits)],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=settings.BASE_DIR,
            env={"LC_ALL": "C.UTF-8"},
        )
        self._timer = threading.Timer(_HANGS_AFTER * self._seconds, self._process.kill)
        self._timer.daemon = True
        self._timer.start()

    def __iter__(self) -> Iterator[Block]:
        """Yield the blocks.

        Raises: DocumentRefused where the file is broken, encrypted or empty, or reading it took too much.
        """
        is_empty = True
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # A process that is killed in the middle of a line leaves half of it.
            row = json.loads(line) if line.endswith(b"\n") else {}
            if "text" in row:
                is_empty = False
                yield Block(**row)
            elif "refused" in row:
                raise DocumentRefused(row["refused"])
            elif "facts" in row:
                self.facts = Facts(**row["facts"])
                if is_empty:
                    raise DocumentRefused(
                        "it has no text"
                        + (
                            ": is it a scan? Text recognition (OCR) makes one"
                            if self.facts.page_count
                            else ""
                        )
                    )
                return
        self._explain()

    def _explain(self) -> None:
        """Say why the process ended before the file did."""
        code = self._process.wait()
        if code in _KILLED:
            raise DocumentRefused(
                f"reading it took more than {self._seconds} s: divide it, or raise DOCUMENT_READ_SECONDS"
            )
        raise DocumentRefused(f"it can't be read: its reader ended with {code}")

    def close(self) -> None:
        """End the process, whatever it is at."""
        self._timer.cancel()
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Reading:
        """Return the reading."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End the process."""
        self.close()
