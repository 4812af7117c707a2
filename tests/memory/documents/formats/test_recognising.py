"""A format is told by what a file holds; its name decides only between kinds of text."""

from __future__ import annotations

import io

import pytest

from memory.documents.formats import DocumentRefused, recognise
from memory.documents.formats.blocks import Limits
from memory.documents.formats.texts import read_texts


@pytest.mark.parametrize(
    ("name", "head", "format"),
    [
        ("a.txt", b"text", "text"),
        ("a", b"text", "text"),
        ("a.log", b"text", "text"),
        ("a.MD", b"text", "markdown"),
        ("a.htm", b"no tag at all", "html"),
        ("a", b"\xef\xbb\xbf <!DOCTYPE html><p>", "html"),
        ("a.txt", b"<html> told about", "text"),
        ("a.txt", b"%PDF-1.4", "pdf"),
        ("a", b"\n\n%PDF-1.4", "pdf"),
        ("a.pdf", b"mail header\n\n%PDF-1.4", "pdf"),
        ("a.md", b"A PDF begins with %PDF-1.4", "markdown"),
        ("a.txt", "text".encode("utf-16"), "text"),
    ],
)
def test_a_format_is_recognised(name: str, head: bytes, format: str) -> None:
    assert recognise(name, head) == format


@pytest.mark.parametrize(
    ("name", "head", "reason"),
    [
        ("a.pdf", b"text", "named as a PDF and is none"),
        ("a.md", b"PK\x03\x04\0\0", "neither text nor a PDF"),
        ("a.docx", b"PK\x03\x04\0\0", "neither text nor a PDF"),
    ],
)
def test_what_is_none_of_them_is_refused(name: str, head: bytes, reason: str) -> None:
    with pytest.raises(DocumentRefused, match=reason):
        recognise(name, head)


@pytest.mark.parametrize("raw", [b"{}", b"[1]", b"[", b"\xff"])
def test_a_list_of_texts_is_one_or_is_refused(raw: bytes) -> None:
    limits = Limits(pages=1, characters=100)
    assert [block.text for block in read_texts(io.BytesIO(b'["a", " ", " b "]'), limits)] == ["a", "b"]
    with pytest.raises(DocumentRefused, match="no JSON list of texts"):
        list(read_texts(io.BytesIO(raw), limits))
