"""Reads untrusted files: text, Markdown, HTML and PDF to blocks of text. Plain Python, without Django.

`memory.documents.reading` runs this package in a process of its own; the rest of `memory` only recognises files by it.
"""

from memory.documents.formats.blocks import DocumentRefused
from memory.documents.formats.recognising import ENDINGS, FORMATS, HEAD_BYTES, recognise

__all__ = ["ENDINGS", "FORMATS", "HEAD_BYTES", "DocumentRefused", "recognise"]
