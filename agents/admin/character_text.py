"""Writes a character's lists and example conversations as text that a person can edit, and reads them back.

The character form calls it. Whatever the plain form can't express without loss is written as JSON instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

_SPEAKER = re.compile(r"(?P<name>[^:\[\]\n]*[^:\[\]\s])(?: \[(?P<actions>[^\[\]]*)\])?:(?: (?P<text>.*))?")
_CONTINUED = "  "


class TextFormatError(ValueError):
    """The text can't be read; the message says in which line, and what belongs there."""


def write_lines(items: list[Any]) -> str:
    """Write a list of texts, one a line."""
    return _write(items, "\n".join(map(str, items)), read_lines)


def read_lines(text: str) -> list[Any]:
    """Read one item a line, or a JSON list. Empty lines say nothing.

    Raises: TextFormatError where what begins as a JSON list of several lines is none.
    """
    listed = _read_json_list(text)
    if listed is not None:
        return listed
    return [line.strip() for line in text.split("\n") if line.strip()]


def write_conversations(conversations: list[Any]) -> str:
    """Write example conversations as `Name: text` or `Name [ACTION]: text`, with empty lines between them."""
    try:
        plain = "\n\n".join("\n".join(map(_write_message, messages)) for messages in conversations)
    except (AttributeError, KeyError, TypeError):
        return json.dumps(conversations, indent=2, ensure_ascii=False)
    return _write(conversations, plain, read_conversations)


def read_conversations(text: str) -> list[Any]:
    """Read example conversations, or a JSON list of them. An indented line goes on with the one before.

    Raises: TextFormatError where a line is neither `Name: text` nor the indented rest of one.
    """
    listed = _read_json_list(text)
    if listed is not None:
        return listed
    conversations: list[list[dict[str, Any]]] = [[]]
    for number, line in enumerate(text.split("\n"), start=1):
        if line.startswith(_CONTINUED) and conversations[-1]:
            conversations[-1][-1]["content"]["text"] += "\n" + line[len(_CONTINUED) :]
        elif not line.strip():
            conversations.append([])
        else:
            conversations[-1].append(_read_message(line, number))
    return [messages for messages in conversations if messages]


def write_json(value: Any) -> str:
    """Write an object as JSON; nothing where it is empty."""
    return json.dumps(value, indent=2, ensure_ascii=False) if value else ""


def read_json_object(text: str) -> dict[str, Any]:
    """Read a JSON object; nothing where the text is empty.

    Raises: TextFormatError where it is no JSON object.
    """
    if not text.strip():
        return {}
    value = _read_json(text)
    if not isinstance(value, dict):
        raise TextFormatError('This is JSON, but no object: write {"name": …}.')
    return value


def _write(value: list[Any], plain: str, read: Callable[[str], list[Any]]) -> str:
    # Reading it back is the only proof that nothing is lost.
    try:
        is_lossless = read(plain) == value
    except TextFormatError:
        is_lossless = False
    return plain if is_lossless else json.dumps(value, indent=2, ensure_ascii=False)


def _write_message(message: dict[str, Any]) -> str:
    content = message["content"]
    actions = f" [{', '.join(content['actions'])}]" if content.get("actions") else ""
    return f"{message['name']}{actions}: " + str(content["text"]).replace("\n", "\n" + _CONTINUED)


def _read_message(line: str, number: int) -> dict[str, Any]:
    found = _SPEAKER.fullmatch(line)
    if found is None:
        raise TextFormatError(
            f"Line {number} is no message: write `Name: text` or `Name [ACTION]: text`, and begin a "
            f"message's further lines with two spaces. It reads {line[:60]!r}."
        )
    content: dict[str, Any] = {"text": found["text"] or ""}
    actions = [action.strip() for action in (found["actions"] or "").split(",") if action.strip()]
    if actions:
        content["actions"] = actions
    return {"name": found["name"], "content": content}


def _read_json_list(text: str) -> list[Any] | None:
    stripped = text.strip()
    if not stripped.startswith("["):
        return None
    try:
        value = _read_json(stripped)
    except TextFormatError:
        # A line may begin with a bracket; a bracket alone on its line can only be meant as JSON.
        if stripped.startswith("[\n"):
            raise
        return None
    return value if isinstance(value, list) else None


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise TextFormatError(f"Line {error.lineno}, column {error.colno} is no JSON: {error.msg}.") from None
    except (RecursionError, ValueError):
        raise TextFormatError(
            "This is no JSON that can be kept: it nests too deeply or has too long a number."
        ) from None
