"""A JSON list of strings, each a block by itself: the knowledge that a character file states in words."""

from __future__ import annotations

import json
from typing import BinaryIO

from memory.documents.formats.blocks import Block, Blocks, DocumentRefused, Facts, Limits, check_length, clean


def read_texts(file: BinaryIO, limits: Limits) -> Blocks:
    """Read the list; empty strings say nothing."""
    try:
        texts = json.loads(file.read())
    except ValueError:
        raise DocumentRefused("it is no JSON list of texts") from None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise DocumentRefused("it is no JSON list of texts")
    position = 0
    for text in map(clean, texts):
        if text.strip():
            yield Block(text=text.strip(), start=position, is_alone=True)
        position += len(text) + 2
        check_length(position, limits)
    return Facts()
