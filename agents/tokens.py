"""How many tokens a text has at most, whatever model reads it. `agents.prompts` keeps its budget by it.

Which tokenizer a server has is not known here, but what all of the usual ones share is: they fall back to bytes, so
no text has more tokens than bytes. That is the count for every script but the common English words, which stand in
`known_words.txt`: words of the vocabularies of SmolLM2, Mistral 7B, Mistral Nemo (tekken), cl100k and o200k, each a
token in all five. Those without a place in its first part are one token only after a space.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

WORDS = Path(__file__).with_name("known_words.txt")
_PIECE = re.compile(r" ?(?:[A-Za-z]|[^\x00-\x7f])+|[\s\S]")
"""Words with the space before them, as tokenizers take them; anything else letter by letter."""


class _Costs(dict[str, int]):
    """What each piece costs: 1 where it is a known word or a sign of ASCII, else its bytes, which are not kept."""

    def __missing__(self, piece: str) -> int:
        return len(piece.encode(errors="surrogatepass"))


@cache
def _costs() -> _Costs:
    anywhere, after_a_space = WORDS.read_text().split("\n\n")
    words = anywhere.split()
    after_it = (f" {word}" for word in (*words, *after_a_space.split()))
    return _Costs((piece, 1) for piece in (*map(chr, range(128)), *words, *after_it))


def count_tokens(text: str) -> int:
    """Return how many tokens the text has at most.

    Unit: tokens; English prose is reckoned at 2.2 to 2.9 characters each, every other script at its bytes of
    UTF-8. One is added for the space that some tokenizers put before a text.
    """
    return sum(map(_costs().__getitem__, _PIECE.findall(text))) + 1


def cut_to_tokens(text: str, most: int, *, mark: str = " …") -> str:
    """Return the text where it has no more tokens than that, else its beginning and the mark; "" where not even
    the mark has room.
    """
    # A text costs no more than its bytes, which are quicker told.
    if len(text) * 4 < most or count_tokens(text) <= most:
        return text
    left = most - count_tokens(mark)
    if left <= 0:
        return ""
    costs, end = _costs(), 0
    for piece in _PIECE.finditer(text):
        left -= costs[piece[0]]
        if left < 0:
            # A word of unknown letters is cut within: scripts without spaces are one long word.
            inside = piece[0].encode(errors="surrogatepass")[:left] if piece[0] not in costs else b""
            end += len(inside.decode(errors="ignore"))
            break
        end = piece.end()
    return text[:end].rstrip() + mark
