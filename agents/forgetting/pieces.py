"""Knows a person's words again, and cuts them out of a text. Plain Python: no row is read or written here.

A text is taken to pieces: its words; what stands together without a blank, such as an address, or two signs of a
script that writes without blanks; and runs of RUN words. A piece is the person's own where it stands among what they
said, and nobody else has said it. Of what they said only hashes are kept, so that a forgetting that broke off can go
on after the words are gone. Texts are compared composed (NFC), however they were sent.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from typing import Any

from agents.cleaning import compose
from memory.scripts import BEGINS, ENDS, MARKS, without_marks

CUT = "[…]"
SHORTEST_WORD = 4
"""Shorter words, and single signs, are nobody's own, unless a digit stands in them."""
RUN = 4
"""So many words in a row are the person's own even where each of them is everyone's."""
SHORT_CHARACTERS, MOST_KNOWN = 64, 20_000
"""What becomes of so many texts of so few characters is known after the first time."""
SHORTEST_MARK = 4
"""A shorter account id is only known again where it stands alone: 42 is in every other text."""

# Scripts that write without blanks have a word a sign: Thai, kana, the Han signs, Hangul.
_LONE = r"\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af"
_WORD = re.compile(rf"[{_LONE}]|(?:(?![{_LONE}])\w[{MARKS}]*)+")
_CHUNK = re.compile(r"\S+")
_OF_ADDRESSES = frozenset({"http", "https", "www", "com", "org", "net", "html", "php"})
"""Words that are nobody's own, though only addresses have them."""
_BETWEEN = re.compile(rf"{re.escape(CUT)}(?:[^\w\n]{{0,3}}{re.escape(CUT)})+")


_Piece = tuple[int, int, int]
"""The hash of what a piece of a text says, and where it begins and ends there."""


@lru_cache(maxsize=65_536)
def _key(kind: str, words: str) -> int:
    return int.from_bytes(blake2b(f"{kind}{words}".encode("utf-8", "replace"), digest_size=8).digest(), "big")


def _fold(word: str) -> str:
    return word.casefold() if word.isascii() else unicodedata.normalize("NFKC", word).casefold()


def _pieces(text: str, *, has_runs: bool) -> Iterator[_Piece]:
    words: list[tuple[int, int, str]] = []
    for chunk in _CHUNK.finditer(text):
        first = len(words)
        words += [
            (match.start(), match.end(), _fold(match[0]))
            for match in _WORD.finditer(text, chunk.start(), chunk.end())
        ]
        if len(words) - first > 1:
            start, end = words[first][0], words[-1][1]
            yield _key("chunk ", _fold(text[start:end])), start, end
    for start, end, word in words:
        is_long = len(word) >= SHORTEST_WORD or not without_marks(word).isalpha()
        if is_long and word not in _OF_ADDRESSES:
            yield _key("word ", word), start, end
    for (start, middle, one), (next_, end, other) in pairwise(words):
        if middle == next_:
            yield _key("pair ", one + other), start, end
    if has_runs:
        folded = [word for _start, _end, word in words]
        for place in range(len(words) - RUN + 1):
            key = _key("run ", " ".join(folded[place : place + RUN]))
            yield key, words[place][0], words[place + RUN - 1][1]


def keys_of(text: str, *, has_runs: bool = True) -> set[int]:
    """Return the hashes of the text's pieces."""
    return {key for key, _start, _end in _pieces(compose(text), has_runs=has_runs)}


class Pieces:
    """A set of hashes that takes 8 bytes each, and can be stored."""

    LOOSE = 200_000

    def __init__(self, stored: bytes = b"") -> None:
        self._sorted = array("Q", stored)
        self._loose: set[int] = set()

    def __len__(self) -> int:
        self._settle()
        return len(self._sorted)

    def add(self, keys: Iterable[int]) -> None:
        """Add hashes."""
        self._loose.update(keys)
        if len(self._loose) > self.LOOSE:
            self._settle()

    def stored(self) -> bytes:
        """Return all of them as bytes, to be stored."""
        self._settle()
        return self._sorted.tobytes()

    def without(self, others: Pieces) -> Pieces:
        """Return those that the others have not."""
        import numpy as np

        self._settle()
        others._settle()
        left = Pieces()
        kept = np.setdiff1d(_numbers(self._sorted), _numbers(others._sorted), assume_unique=True)
        left._sorted = array("Q", kept.tobytes())
        return left

    def __contains__(self, key: int) -> bool:
        if self._loose:
            self._settle()
        place = bisect_left(self._sorted, key)
        return place < len(self._sorted) and self._sorted[place] == key

    def _settle(self) -> None:
        if not self._loose:
            return
        import numpy as np

        new = np.fromiter(self._loose, dtype=np.uint64, count=len(self._loose))
        self._sorted = array("Q", np.union1d(_numbers(self._sorted), new).tobytes())
        self._loose.clear()


