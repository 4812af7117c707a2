"""A character for the length of one process: what keeps it from being is told before anything is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from transports import ephemeral
from transports.ephemeral import NotEphemeral, working_alone


def test_a_broken_file_is_told_before_the_tables_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    monkeypatch.setattr(ephemeral, "call_command", lambda *names, **_: made.append(names))
    broken = tmp_path / "broken.json"
    broken.write_text('{"bio": 7}', encoding="utf-8")
    with pytest.raises(NotEphemeral, match=r"broken\.json: "), working_alone(str(broken)):
        pass
    assert made == []
