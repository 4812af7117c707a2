"""Bytes to text: by a byte order mark, by what an HTML page declares, else UTF-8."""

from __future__ import annotations

import codecs
import re

from memory.documents.formats.blocks import DocumentRefused, clean

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Source: WHATWG HTML, "prescan a byte stream to determine its encoding": the first 1024 bytes are looked at.
_DECLARED = re.compile(rb"charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]+)", re.IGNORECASE)
_DECLARED_WITHIN = 1024


def decode_text(raw: bytes) -> str:
    """Decode a text file.

    Raises: DocumentRefused with the place of what is not UTF-8.
    """
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return clean(_decode(raw[len(mark) :], encoding))
    return clean(_decode(raw, "utf-8"))


def decode_html(raw: bytes) -> str:
    """Decode a page as a browser does: its mark, its own word, UTF-8, and windows-1252 for all the rest."""
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return clean(raw[len(mark) :].decode(encoding, "replace"))
    declared = _DECLARED.search(raw[:_DECLARED_WITHIN])
    if declared:
        try:
            return clean(raw.decode(declared[1].decode("ascii"), "replace"))
        except (LookupError, ValueError):
            pass
    try:
        return clean(raw.decode("utf-8"))
    except UnicodeDecodeError:
        return clean(raw.decode("windows-1252", "replace"))


def _decode(raw: bytes, encoding: str) -> str:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DocumentRefused(
            f"it is not {encoding.upper()}: byte 0x{raw[error.start]:02x} in line {line}; save it as UTF-8"
        ) from None
