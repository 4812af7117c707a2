"""The reader's process: without secrets, ended when it takes too much, and gone when nobody listens."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memory.documents import reading
from memory.documents.formats import DocumentRefused
from memory.documents.formats.blocks import Block
from memory.documents.reading import Reading

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def file() -> Iterator[Any]:
    with tempfile.TemporaryFile() as opened:
        yield opened


def read(file: Any, content: bytes, format: str = "text") -> list[Block]:
    file.seek(0)
    file.truncate()
    file.write(content)
    with Reading(file, format) as found:
        return list(found)


def instead(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Have the reader's process run this code in place of the formats' own."""
    popen = subprocess.Popen

    def start(arguments: list[str], **options: Any) -> Any:
        return popen([*arguments[:3], "-c", code], **options)

    monkeypatch.setattr(reading.subprocess, "Popen", start)


def test_blocks_come_as_they_were_made_from_wherever_the_file_stands(file: Any) -> None:
    file.write(b"One.\n\nTwo.")
    with Reading(file, "text") as found:
        assert [(block.text, block.start) for block in found] == [("One.", 0), ("Two.", 6)]
    assert read(file, b"# A\n\n```\ncode\n```", "markdown")[1].is_verbatim
    assert read(file, b'["alone"]', "texts")[0].is_alone


def test_a_very_long_paragraph_comes_in_pieces_of_whole_words(file: Any) -> None:
    blocks = read(file, b"word " * 30_000)
    assert len(blocks) == 3
    assert "".join(block.text for block in blocks).split() == ["word"] * 30_000
    assert all(
        block.start == sum(len(before.text) for before in blocks[:number])
        for number, block in enumerate(blocks)
    )


def test_it_has_none_of_our_secrets(monkeypatch: pytest.MonkeyPatch, file: Any) -> None:
    monkeypatch.setenv("SECRET_KEY", "a secret")
    instead(
        monkeypatch,
        "import os, json; print(json.dumps({'text': ' '.join(sorted(os.environ)), 'start': 0}));"
        "print(json.dumps({'facts': {}}))",
    )
    (block,) = read(file, b"text")
    assert set(block.text.split()) <= {"LC_ALL", "LC_CTYPE"}


def test_it_has_no_file_of_ours_open(monkeypatch: pytest.MonkeyPatch, file: Any) -> None:
    instead(
        monkeypatch,
        "import os, json; print(json.dumps({'text': str(sorted(map(int, os.listdir('/proc/self/fd')))), 'start': 0}));"
        "print(json.dumps({'facts': {}}))",
    )
    (block,) = read(file, b"text")
    assert json.loads(block.text)[:3] == [0, 1, 2]
    assert len(json.loads(block.text)) == 4, "the fourth is the folder that lists them"


@pytest.mark.parametrize("code", ["while True: pass", "import time; time.sleep(600)"])
def test_reading_that_takes_too_long_is_ended(
    settings: Any, monkeypatch: pytest.MonkeyPatch, file: Any, code: str
) -> None:
    settings.DOCUMENT_READ_SECONDS = 1
    monkeypatch.setattr(reading, "_HANGS_AFTER", 1)
    instead(monkeypatch, code)
    with pytest.raises(DocumentRefused, match="reading it took more than 1 s: divide it, or raise"):
        read(file, b"text")


def test_the_system_ends_a_reader_that_nobody_waits_for() -> None:
    """Whoever started it may have been killed: its own limit of CPU holds all the same."""
    code = (
        "from memory.documents.formats import __main__ as reader\nreader._limit(1, 2**30)\nwhile True: pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False)
    assert done.returncode == reading._KILLED[1]


def test_reading_that_takes_too_much_memory_is_refused(monkeypatch: pytest.MonkeyPatch, file: Any) -> None:
    monkeypatch.setattr(reading, "MAX_MEMORY_BYTES", 100 * 2**20)
    with pytest.raises(DocumentRefused, match="reading it takes more than 100 MiB of memory"):
        read(file, ("字 " * 9_000_000).encode("utf-16"))


def test_it_can_write_no_file(tmp_path: Path) -> None:
    target = tmp_path / "written"
    code = (
        "from memory.documents.formats import __main__ as reader\n"
        "reader._limit(10, 2**30)\n"
        f"import pathlib; pathlib.Path({str(target)!r}).write_text('x' * 100)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False, capture_output=True
    )
    assert done.returncode == 1
    assert target.stat().st_size == 0


def test_a_reader_that_dies_is_told(monkeypatch: pytest.MonkeyPatch, file: Any) -> None:
    instead(monkeypatch, "print('{\"text\": \"half', end=''); raise SystemExit(3)")
    with pytest.raises(DocumentRefused, match="its reader ended with 3"):
        read(file, b"text")


def test_a_fault_of_a_parser_is_a_refusal(file: Any) -> None:
    with pytest.raises(DocumentRefused, match="it is broken"):
        read(file, b"%PDF-1.7 nothing", "pdf")


def test_the_process_ends_with_its_block(file: Any) -> None:
    file.write(b"One.\n\n" * 100_000)
    with Reading(file, "text") as found:
        next(iter(found))
        process = found._process
    assert process.poll() is not None
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_the_formats_themselves_answer_in_lines() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "memory.documents.formats", "markdown", "1", "1000", "10", str(2**30)],
        cwd=ROOT, input=b"# A\n\nText.", capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    lines = [json.loads(line) for line in io.BytesIO(done.stdout)]
    assert lines == [
        {"text": "A", "start": 2, "level": 1},
        {"text": "Text.", "start": 5},
        {"facts": {"title": "A", "page_count": None}},
    ]
