"""Whether two facts are one, and what a new fact does to those that are known. Plain Python, no database.

`memory.facts` asks it. A wrong joining loses a fact, while a missed one costs a line more in the prompt: so
meaning alone joins only what is very near, and never what differs in a name, a number, a date or a "not".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from memory.scripts import ANY_WORD

SAME_COSINE, SAME_WORDS_COSINE = 0.98, 0.9
"""From here on two texts are one fact; from the second on if their words are the same but for their forms and
little words. Measured with all-MiniLM-L6-v2, `tests/benchmarks/fact_likeness.py`.
"""

MOST_CONFIDENCE = 0.99

SINGLE_VALUED = frozenset(
    {
        "name",
        "pronouns",
        "age",
        "birthday",
        "lives_in",
        "comes_from",
        "works_as",
        "works_at",
        "studies_at",
        "relationship_status",
        "partner",
        "time_zone",
    }
)
"""What somebody has one of at a time: a new value ends the old one."""

_WORD = re.compile(rf"{ANY_WORD}(?:['’]{ANY_WORD})*")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_NUMBERS = {
    "zero": "0",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
    "eleven": "11",
    "twelve": "12",
}
_DATES = _set(
    "january february march april may june july august september october november december monday tuesday"
    " wednesday thursday friday saturday sunday today tomorrow yesterday"
)
_TURNS = _set(
    "not no never none neither nor longer without used formerly cannot anymore from before after next last was"
    " were had kein keine keinen keiner nicht nie nunca ne pas jamais sin non"
)
"""Words that turn a sentence's sense while its vector hardly moves."""
_LITTLE = _set(
    "a an the in on at by for to of his her their my our its this that these those is are am be been being has"
    " have and or as with who which do does would will"
)


class Fate(StrEnum):
    """What becomes of a new fact."""

    NEW = "new"
    SAME = "same"


@dataclass(frozen=True, kw_only=True)
class Known:
    """A fact that holds, as far as it bears on a new one.

    Unit: `cosine` to the new fact's text; None where one of the two has no vector.
    """

    id: UUID
    text: str
    attribute: str = ""
    value: str = ""
    cosine: float | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A new fact: what is said, and what the model says of it: that it is `same_as` or `replaces` a known one."""

    text: str
    attribute: str = ""
    value: str = ""
    same_as: UUID | None = None
    replaces: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do: strengthen the known fact `of`, or keep a new one that ends those of `ends`."""

    fate: Fate
    of: UUID | None = None
    ends: tuple[UUID, ...] = field(default=())


def decide(claim: Claim, known: Sequence[Known]) -> Decision:
    """Decide what a new fact does to those that are known of the same subject in the same place.

    The same words, or the model's own word that it is the same, strengthen; so does a very near meaning. A
    new value of a single-valued attribute, or the model's word that it replaces, ends what it replaces.
    """
    by_id: Mapping[UUID, Known] = {one.id: one for one in known}
    rivals = [one for one in known if _is_rival(claim, one)]
    same = next((one.id for one in known if _says_the_same(claim, one)), None)
    # A model that calls a change of a single value the same thing is not believed.
    meant = by_id.get(claim.same_as) if claim.same_as else None
    if same is None and meant is not None and meant not in rivals:
        same = meant.id
    if same is not None and same != claim.replaces:
        return Decision(fate=Fate.SAME, of=same)
    ends = [one.id for one in known if one in rivals or one.id == claim.replaces]
    return Decision(fate=Fate.NEW, ends=tuple(ends))


def is_same(first: str, second: str, *, cosine: float | None) -> bool:
    """Tell whether two texts about one subject are one fact.

    Unit: `cosine` of their vectors; None where it is not known, and then only the same words are the same.
    """
    if _plain(first) == _plain(second):
        return True
    if cosine is None or cosine < SAME_WORDS_COSINE or _marks(first, second) != _marks(second, first):
        return False
    return cosine >= SAME_COSINE or _stems(first) == _stems(second)


def strengthened(confidence: float, by: float) -> float:
    """Return how sure a fact is that was said again; each word closes a part of what is missing.

    Unit: 0 to 1; never more than MOST_CONFIDENCE.
    """
    return min(MOST_CONFIDENCE, 1.0 - (1.0 - confidence) * (1.0 - by))


def is_single_valued(attribute: str) -> bool:
    """Tell whether somebody has only one value of this attribute at a time."""
    return attribute in SINGLE_VALUED


def _is_rival(claim: Claim, known: Known) -> bool:
    """Tell whether only one of the two can hold, unless they say the same."""
    return is_single_valued(claim.attribute) and claim.attribute == known.attribute


def _says_the_same(claim: Claim, known: Known) -> bool:
    if _is_rival(claim, known) and claim.value and known.value:
        return _plain(claim.value) == _plain(known.value)
    return is_same(claim.text, known.text, cosine=known.cosine)


def _plain(text: str) -> str:
    return " ".join(word.casefold() for word in _WORD.findall(text))


def _stems(text: str) -> frozenset[str]:
    """Return the words that carry the sense, without the endings that change their form and not their time."""
    stems = set()
    for word in _plain(text).replace("’", "'").split():
        base = word.removesuffix("'s")
        if base in _LITTLE or base in _TURNS:
            continue
        base = _NUMBERS.get(base, base)
        for ending in ("ing", "es", "s", "e"):
            if len(base) > len(ending) + 2 and base.endswith(ending):
                base = base.removesuffix(ending)
                break
        stems.add(base)
    return frozenset(stems)


def _marks(text: str, other: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return what tells a text from a near one: names in their order, numbers and dates, words that turn it."""
    lower = {word for word in _WORD.findall(other) if word[:1].islower()}
    names: list[str] = []
    figures: list[str] = []
    turns: list[str] = []
    for word in _WORD.findall(text):
        plain = word.casefold().replace("’", "'")
        base = plain.removesuffix("'s")
        if base in _TURNS or plain.endswith("n't"):
            turns.append("not" if plain.endswith("n't") or base == "cannot" else base)
        elif base in _DATES or base.removesuffix("s") in _DATES:
            figures.append(base.removesuffix("s"))
        elif base in _NUMBERS or any(character.isdigit() for character in base):
            figures.append(_NUMBERS.get(base) or re.sub(r"(?<=\d)(st|nd|rd|th)$", "", base))
        # A capital at a sentence's beginning makes no name.
        elif word[:1].isupper() and plain not in lower and plain not in _LITTLE:
            names.append(base)
    return tuple(names), tuple(sorted(figures)), tuple(sorted(turns))
