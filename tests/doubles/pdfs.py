"""Makes small PDFs: lines on pages, an outline, a title, a password."""

from __future__ import annotations

import io
from collections.abc import Sequence

from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

Outline = Sequence[tuple[int, str, int]]
"""Entries as (level from 1, title, page from 1), in their order."""


def make_pdf(
    pages: Sequence[str],
    *,
    outline: Outline = (),
    title: str = "",
    password: str | None = None,
    owner: str = "",
) -> bytes:
    """Make a PDF with a text a page, line by line."""
    writer = PdfWriter()
    font = writer._add_object(
        DictionaryObject(
            {
                NameObject("/Type"): NameObject("/Font"),
                NameObject("/Subtype"): NameObject("/Type1"),
                NameObject("/BaseFont"): NameObject("/Helvetica"),
                NameObject("/Encoding"): NameObject("/WinAnsiEncoding"),
            }
        )
    )
    for text in pages:
        page = writer.add_blank_page(595, 842)
        stream = DecodedStreamObject()
        stream.set_data(_content(text))
        page[NameObject("/Contents")] = writer._add_object(stream)
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
        )
    above: dict[int, object] = {}
    for level, name, number in outline:
        above[level] = writer.add_outline_item(
            title=name,
            page_number=number - 1,
            parent=above.get(level - 1),
        )  # type: ignore[arg-type]
    if title:
        writer.add_metadata({"/Title": title})
    if password is not None:
        writer.encrypt(password, owner or password, algorithm="AES-256")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def _content(text: str) -> bytes:
    lines = []
    for line in text.split("\n"):
        escaped = line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
        lines.append(f"({escaped}) Tj T*")
    return ("BT /F1 11 Tf 72 780 Td 14 TL\n" + "\n".join(lines) + "\nET").encode("cp1252")
