"""Chunks: within their size, never within a word, by headings, paragraphs and sentences, with their places."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.documents.chunks import Chunk, Chunking, chunk_blocks, count_tokens
from memory.documents.formats.blocks import Block

SMALL = Chunking(size=60, overlap=12)
SENTENCES = [
    "The garden lies behind the house.",
    "Rain fell on the river all night.",
    "A letter came from the city today.",
    "My sister teaches music in winter.",
    "Nobody knows where the ticket is.",
    "Bread and coffee stood on the table.",
]


def blocks_of(*texts: str | tuple[int, str], gap: int = 2) -> list[Block]:
    """Make blocks of texts; a pair of level and text is a heading."""
    blocks: list[Block] = []
    position = 0
    for entry in texts:
        level, text = entry if isinstance(entry, tuple) else (0, entry)
        blocks.append(Block(text=text, start=position, level=level))
        position += len(text) + gap
    return blocks


def cut(*texts: str | tuple[int, str], chunking: Chunking = SMALL) -> list[Chunk]:
    return list(chunk_blocks(blocks_of(*texts), chunking))


def words(count: int, seed: int = 1) -> str:
    chosen = random.Random(seed)
    return " ".join(chosen.choice(SENTENCES) for _ in range(count))


def test_a_section_is_one_chunk_where_it_fits_and_chunks_end_with_sections() -> None:
    chunks = cut((1, "A"), "One.", "Two.", (2, "B"), "Three.", (1, "C"), "Four.")
    assert [(chunk.headings, chunk.body) for chunk in chunks] == [
        (("A",), "One.\n\nTwo."),
        (("A", "B"), "Three."),
        (("C",), "Four."),
    ]
    assert chunks[1].text == "A › B\nThree."


def test_a_heading_without_text_is_not_lost() -> None:
    chunks = cut((1, "Empty"), (1, "Full"), (2, "Child"), "Text.", (2, "Last"))
    assert [(chunk.headings, chunk.body) for chunk in chunks] == [
        ((), "Empty"),
        (("Full", "Child"), "Text."),
        (("Full",), "Last"),
    ]


def test_paragraphs_go_together_while_they_fit_and_a_long_one_is_cut_between_sentences() -> None:
    chunks = cut(words(2), words(2, 2), words(9, 3))
    assert [count_tokens(chunk.text) <= SMALL.size for chunk in chunks] == [True] * len(chunks)
    assert chunks[0].body == f"{words(2)}\n\n{words(2, 2)}"
    assert all(re.search(r"\.$", chunk.body) for chunk in chunks)


def test_a_chunk_repeats_the_last_sentence_of_the_one_before() -> None:
    first, second = cut(words(6))[:2]
    last = first.body.split(". ")[-1]
    assert second.body.startswith(last.rstrip("."))
    assert second.start < first.end
    assert second.start == first.end - len(last)


def test_without_overlap_chunks_follow_each_other() -> None:
    chunks = cut(words(20), chunking=Chunking(size=60, overlap=0))
    assert " ".join(chunk.body for chunk in chunks) == words(20)


def test_nothing_overlaps_from_one_section_into_the_next() -> None:
    chunks = cut((1, "A"), words(3), (1, "B"), "Of B alone.")
    assert chunks[-1].body == "Of B alone."


def test_what_stands_alone_shares_its_chunk_with_nothing() -> None:
    blocks = [Block(text=text, start=0, is_alone=True) for text in ("One.", "Two.", words(8))]
    chunks = list(chunk_blocks(blocks, SMALL))
    assert [chunk.body for chunk in chunks[:2]] == ["One.", "Two."]
    assert chunks[2].body.startswith(SENTENCES[0][:3]) or chunks[2].body in words(8)


def test_code_is_cut_between_lines() -> None:
    code = "\n".join(f"value_{number} = compute(number={number})" for number in range(40))
    chunks = list(chunk_blocks([Block(text=code, start=0, is_verbatim=True)], SMALL))
    assert len(chunks) > 3
    assert all(line in code.split("\n") for chunk in chunks for line in chunk.body.split("\n"))


def test_pages_are_those_that_a_chunk_stands_on() -> None:
    blocks = [Block(text="One.", start=0, page=1), Block(text="Two.", start=6, page=2)]
    (chunk,) = chunk_blocks(blocks, SMALL)
    assert (chunk.page, chunk.last_page) == (1, 2)


def test_headings_leave_room_for_text_the_outer_ones_first() -> None:
    long = "A heading of very many words that goes on for ever and says little of what is below it"
    outer = "The outermost heading of the whole book"
    chunks = cut((1, outer), (2, "Middle of it"), (3, "Inner"), words(8))
    first, *rest = chunks
    assert (first.body, first.headings) == (outer, ()), "it is told once, where there is no room for it below"
    assert {chunk.headings for chunk in rest} == {("Middle of it", "Inner")}
    assert all(count_tokens(chunk.text) <= SMALL.size for chunk in chunks)
    chunks = cut((1, long), "Text.")
    assert chunks[0].headings[0].endswith(" …")
    assert chunks[0].body == f"{long}\n\nText."


@pytest.mark.parametrize(
    "text",
    [
        "一二三四五六七八九十。" * 40,
        "一二三四五六七八九十" * 40,
        "x" * 3000,
        "https://example.org/" + "a/" * 400,
    ],
)
def test_scripts_without_spaces_and_endless_words_are_cut_too(text: str) -> None:
    chunks = cut(text, chunking=Chunking(size=150, overlap=0))
    assert len(chunks) > 1
    assert "".join(chunk.body for chunk in chunks) == text
    assert all(count_tokens(chunk.text) <= 150 for chunk in chunks)


def test_a_sentence_in_a_script_without_spaces_ends_at_its_full_stop() -> None:
    chunks = cut("一二三四五六七八九十。" * 40, chunking=Chunking(size=50, overlap=0))
    assert all(chunk.body.endswith("。") for chunk in chunks)


def test_after_a_change_the_chunks_soon_are_what_they_were() -> None:
    """A text without headings, of 300 paragraphs: one more at its beginning changes the first chunks alone."""
    paragraphs = [words(random.Random(number).randint(1, 5), number) for number in range(300)]
    before = {chunk.text for chunk in cut(*paragraphs, chunking=Chunking())}
    after = {chunk.text for chunk in cut("A sentence that is new.", *paragraphs, chunking=Chunking())}
    assert len(after - before) < 0.1 * len(before)


text = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=400)
prose = st.lists(
    st.sampled_from([*SENTENCES, "Ein Übergrößenträger!", "什么？对。", "a-b", "(c)"]), min_size=1
).map(" ".join)
entries = st.lists(st.one_of(prose, text, st.tuples(st.integers(1, 3), prose)), min_size=1, max_size=8)


@given(entries=entries, size=st.integers(50, 120), overlap=st.integers(0, 25))
def test_any_text_is_cut_within_its_size_and_between_words_and_nothing_is_lost(
    entries: Sequence[Any], size: int, overlap: int
) -> None:
    blocks = [block for block in blocks_of(*entries) if block.text.strip()]
    whole = ""
    for block in blocks:
        whole = whole.ljust(block.start) + block.text

    chunks = list(chunk_blocks(blocks, Chunking(size=size, overlap=overlap)))

    covered: set[int] = set()
    for chunk in chunks:
        assert count_tokens(chunk.text) <= size
        assert chunk.body.split() == whole[chunk.start : chunk.end].split()
        assert is_between_words(whole, chunk.start, size)
        assert is_between_words(whole, chunk.end, size)
        covered.update(range(chunk.start, chunk.end))
    told = {heading for chunk in chunks for heading in chunk.headings}
    for block in blocks:
        places = {place for place in range(block.start, block.end) if not whole[place].isspace()}
        assert places <= covered or block.text in told


UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


def is_between_words(text: str, place: int, size: int) -> bool:
    """Tell whether a cut here parts no word, or one that fits into no chunk."""
    if place in (0, len(text)) or text[place - 1].isspace() or text[place].isspace():
        return True
    if UNSPACED.match(text[place]) or UNSPACED.search(text[:place].split()[-1]):
        return True
    word = next(match[0] for match in re.finditer(r"\S+", text) if match.start() < place < match.end())
    return count_tokens(word) > size * 0.7 - 1


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("Employees who fall ill must notify their lead before nine o'clock.", 12, 24),
        ("员工生病时必须在上午九点之前通知", 16, 16),
        ("2026-05-01 12:30", 9, 12),
        ("", 0, 0),
        ("직원은", 6, 6),
    ],
)
def test_tokens_are_estimated(text: str, least: int, most: int) -> None:
    assert least <= count_tokens(text) <= most
