"""Files of inbound messages, one JSON object a line: each line checked, and read again when it is sent.

A line: `{"id", "platform", "room", "person", "text", "at", "attachments"?, "mention"?, "room_type"?}`. `at`
is a time with its zone. `attachments` are objects with `url`, `content_type`? and `name`?. `mention` is true
unless it says false. `room_type` is elizaOS' channel type; a room that no line says it of is a DM where one
person alone speaks in the file, and a GROUP otherwise; a room that is known already stays what it is. What
else a line says is kept as the message's platform data. `transports.ingest` calls it.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from agents import inbox
from agents.envelopes import Incoming, IncomingPerson, IncomingRoom
from agents.models import Room
from plugins.api import Attachment

NOBODY = UUID(int=0)
MAX_PLATFORM_CHARACTERS = 30
BROKEN_BYTES = re.compile("[\udc80-\udcff]")
"""What `surrogateescape` makes of bytes that are not UTF-8."""
YEARS = range(1970, 2101)
EXAMPLE_TIME = "2026-05-01T12:00:00.000000Z"
KNOWN_KEYS = frozenset(
    {"id", "platform", "room", "person", "text", "at", "attachments", "mention", "room_type"}
)


class BadLine(Exception):
    """A line that is no message; the text says why, and the cure."""


@dataclass(frozen=True, kw_only=True)
class InboundLine:
    """One message of a file, and the number of its line."""

    number: int
    id: str
    platform: str
    room: str
    person: str
    text: str
    said_at: dt.datetime
    attachments: tuple[Attachment, ...] = ()
    is_mention: bool = True
    room_type: str = ""
    more: dict[str, Any] = field(default_factory=dict)

    def incoming(self, connection_id: UUID, room_type: str) -> Incoming:
        """Make the envelope that the inbox takes."""
        return Incoming(
            connection_id=connection_id,
            external_id=self.id,
            room=IncomingRoom(external_id=self.room, type=room_type),
            person=IncomingPerson(external_id=self.person, name=self.person),
            text=self.text,
            said_at=self.said_at,
            attachments=self.attachments,
            is_addressed=self.is_mention,
            platform_data=self.more,
        )


@dataclass(kw_only=True)
class _RoomSeen:
    person: str
    is_shared: bool = False
    type: str = ""


@dataclass(kw_only=True)
class Survey:
    """What a file holds: how many messages, on which platforms, and what is wrong with which line."""

    count: int = 0
    platforms: dict[str, int] = field(default_factory=dict)
    faults: list[tuple[int, str]] = field(default_factory=list)
    _rooms: dict[tuple[str, str], _RoomSeen] = field(default_factory=dict)

    def note(self, line: InboundLine) -> None:
        """Count the line in, and who speaks where."""
        self.count += 1
        self.platforms.setdefault(line.platform, line.number)
        room = self._rooms.setdefault((line.platform, line.room), _RoomSeen(person=line.person))
        room.is_shared = room.is_shared or room.person != line.person
        if room.type and line.room_type and room.type != line.room_type:
            raise BadLine(
                f"the room {line.room!r} is a {line.room_type} here and a {room.type} in a line before:"
                " give it one room_type"
            )
        room.type = room.type or line.room_type

    def room_type_of(self, line: InboundLine) -> str:
        """Return the type of the line's room: as the file says, else by how many people speak there."""
        room = self._rooms[line.platform, line.room]
        return room.type or (Room.Type.GROUP.value if room.is_shared else Room.Type.DM.value)


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Read the file's lines with their numbers, one at a time; blank ones are left out.

    Raises: OSError; UnicodeDecodeError never, as broken bytes are told of by `parse_line`.
    """
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line


def survey(path: Path, *, check: Callable[[InboundLine], None]) -> Survey:
    """Read the whole file, and tell what it holds and what is wrong in it; `check` may raise BadLine, too."""
    found = Survey()
    for number, raw in read_lines(path):
        try:
            line = parse_line(number, raw)
            check(line)
            found.note(line)
        except BadLine as error:
            found.faults.append((number, str(error)))
    return found


def parse_line(number: int, raw: str) -> InboundLine:
    """Read one line.

    Raises: BadLine.
    """
    found = _object(raw)
    line = InboundLine(
        number=number,
        id=_name(found, "id", "the network's own id of the message"),
        platform=_name(found, "platform", "the network, such as discord"),
        room=_name(found, "room", "the channel or chat"),
        person=_name(found, "person", "who said it"),
        text=_text(found),
        said_at=_time(found),
        attachments=_attachments(found),
        is_mention=_mention(found),
        room_type=_room_type(found),
        more={key: value for key, value in found.items() if key not in KNOWN_KEYS},
    )
    if len(line.platform) > MAX_PLATFORM_CHARACTERS:
        raise BadLine(f'"platform" has {len(line.platform)} characters: at most {MAX_PLATFORM_CHARACTERS}')
    try:
        inbox.clean(line.incoming(NOBODY, line.room_type or Room.Type.DM.value))
    except inbox.Refused as error:
        raise BadLine(str(error)) from None
    return line


def _object(raw: str) -> dict[str, Any]:
    if BROKEN_BYTES.search(raw):
        raise BadLine("is not UTF-8: save the file as UTF-8")
    try:
        found = json.loads(raw)
    except json.JSONDecodeError as error:
        raise BadLine(f"is no JSON ({error.msg} at column {error.colno}): one object a line") from None
    except (ValueError, RecursionError) as error:
        raise BadLine(f"is no JSON that can be read ({error}): one object a line") from None
    if not isinstance(found, dict):
        raise BadLine(f"is {_kind(found)}: write an object, in braces")
    return found


def _name(found: dict[str, Any], key: str, meaning: str) -> str:
    value = found.get(key)
    if value is None:
        raise BadLine(f'"{key}" is missing: add {meaning}')
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadLine(f'"{key}" is {_kind(value)}: write {meaning} as text')
    if not str(value).strip():
        raise BadLine(f'"{key}" is empty: write {meaning}')
    return str(value).strip()


def _text(found: dict[str, Any]) -> str:
    value = found.get("text", "" if found.get("attachments") else None)
    if value is None:
        raise BadLine('"text" is missing: add what was said')
    if not isinstance(value, str):
        raise BadLine(f'"text" is {_kind(value)}: write what was said as text')
    return value


def _time(found: dict[str, Any]) -> dt.datetime:
    value = found.get("at")
    if value is None:
        raise BadLine(f'"at" is missing: add when it was said, such as {EXAMPLE_TIME}')
    try:
        moment = dt.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise BadLine(f'"at" is {str(value)[:40]!r}: write it as {EXAMPLE_TIME}') from None
    if moment.tzinfo is None:
        raise BadLine(f'"at" is {value!r}, without a zone: end it with Z, or with an offset such as +02:00')
    if moment.year not in YEARS:
        raise BadLine(f'"at" is in the year {moment.year}: the years {YEARS[0]} to {YEARS[-1]} are taken')
    return moment


def _attachments(found: dict[str, Any]) -> tuple[Attachment, ...]:
    value = found.get("attachments")
    if value is None:
        return ()
    if not isinstance(value, list):
        raise BadLine(f'"attachments" is {_kind(value)}: write a list of objects with "url"')
    return tuple(_attachment(item) for item in value)


def _attachment(item: Any) -> Attachment:
    cure = 'write {"url": "https://…", "content_type": "image/png", "name": "cat.png"}'
    if not isinstance(item, dict) or not isinstance(item.get("url"), str) or not item["url"]:
        raise BadLine(f'an attachment has no "url": {cure}')
    fields = {key: item.get(key) or "" for key in ("url", "content_type", "name")}
    if not all(isinstance(value, str) for value in fields.values()):
        raise BadLine(f"an attachment has a field that is no text: {cure}")
    return Attachment(**fields)


def _mention(found: dict[str, Any]) -> bool:
    value = found.get("mention", True)
    if not isinstance(value, bool):
        raise BadLine(f'"mention" is {_kind(value)}: write true or false, or leave it out')
    return value


def _room_type(found: dict[str, Any]) -> str:
    value = found.get("room_type", "")
    if value and value not in Room.Type.values:
        raise BadLine(f'"room_type" is {str(value)[:40]!r}: write one of {", ".join(Room.Type.values)}')
    return value or ""


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
