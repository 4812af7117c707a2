"""Makes text and JSON from outside storable: no NUL, no lone surrogates, no control characters but tab and line end,
and none of the code points of Unicode's first plane that never are characters.

Called by `agents.inbox` for all that comes in, and for what models answer.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")
SURROGATES = re.compile("[\ud800-\udfff]")


def clean_text(text: str) -> str:
    """Return the text without what is taken out, with line ends as \\n and each lone surrogate as U+FFFD."""
    # All that is taken out is not printable, and of what stays hardly more than line ends isn't.
    if text.replace("\n", "").isprintable():
        return text
    text = SURROGATES.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))
    return UNPRINTABLE.sub("", text)


def compose(text: str) -> str:
    """Return the text composed (NFC): some keyboards and files send "é" as a letter and an accent.

    Words and names are, so that they are found and told apart however they came. Ids are not: who gave them compares
    them byte by byte.
    """
    return unicodedata.normalize("NFC", text)


def clean_words(text: str) -> str:
    """Return what somebody wrote or is called, cleaned and composed."""
    return compose(clean_text(text))


def clean_json(value: Any, *, depth: int = 0) -> Any:
    """Return JSON of the same shape with all its text cleaned; what lies deeper than 32 levels is dropped."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        if depth > 32:
            return {}
        return {clean_text(str(key)): clean_json(item, depth=depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [] if depth > 32 else [clean_json(item, depth=depth + 1) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
