"""Tells a file's format by what it holds; its name's ending decides only between kinds of text."""

from __future__ import annotations

from pathlib import PurePath

from memory.documents.formats.blocks import DocumentRefused

FORMATS = ("text", "markdown", "html", "pdf", "texts")
"""`texts` is a JSON list of strings, each a block by itself: what a character file says of its knowledge."""
ENDINGS = {
    ".txt": "text",
    ".text": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
}
HEAD_BYTES = 4096
"""So much of a file's beginning is enough to recognise it."""
_PDF_MARK = b"%PDF-"
# Adobe's readers accept the mark anywhere in the first 1024 bytes, and files with something before it exist; a text
# may speak of the mark.
_PDF_MARK_WITHIN = 1024
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_HTML_BEGINNINGS = (b"<!doctype html", b"<html")


def recognise(name: str, head: bytes) -> str:
    """Return the format of a file by its first bytes and its name.

    Raises: DocumentRefused where it is neither a PDF nor text.
    """
    ending = PurePath(name).suffix.lower()
    named = ENDINGS.get(ending)
    if head.lstrip().startswith(_PDF_MARK) or (named == "pdf" and _PDF_MARK in head[:_PDF_MARK_WITHIN]):
        return "pdf"
    if named == "pdf":
        raise DocumentRefused("it is named as a PDF and is none: it does not begin with %PDF-")
    if b"\0" in head and not head.startswith(_BYTE_ORDER_MARKS):
        raise DocumentRefused("it is neither text nor a PDF: text, Markdown, HTML and PDF can be read")
    if named is not None:
        return named
    beginning = head.removeprefix(_BYTE_ORDER_MARKS[0]).lstrip().lower()
    return "html" if beginning.startswith(_HTML_BEGINNINGS) else "text"
