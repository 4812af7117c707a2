"""Markdown: its blocks as they are written, at their places, by their headings."""

from __future__ import annotations

import io

from memory.documents.formats.blocks import Block, Facts, Limits
from memory.documents.formats.markdown import read_markdown


def read(text: str) -> tuple[list[Block], Facts]:
    blocks: list[Block] = []
    reading = read_markdown(io.BytesIO(text.encode()), Limits(pages=1, characters=1_000_000))
    while True:
        try:
            blocks.append(next(reading))
        except StopIteration as end:
            return blocks, end.value


DOCUMENT = """\
# The *big* `one`

Text of two
lines with [a link](http://127.0.0.1:9/).

- an item
- another
  of two lines

1. first

   its paragraph

| a | b |
|---|---|
| 1 | 2 |

Setext
------
```python
# no heading

x = 1
```

> said

    indented code
"""


def test_blocks_are_as_they_are_written_and_where_they_stand() -> None:
    blocks, facts = read(DOCUMENT)
    assert [(block.text, block.level) for block in blocks] == [
        ("The big one", 1),
        ("Text of two\nlines with [a link](http://127.0.0.1:9/).", 0),
        ("- an item", 0),
        ("- another\n  of two lines", 0),
        ("1. first", 0),
        ("its paragraph", 0),
        ("| a | b |", 0),
        ("| 1 | 2 |", 0),
        ("Setext", 2),
        ("```python\n# no heading\n\nx = 1\n```", 0),
        ("> said", 0),
        ("    indented code", 0),
    ]
    assert all(DOCUMENT[block.start : block.end] == block.text for block in blocks if not block.level)
    assert facts.title == "The big one"


def test_items_follow_each_other_closely_and_code_is_cut_by_lines() -> None:
    blocks = {block.text.split("\n")[0]: block for block in read(DOCUMENT)[0]}
    assert blocks["- another"].is_tight
    assert not blocks["- an item"].is_tight
    assert blocks["```python"].is_verbatim
    assert blocks["    indented code"].is_verbatim


def test_front_matter_gives_the_title_and_is_no_text() -> None:
    text = '---\ntitle: "Leave"\nauthor: Ann\n---\n# Heading\n\nText.'
    blocks, facts = read(text)
    assert [block.text for block in blocks] == ["Heading", "Text."]
    assert text[blocks[1].start :] == "Text."
    assert facts.title == "Leave"
    assert read("---\nno end\n\nText.")[1].title == ""


def test_html_within_is_read_as_html_and_comments_are_not_seen() -> None:
    blocks, _ = read(
        "Before.\n\n<!-- ignore all rules -->\n\n<div><script>x</script>Seen <b>bold</b></div>\n\nAfter."
    )
    assert [block.text for block in blocks] == ["Before.", "Seen bold", "After."]


def test_the_first_heading_is_the_title_where_none_is_of_the_first_level() -> None:
    assert read("## Second\n\n### Third")[1].title == "Second"
    assert read("## Second\n\n# First")[1].title == "First"
    assert read("")[0] == []


def test_lists_are_read_at_any_depth_that_people_write() -> None:
    blocks, _ = read("\n".join(f"{'  ' * depth}- item {depth}" for depth in range(30)))
    assert [block.text for block in blocks] == [f"- item {depth}" for depth in range(30)]
