"""Sentences that people wrote, with their vectors: the docstrings and comments of Python's library and of what is
installed here.

`memories.py` stores noised copies of them and asks with others that it never stored.
"""

from __future__ import annotations

import ast
import io
import random
import re
import site
import sysconfig
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

LEAST_WORDS, MOST_WORDS = 5, 60
MOST_SENTENCES = 60_000
KEPT = Path(__file__).resolve().parents[2] / ".run" / "benchmarks" / "sentences.npz"
_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_NO_PROSE = re.compile(r"[<>{}\[\]\\|=_]{1}|>>>|\.\.\.|:param|:return|https?:|^\W")

Matrix = np.ndarray[Any, np.dtype[np.float32]]


def embedded_sentences(embed: Any, tell: Any) -> tuple[list[str], Matrix]:
    """Return the distinct sentences in a random order that is always the same, and their vectors.

    They are embedded once and kept in `.run/benchmarks`.
    Shape: the matrix has a row of unit length for each sentence.
    """
    if KEPT.exists():
        with np.load(KEPT, allow_pickle=False) as kept:
            return kept["texts"].tobytes().decode().split("\n"), kept["vectors"]
    texts = _distinct(MOST_SENTENCES)
    random.Random(7).shuffle(texts)
    vectors = np.empty((len(texts), len(embed(texts[:1])[0])), np.float32)
    for start in range(0, len(texts), 256):
        vectors[start : start + 256] = embed(texts[start : start + 256])
        if start % 12_800 == 0:
            tell(f"{start} of {len(texts)} sentences have their vector")
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    np.savez(KEPT, texts=np.frombuffer("\n".join(texts).encode(), np.uint8), vectors=vectors)
    return texts, vectors


def noised(vectors: Matrix, count: int, noise: float, generator: np.random.Generator) -> Matrix:
    """Return so many vectors: each sentence's again and again, moved by a random vector of length `noise`.

    Shape: (count, dimensions), of unit length.
    """
    dimensions = vectors.shape[1]
    made = np.resize(vectors, (count, dimensions))
    for start in range(0, count, 50_000):
        part = made[start : start + 50_000]
        part += generator.standard_normal(part.shape, np.float32) * (noise / dimensions**0.5)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return made


def _distinct(most: int) -> list[str]:
    found: dict[str, None] = {}
    for sentence in _sentences():
        found[sentence] = None
        if len(found) == most:
            break
    return sorted(found)


def _sentences() -> Iterator[str]:
    for folder in (sysconfig.get_path("stdlib"), *site.getsitepackages()):
        for path in sorted(Path(folder).rglob("*.py")):
            if "site-packages" in path.relative_to(folder).parts:
                continue
            try:
                source = path.read_text()
            except (OSError, UnicodeDecodeError):
                continue
            for prose in _prose(source):
                for sentence in _END.split(" ".join(prose.split())):
                    if LEAST_WORDS <= len(sentence.split()) <= MOST_WORDS and not _NO_PROSE.search(sentence):
                        yield sentence


def _prose(source: str) -> Iterator[str]:
    """Yield each paragraph of a docstring, and comments on lines that follow one another as one."""
    try:
        tree = ast.parse(source)
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (SyntaxError, ValueError, RecursionError, tokenize.TokenError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from re.split(r"\n\s*\n", ast.get_docstring(node) or "")
    block: list[str] = []
    last = 0
    for token in tokens:
        if token.type == tokenize.COMMENT:
            if token.start[0] != last + 1:
                yield " ".join(block)
                block = []
            block.append(token.string.lstrip("#! "))
            last = token.start[0]
    yield " ".join(block)
