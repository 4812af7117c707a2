"""What a question says of itself: its words, whom it names, which dates, whether it asks when. Plain Python.

`memory.retrieval` calls it, and `memory.ranking` knows nothing but what is found here.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from memory.dates import Span, find_spans
from memory.scripts import ANY_WORD, BEGINS, ENDS, SPACELESS, WORD, letters_of

MOST_WORDS = 64
"""So many words of a text are looked at: a longer one is no question, and says what it is about early."""

_HANGUL = re.compile("[\uac00-\ud7af]")
_TOKEN = re.compile(rf"[{SPACELESS}]+|{WORD}(?:[.@]{WORD})*")
_NAME_PART = re.compile(ANY_WORD)

QUESTION_MARKS = ("?", "？", "؟")
_ASKS_WHEN = re.compile(
    r"\bwhen\b|\bhow long\b|\b(?:what|which) (?:date|day|week|month|year|time)\b"
    r"|\bwann\b|\bquand\b|\bcuándo\b|\bquando\b|\bwanneer\b|\bкогда\b|什么时候|何时|いつ|언제",
    re.IGNORECASE,
)
_TELLING_WHEN = (
    "yesterday today tonight tomorrow ago last next week weekend month year"
    " gestern heute morgen vorgestern woche monat jahr aujourd demain semaine mois année"
    " ayer hoy mañana semana mes año ontem hoje amanhã ano gisteren vandaag"
    " вчера сегодня завтра неделе месяце году 昨<->天 今<->天 明<->天 去<->年 昨<->日 今<->日 明<->日"
)
TELLING_WHEN = tuple(_TELLING_WHEN.split())
"""Words by which a text tells when something was or will be, from the day on which it is said."""

_OF_ONESELF = re.compile(
    r"\b(?:I|me|my|mine|myself|ich|mir|mich|mein\w*|je|moi|mon|ma|mes|yo|mi|mis|eu|meu|minha|я|мне|меня|мой|моя|мою)\b",
    re.IGNORECASE,
)
_GREETING = re.compile(
    r"(?:^|[.!?]\s*)(?:hey|hi|hello|dear|ok|okay|so|well|yo|hola|hallo|salut|bonjour)$", re.IGNORECASE
)
_BOTH = (
    "will may mark art bill rose grace hope joy faith april june august summer dawn pat sue rich frank guy"
    " gene ray rob chase hunter mason sky star drew jack max jean"
)
_WORDS_AND_NAMES = frozenset(_BOTH.split())
"""Names that are words besides: in small letters, or where a sentence begins, they are taken for the word."""


class Term(NamedTuple):
    """A word that is looked for: by its stem, which the database makes of `word`, or by how it begins.

    `pattern` is a full-text query in PostgreSQL's syntax, and empty where the stem alone counts.
    """

    word: str
    pattern: str = ""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question, taken apart.

    `text` is without the names of those who speak here; `named` are the parts of these names, in small letters.
    """

    text: str
    terms: tuple[Term, ...]
    named: frozenset[str] = frozenset()
    is_of_oneself: bool = False
    asks_when: bool = False
    spans: tuple[Span, ...] = ()


def read_question(text: str, terms: tuple[Term, ...], names: Iterable[str], now: dt.datetime) -> Question:
    """Take a question apart; `terms` are its words, `names` those of the people and agents who speak in its room."""
    bare, named = cut_names(text, names)
    return Question(
        text=bare,
        terms=terms if bare == text else find_terms(bare),
        named=named,
        is_of_oneself=bool(_OF_ONESELF.search(bare)),
        asks_when=_asks_when(bare),
        spans=find_spans(bare, now),
    )


def _asks_when(text: str) -> bool:
    """Tell whether a text asks when; "when I was young" does not."""
    found = _ASKS_WHEN.search(text)
    return found is not None and (found.start() == 0 or any(mark in text for mark in QUESTION_MARKS))


