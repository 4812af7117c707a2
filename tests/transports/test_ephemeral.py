"""A character for the length of one process: what keeps it from being is told before anything is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from transports import ephemeral
from transports.ephemeral import NotEphemeral, find_character, working_alone


def test_a_broken_file_is_told_before_the_tables_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    monkeypatch.setattr(ephemeral, "call_command", lambda *names, **_: made.append(names))
    broken = tmp_path / "broken.json"
    broken.write_text('{"bio": 7}', encoding="utf-8")
    with pytest.raises(NotEphemeral, match=r"broken\.json: "), working_alone(str(broken), tell=print):
        pass
    assert made == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "$: expected a JSON object, got an empty file"),
        (b"\x89PNG\r\n\x1a\n\0", "a zero byte, as in UTF-16 or in what is no text: save the file as UTF-8"),
        (b" " * 20_000_000, "expected at most 2 MiB, got more"),
        (
            b'{"name": "x",}',
            "line 1, column 14: expected JSON, got a comma with nothing after it: take it out",
        ),
        (b'[{"name": "x"}]', "expected one character"),
        (b"{}", "name: expected a name: text that isn't empty, got nothing"),
        (b'{"name": "' + b"x" * 300 + b'"}', "name: expected at most 100 characters, got 300"),
        (b'{"name": "x", "name": "y"}', "name: expected each key once"),
        (b'{"name": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "expected at most 64 levels"),
        (b'{"name": "x", "a\\u0000b": 1}', "expected text without NUL"),
    ],
)
def test_a_file_that_is_no_character_is_told_in_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "wrong.json"
    file.write_bytes(content)
    with pytest.raises(NotEphemeral) as refusal, working_alone(str(file), tell=print):
        pass
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("named", ["", "no such.json", "x" * 300, "/", "a" * 5000])
def test_a_name_that_no_file_has_is_told(named: str) -> None:
    with pytest.raises(NotEphemeral, match="is neither a file nor a sample character: eliza, iris, tove are"):
        find_character(named)
