"""Questions taken apart: words, names, and what they ask for."""

from __future__ import annotations

import datetime as dt

import pytest

from memory.questions import Question, Term, cut_names, find_terms, is_named, is_question, read_question

NOW = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
NAMES = ("Ann Smith", "Bob", "Will", "小明", "Eliza")


def ask(text: str) -> Question:
    return read_question(text, find_terms(text), NAMES, NOW)


@pytest.mark.parametrize(
    ("text", "bare", "named"),
    [
        ("When did Ann paint?", "When did paint?", {"ann"}),
        ("What is Ann's and bob's plan?", "What is and plan?", {"ann", "bob"}),
        ("What did Ann Smith say?", "What did say?", {"ann", "smith"}),
        ("What did Anna say?", "What did Anna say?", set()),
        ("Will you tell me what Will said?", "Will you tell me what said?", {"will"}),
        ("will it rain?", "will it rain?", set()),
        ("小明什么时候去的？", "什么时候去的？", {"小明"}),
        ("Where is Cleo?", "Where is Cleo?", set()),
        ("Ann?", "Ann?", {"ann"}),
    ],
)
def test_names_are_cut_out_and_told(text: str, bare: str, named: set[str]) -> None:
    assert cut_names(text, NAMES) == (bare, named)


@pytest.mark.parametrize(
    "text",
    ["Eliza, where is it?", "Hey Eliza! Where is it?", "Where is it, Eliza?", "@Eliza where is it?"],
)
def test_who_is_spoken_to_is_not_who_is_asked_about(text: str) -> None:
    bare, named = cut_names(text, NAMES)
    assert "Eliza" not in bare
    assert named == frozenset()


def test_words_are_found_once_with_their_beginnings() -> None:
    assert find_terms("The cat, the CAT: painting 2023!") == (
        Term(word="the"),
        Term(word="cat"),
        Term(word="painting", pattern="'painti':*"),
        Term(word="2023"),
    )
    assert find_terms("see example.com, write to ann@b.de") == tuple(
        Term(word=word, pattern=pattern)
        for word, pattern in (
            ("see", ""),
            ("example.com", ""),
            ("write", "'writ':*"),
            ("to", ""),
            ("ann@b.de", ""),
        )
    )


def test_scripts_without_spaces_are_read_by_pairs() -> None:
    assert find_terms("火车站 iPhone手") == (
        Term(word="", pattern="'火' <-> '车'"),
        Term(word="", pattern="'车' <-> '站'"),
        Term(word="iphone", pattern="'iphon':*"),
        Term(word="", pattern="'手'"),
    )
    assert find_terms("학교에서 친구") == (
        Term(word="학교에서", pattern="'학교':*"),
        Term(word="친구", pattern="'친구':*"),
    )


def test_words_keep_their_marks_and_are_found_by_their_bare_beginnings() -> None:
    assert find_terms("बिल्लियाँ किताबें, घर cafe\u0301") == (
        Term(word="बिल्लियाँ", pattern="'बिल्ल':*"),
        Term(word="किताबें", pattern="'किताब':*"),
        Term(word="घर"),
        Term(word="cafe\u0301", pattern="'caf':*"),
    )
    bare, named = cut_names("क्या सीता को सीताफल पसंद है?", ["सीता शर्मा"])
    assert (bare, named) == ("क्या को सीताफल पसंद है?", {"सीता"})


def test_quotes_and_operators_are_no_part_of_a_word() -> None:
    for term in find_terms("a' | 'b & !c:* <-> \\ d'':A drop'); --"):
        assert term.word.isalnum()
        assert term.pattern == "" or term.pattern.count("'") == 2


def test_a_long_text_is_read_up_to_a_bound() -> None:
    assert len(find_terms(" ".join(f"word{number}x" for number in range(500)))) == 64
    assert len(find_terms("".join(chr(0x4E00 + number) for number in range(500)))) == 64


def test_what_a_question_asks_for_is_told() -> None:
    question = ask("When did I tell Ann about it on 7 May 2023?")
    assert (question.asks_when, question.is_of_oneself, question.named) == (True, True, {"ann"})
    assert [span.start.date() for span in question.spans] == [dt.date(2023, 5, 7)]
    other = ask("What is it?")
    assert (other.asks_when, other.is_of_oneself, other.named, other.spans) == (False, False, frozenset(), ())
    assert not ask("I was glad when it rained.").asks_when
    assert ask("Wann war das?").asks_when
    assert ask("什么时候？").asks_when


def test_questions_and_speakers_are_known() -> None:
    assert all(is_question(text) for text in ("So? ", "是吗？", "هل؟"))
    assert not is_question("So? Yes.")
    assert is_named("Ann Smith", frozenset({"smith"}))
    assert not is_named("", frozenset({"smith"}))
