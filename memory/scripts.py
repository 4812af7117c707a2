"""Scripts: which put no space between words, and which write marks beside their letters. Plain Python.

`memory.questions` and SQLite's search find words by it.
"""

from __future__ import annotations

import re

SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
)
"""Kana, Han, and the scripts of South East Asia, as a class of regular expressions."""

JOINERS = "\u200c\u200d"
"""What joins two letters of a word or keeps them apart, in Persian, Sinhala, Malayalam and others."""

MARKS = (
    f"{JOINERS}"
    # Accents that stand alone, Cyrillic, Hebrew, Arabic, Syriac, Thaana, N'Ko, Samaritan, Mandaic.
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1-\u05c2\u05c4-\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7-\u06e8\u06ea-\u06ed\u0711\u0730-\u074a\u07a6-\u07b0\u07eb-\u07f3\u07fd"
    "\u0816-\u0819\u081b-\u0823\u0825-\u0827\u0829-\u082d\u0859-\u085b\u0897-\u089f\u08ca-\u08e1"
    # Devanagari, Bengali, Gurmukhi, Gujarati, Oriya.
    "\u08e3-\u0903\u093a-\u093c\u093e-\u094f\u0951-\u0957\u0962-\u0963\u0981-\u0983\u09bc\u09be-\u09cd\u09d7"
    "\u09e2-\u09e3\u09fe-\u0a03\u0a3c-\u0a51\u0a70-\u0a71\u0a75\u0a81-\u0a83\u0abc\u0abe-\u0acd\u0ae2-\u0ae3"
    "\u0afa-\u0b03\u0b3c\u0b3e-\u0b57\u0b62-\u0b63"
    # Tamil, Telugu, Kannada, Malayalam, Sinhala, Tibetan.
    "\u0b82\u0bbe-\u0bcd\u0bd7\u0c00-\u0c04\u0c3c\u0c3e-\u0c56\u0c62-\u0c63\u0c81-\u0c83\u0cbc\u0cbe-\u0cd6"
    "\u0ce2-\u0ce3\u0cf3-\u0d03\u0d3b-\u0d3c\u0d3e-\u0d4d\u0d57\u0d62-\u0d63\u0d81-\u0d83\u0dca-\u0ddf\u0df2-\u0df3"
    "\u0f18-\u0f19\u0f35\u0f37\u0f39\u0f3e-\u0f3f\u0f71-\u0f84\u0f86-\u0f87\u0f8d-\u0fbc\u0fc6"
)
"""Signs of vowels and other marks that belong to the letter before them, which Python's `\\w` leaves out: those of
Unicode up to U+0FFF, and joiners. Of later scripts, such as Javanese, they are not here."""

_SPACED = rf"(?:(?![{SPACELESS}])[^\W_])"
WORD = rf"{_SPACED}+(?:[{MARKS}]+{_SPACED}*)*"
"""A word of letters and digits with their marks, in a script with spaces."""
ANY_WORD = rf"[^\W_]+(?:[{MARKS}]+[^\W_]*)*"
"""The same in any script."""
BEGINS, ENDS = rf"(?<![\w{MARKS}])", rf"(?![\w{MARKS}])"
"""Where a word begins, and where it ends."""
_MARKS = re.compile(f"[{MARKS}]+")
_LETTER = re.compile(rf"[^\W_][{MARKS}]*")


def without_marks(word: str) -> str:
    """Return the bare letters of a word."""
    return _MARKS.sub("", word)


def letters_of(word: str) -> list[str]:
    """Return the letters of a word, each with its marks."""
    return list(word) if word.isalpha() else _LETTER.findall(word)
