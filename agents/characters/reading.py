"""Reads a character file: bytes or text to a checked document of the 1.x shape, for commands and admin."""

from __future__ import annotations

import json
from typing import Any

from agents.characters.checks import check_character
from agents.characters.documents import WHOLE, CharacterDocument, CharacterFault, CharacterFileError
from agents.characters.remarks import unknown_keys
from agents.characters.secrets import split_secrets
from agents.characters.shapes import normalise
from agents.characters.storable import MAX_DEPTH, RepeatedKeys

MAX_BYTES = 2 * 1024 * 1024
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_CURE = "save the file as UTF-8"
_NO_COMMENT = "a comment, which JSON has none of: take it out"
_MISTAKES = {"//": _NO_COMMENT, "/*": _NO_COMMENT, "#": _NO_COMMENT, "'": "single quotes: write double ones"}
"""What stands where the parser stopped, and is often meant as JSON."""


def parse_character(raw: bytes | str, *, source: str) -> CharacterDocument:
    """Read a character file of elizaOS' 0.25, 1.x or 2.x line. A byte order mark is dropped.

    Raises: CharacterFileError with every fault of the file.
    """
    text = _decode(raw, source)
    data = _load(text.removeprefix("\ufeff"), source)
    faults = check_character(data)
    if faults:
        raise CharacterFileError(source, faults)
    content, secrets = split_secrets(normalise(data))
    return CharacterDocument(content=content, secrets=secrets, source=source, unknown_keys=unknown_keys(data))


def _decode(raw: bytes | str, source: str) -> str:
    size = len(raw.encode("utf-8", "surrogatepass")) if isinstance(raw, str) else len(raw)
    if size > MAX_BYTES:
        raise _refusal(source, f"at most {MAX_BYTES // 1024 // 1024} MiB", "more")
    if isinstance(raw, str):
        return raw
    if raw.startswith(_UTF16_MARKS):
        raise _refusal(source, "UTF-8", f"UTF-16 or UTF-32: {_CURE}")
    if b"\0" in raw:
        raise _refusal(source, "UTF-8", f"a zero byte, as in UTF-16 or in what is no text: {_CURE}")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _refusal(source, "UTF-8", f"byte 0x{raw[error.start]:02x} in line {line}: {_CURE}") from None


def _load(text: str, source: str) -> Any:
    if not text.strip():
        raise _refusal(source, "a JSON object", "an empty file")
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _refusal(source, "JSON", _mistake(text, error), where) from None
    except RecursionError:
        raise _refusal(source, f"at most {MAX_DEPTH} levels", "deeper nesting") from None
    except ValueError:
        # The only other ValueError of the parser: Python limits the digits of an integer.
        raise _refusal(source, "numbers that a program can hold", "one of thousands of digits") from None


def _mistake(text: str, error: json.JSONDecodeError) -> str:
    is_at_an_end = text.startswith(("}", "]"), error.pos) and text[: error.pos].rstrip().endswith(",")
    # Python 3.13 says so itself, and stops at the comma.
    if is_at_an_end or error.msg.startswith("Illegal trailing comma"):
        return "a comma with nothing after it: take it out"
    if not text[error.pos :].strip():
        return "an end where more should follow: is the file cut off?"
    for beginning, mistake in _MISTAKES.items():
        if text.startswith(beginning, error.pos):
            return mistake
    return f"a mistake: {error.msg.removesuffix(' at')}"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    parsed = dict(pairs)
    return parsed if len(parsed) == len(pairs) else RepeatedKeys(pairs)


def _refusal(source: str, expected: str, got: str, path: str = WHOLE) -> CharacterFileError:
    return CharacterFileError(source, [CharacterFault(path=path, expected=expected, got=got)])