def find_terms(text: str) -> tuple[Term, ...]:
    """Return the words of a text, each once.

    A word of four letters and more is found by its beginning, too: so other forms of it are found in languages
    that the database has no stems of. Where a script has no spaces, each two characters that follow one another
    are a word.
    """
    found: dict[Term, None] = {}
    for match in _TOKEN.finditer(text.lower()):
        token = match.group()
        if re.match(f"[{SPACELESS}]", token):
            pairs = [token[place : place + 2] for place in range(len(token) - 1)] or [token]
            found.update(
                (Term(word="", pattern=" <-> ".join(f"'{sign}'" for sign in pair)), None) for pair in pairs
            )
        else:
            found[Term(word=token, pattern=_beginning(token))] = None
        if len(found) >= MOST_WORDS:
            break
    return tuple(found)[:MOST_WORDS]


def _beginning(word: str) -> str:
    """Return the pattern of how a word begins: without its last letter, and of a long word without its last ones."""
    letters = letters_of(word)
    # Where letters have marks, the last one's say as much as another letter.
    has_marks = len(letters) < len(word)
    least = 2 if has_marks or _HANGUL.match(word) else 4
    if len(letters) < least or "".join(letters) != word or not all(letter[0].isalpha() for letter in letters):
        return ""
    ending = 1 if len(letters) < 7 else 2 if len(letters) < 10 else 3
    if has_marks and len(letters) < 4:
        ending = 0
    elif _HANGUL.match(word):
        # A particle of a syllable or two ends most words.
        ending = 1 if len(letters) < 4 else 2
    kept = letters[: max(least, len(letters) - ending)]
    kept[-1] = kept[-1][0]
    return f"'{''.join(kept)}':*"


def cut_names(text: str, names: Iterable[str]) -> tuple[str, frozenset[str]]:
    """Cut the names out of a text, and return what is left and the parts of those that it named.

    A name is found whole or by one of its parts. Where nothing else would be left, the text stays as it is.
    """
    lowered = text.lower()
    parts = {part for name in names for part in name_parts(name) if part in lowered}
    named: set[str] = set()
    rest = text
    for part in sorted(parts, key=len, reverse=True):
        # No word ends between the signs of scripts without spaces.
        begins, ends = ("", "") if re.search(f"[{SPACELESS}]", part) else (BEGINS, ENDS)
        pattern = re.compile(rf"@?{begins}{re.escape(part)}{ends}(?:['’]s\b)?", re.IGNORECASE)
        kept: list[str] = []
        place = 0
        for match in pattern.finditer(rest):
            before, after = rest[: match.start()].rstrip(), rest[match.end() :].lstrip()
            if part in _WORDS_AND_NAMES and not _is_name(match.group(), before):
                continue
            if not _is_addressed(match.group(), before, after):
                named.add(part)
            kept += (rest[place : match.start()], " ")
            place = match.end()
        rest = "".join((*kept, rest[place:]))
    bare = re.sub(r"\s+([?.!,;:])", r"\1", " ".join(rest.split())).strip(" ,;:")
    return (bare if _TOKEN.search(bare) else text), frozenset(named)


def _is_name(found: str, before: str) -> bool:
    return found[0].isupper() and bool(before) and before[-1] not in ".?!"


def _is_addressed(found: str, before: str, after: str) -> bool:
    """Tell whether someone is spoken to by the name, and not about: "Ann, …", "hello Ann!", "…, Ann?"."""
    if found.startswith("@") and not before:
        return True
    if after[:1] in {",", ":", "!"} and (not before or _GREETING.search(before)):
        return True
    return before.endswith(",") and not after.strip(" ?.!")


def name_parts(name: str) -> list[str]:
    """Return the parts of a name in small letters: those of two characters and more."""
    return [part for part in _NAME_PART.findall(name.lower()) if len(part) > 1 and not part.isdecimal()]


def is_question(text: str) -> bool:
    """Tell whether a text ends as a question does."""
    return text.rstrip().endswith(QUESTION_MARKS)


def is_named(text: str, named: frozenset[str]) -> bool:
    """Tell whether a name, or a text, has a part of the names in it."""
    return any(part in named for part in name_parts(text))
