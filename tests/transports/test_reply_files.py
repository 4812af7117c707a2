"""The file of replies: written as they come, in the order of acknowledgement at last."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from uuid import uuid4

from transports.ingest import ReplyLine
from transports.reply_files import ReplyFile

NOON = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)


def reply(name: str, second: int | None) -> ReplyLine:
    return ReplyLine(
        in_reply_to=name,
        turn=uuid4(),
        platform="telegram",
        room="r",
        person="ann",
        text="zwei\nZeilen – ü",
        received_at=NOON,
        replied_at=None if second is None else NOON + dt.timedelta(seconds=second),
        state="sent",
    )


def names(path: Path) -> list[str]:
    return [json.loads(line)["in_reply_to"] for line in path.read_text().splitlines()]


def test_a_reply_can_be_read_as_soon_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with ReplyFile(path) as out:
        out.write(reply("a", 1))
        assert names(path) == ["a"]
    assert json.loads(path.read_text())["replied_at"] == "2026-05-01T12:00:01.000000+00:00"


def test_what_came_in_the_wrong_order_is_put_right_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with ReplyFile(path) as out:
        for name, second in (("b", 2), ("never", None), ("a", 1), ("c", 3)):
            out.write(reply(name, second))
        assert names(path) == ["b", "never", "a", "c"]
    assert names(path) == ["a", "b", "c", "never"]
    assert [file.name for file in tmp_path.iterdir()] == ["out.jsonl"]
