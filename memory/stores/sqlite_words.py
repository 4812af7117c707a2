"""What words mean to SQLite: the full-text query of a term, which words say nothing, and how a statement begins.

Plain Python.
"""

from __future__ import annotations

import re

from memory.questions import TELLING_WHEN, Term

AS_IT_IS = "/* sqlite */ "
"""How a statement begins that is in SQLite's own words: the backend translates those for PostgreSQL."""
_LITTLE = (
    # Articles, and words that point.
    "a an the this that these those here there then now once again further",
    # People.
    "i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers herself",
    "it its itself they them their theirs themselves",
    # What helps a verb.
    "am is are was were be been being have has had having do does did doing can will should just",
    # What is asked by.
    "what which who whom when where why how",
    # What joins, and places.
    "and but or nor if because as until while than so of at by for with about against between into through during",
    "before after above below to from up down in out on off over under",
    # How much, how many.
    "all any both each few more most other some such no not only own same too very",
    # What an apostrophe leaves: don't, it's.
    "s t don",
)
LITTLE_WORDS = frozenset(word for line in _LITTLE for word in line.split())
"""Words that stand in any text. No question asks for them, and no text is the longer for them."""

_PART = re.compile(r"'([^']+)'")


def query_of(term: Term) -> str:
    """Return the query of a term in the syntax of FTS5; "" where its word says nothing."""
    if term.word in LITTLE_WORDS:
        return ""
    parts = _PART.findall(term.pattern)
    said = [f'"{term.word}"'] if term.word else []
    if parts:
        # Either how a word begins, or signs that follow one another.
        said.append(f'"{parts[0]}" *' if term.pattern.endswith(":*") else f'"{" ".join(parts)}"')
    return " OR ".join(said)


def telling_when_query() -> str:
    """Return the query of the texts that tell when something was or will be."""
    return " OR ".join(f'"{" ".join(word.split("<->"))}"' for word in TELLING_WHEN)