def _numbers(hashes: array[int]) -> Any:
    import numpy as np

    return np.frombuffer(hashes, dtype=np.uint64) if len(hashes) else np.empty(0, dtype=np.uint64)


class Cutter:
    """Cuts a person's own pieces, names and marks out of texts.

    `marks` are ids and account names, found anywhere in a text; `names` are what the person is called: whole, in
    any case, and each word of them as it is written. `spared` are words that somebody else is called by.
    """

    def __init__(
        self, own: Pieces, *, names: Collection[str], marks: Collection[str], spared: Collection[str] = ()
    ) -> None:
        names, marks, spared = ({compose(each) for each in given} for given in (names, marks, spared))
        self._own = own
        self._alone = frozenset(mark.casefold() for mark in marks)
        self._found = _any_of([mark for mark in marks if len(mark) >= SHORTEST_MARK], ignore_case=True)
        self._whole = _any_of([name for name in names if _WORD.search(name)], ignore_case=True, is_word=True)
        words = {word for name in names for word in _WORD.findall(name) if len(word) > 1}
        self._called = _any_of([word for word in words if word not in spared], is_word=True)
        self._known: dict[str, str] = {}

    def cut(self, text: str) -> str:
        """Return the text with CUT where the person's words and names stood; one without them as it was."""
        if len(text) > SHORT_CHARACTERS:
            return self._cut(text)
        # Traces have the same few words again and again.
        known = self._known.get(text)
        if known is None:
            known = self._cut(text)
            if len(self._known) < MOST_KNOWN:
                self._known[text] = known
        return known

    def _cut(self, text: str) -> str:
        composed = compose(text)
        if composed.strip().casefold() in self._alone:
            return CUT
        spans = [(start, end) for key, start, end in _pieces(composed, has_runs=True) if key in self._own]
        for pattern in (self._found, self._whole, self._called):
            spans += [match.span() for match in pattern.finditer(composed)] if pattern else []
        return _without(composed, spans) if spans else text

    def touches(self, text: str) -> bool:
        """Tell whether something of the person stands in the text."""
        return self.cut(text) != text

    def cut_json(self, value: Any) -> Any:
        """Return the JSON value with every text in it cut; a key that is the person's goes with its value."""
        if isinstance(value, str):
            return self.cut(value)
        if isinstance(value, Mapping):
            return {key: self.cut_json(inner) for key, inner in value.items() if not self.touches(str(key))}
        if isinstance(value, list | tuple):
            return [self.cut_json(inner) for inner in value]
        if isinstance(value, int) and not isinstance(value, bool) and str(value) in self._alone:
            return None
        return value

    def without_branches(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return a network's JSON without the branches that hold something of the person: a quoted message, a
        mention. What is left is whole.
        """
        return {
            key: branch
            for key, branch in document.items()
            if not self.touches(str(key)) and self.cut_json(branch) == branch
        }


def _any_of(
    texts: Iterable[str], *, ignore_case: bool = False, is_word: bool = False
) -> re.Pattern[str] | None:
    alternatives = "|".join(sorted((re.escape(text) for text in set(texts) if text), key=len, reverse=True))
    if not alternatives:
        return None
    pattern = rf"{BEGINS}(?:{alternatives}){ENDS}" if is_word else alternatives
    return re.compile(pattern, re.IGNORECASE if ignore_case else 0)


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    parts: list[str] = []
    done = 0
    for start, end in sorted(spans):
        if end <= done:
            continue
        if start > done or not parts:
            parts += [text[done:start], CUT]
        done = end
    return _BETWEEN.sub(CUT, "".join([*parts, text[done:]]))
