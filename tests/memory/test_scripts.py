"""Marks belong to their letters: held against Unicode's own categories."""

from __future__ import annotations

import re
import unicodedata

from memory.scripts import MARKS, SPACELESS, WORD, letters_of


def test_the_marks_are_those_of_unicode() -> None:
    is_mark, is_spaceless = re.compile(f"[{MARKS}]"), re.compile(f"[{SPACELESS}]")
    wrong = [
        f"{number:04x}"
        for number in range(0x300, 0x1000)
        if not is_spaceless.match(sign := chr(number))
        # What a later Unicode gave a sign is unknown to an older Python.
        and (category := unicodedata.category(sign)) != "Cn"
        and (is_mark.match(sign) is not None) != category.startswith("M")
    ]
    assert wrong == []


def test_a_word_keeps_its_marks_and_ends_before_another_script() -> None:
    assert re.findall(WORD, "बिल्लियाँ, মাছ! cafe\u0301s कि火车") == ["बिल्लियाँ", "মাছ", "cafe\u0301s", "कि"]
    assert re.findall(WORD, "می\u200cخواهم ශ්\u200dරී") == ["می\u200cخواهم", "ශ්\u200dරී"]
    assert re.findall(WORD, "a_b \u093e \u0301") == ["a", "b"]


def test_letters_are_told_with_their_marks() -> None:
    assert letters_of("हिन्दी") == ["हि", "न्", "दी"]
    assert letters_of("cat") == ["c", "a", "t"]
