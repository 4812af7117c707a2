"""A person's words are known again, and cut out, whatever stands around them."""

from __future__ import annotations

from typing import Any, Literal
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.forgetting.pieces import CUT, Cutter, Pieces, keys_of

Form = Literal["NFC", "NFD"]
ANN = "I live near the old mill with my zebra, call me at zebra-7f3a or see https://mill.example/a?b=c1"
BOB = "You live in the old town, with a dog? Call me near the mill, see you at a"


def cutter(said: str = ANN, others: str = BOB, **more: Any) -> Cutter:
    own, everyones = Pieces(), Pieces()
    own.add(keys_of(said))
    everyones.add(keys_of(others))
    return Cutter(own.without(everyones), **{"names": [], "marks": [], **more})


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Nothing of it is here.", "Nothing of it is here."),
        ("", ""),
        # A word that nobody else said, in any case and width.
        ("Your zebra? ZEBRAS! Ｚｅｂｒａ.", "Your […]? ZEBRAS! […]."),
        ("say zebra-7f3a, please", "say […], please"),
        ("it is at https://mill.example/a?b=c1 now", "it is at […] now"),
        # Four words in a row, though each is everyone's.
        ("You live near the old mill!", "You […]!"),
        ("live in the old mill", "live in the old mill"),
        ("three words: near the old", "three words: near the old"),
    ],
)
def test_own_words_are_cut_and_everyones_are_not(text: str, left: str) -> None:
    assert cutter().cut(text) == left


def test_scripts_without_blanks_are_cut_sign_by_sign() -> None:
    one = cutter("私は京都に住んでいます", "私は東京に住んでいます")
    assert one.cut("京都が好きです") == "[…]が好きです", "two signs are a word"
    assert one.cut("に住んでいます") == "に住んでいます", "that, both said"
    assert one.cut("私は東京です") == "私は東京です"


def test_words_with_marks_are_cut_whole_and_only_the_persons_own() -> None:
    one = cutter("मेरी बिल्ली का नाम मिट्ठू है", "मेरी बिल्ली का नाम क्या है")
    assert one.cut("मिट्ठू कहाँ है?") == "[…] कहाँ है?"
    assert one.cut("उसकी बिल्ली") == "उसकी बिल्ली", "not by letters that stand in a row somewhere"
    named = cutter("", "", names=["सीता"])
    assert named.cut("सीता, सीताराम") == "[…], सीताराम"


def test_names_go_whole_in_any_case_and_word_by_word_as_they_are_written() -> None:
    one = cutter("", "", names=["Will May", "Ann"], spared={"May"})
    assert one.cut("will may be here") == "[…] be here", "the whole name, in any case"
    assert one.cut("I will ask Will in May, and Ann.") == "I will ask […] in May, and […]."
    assert one.cut("annual Annas") == "annual Annas"


@pytest.mark.parametrize("given", ["NFC", "NFD"])
@pytest.mark.parametrize("met", ["NFC", "NFD"])
def test_words_names_and_ids_are_known_however_their_accents_were_sent(given: Form, met: Form) -> None:
    said = normalize(given, "김치찌개를 좋아해요, crème brûlée")
    names, marks = {normalize(given, "Léo")}, {normalize(given, "telegram-zoé")}
    one = cutter(said, normalize(met, "crème?"), names=names, marks=marks)
    for text, left in (
        ("오늘은 김치찌개", "오늘은 […]"),
        ("la crème brûlée", "la crème […]"),
        ("Léo?", "[…]?"),
        ("by telegram-zoé5", "by […]5"),
    ):
        assert normalize("NFC", one.cut(normalize(met, text))) == left
    spared = cutter("", "", names=[normalize(given, "Léo Zoé")], spared={normalize(met, "Zoé")})
    assert normalize("NFC", spared.cut(normalize(met, "Zoé and Léo"))) == "Zoé and […]"
    untouched = normalize(met, "déjà vu")
    assert one.cut(untouched) == untouched


def test_ids_go_wherever_they_stand_and_short_ones_where_they_stand_alone() -> None:
    one = cutter("", "", marks=["user:17", "42"])
    assert one.cut("room/user:17/x and USER:17") == "room/[…]/x and […]"
    assert one.cut("42") == CUT
    assert one.cut("4242 or 42 of them") == "4242 or 42 of them"
    assert one.cut_json({"id": 42, "n": 7, "is": True, "of": ["42", {"user:17": 1, "a": "42"}]}) == {
        "id": None,
        "n": 7,
        "is": True,
        "of": [CUT, {"a": CUT}],
    }


def test_a_networks_branches_go_whole() -> None:
    document = {
        "id": 1,
        "text": "Bob's",
        "quoted": {"by": {"id": "user:17"}, "text": "plain"},
        "n": {"a": [1]},
    }
    assert cutter("", "", marks=["user:17"]).without_branches(document) == {
        "id": 1,
        "text": "Bob's",
        "n": {"a": [1]},
    }


words = st.text(alphabet="abcdefghij é京", min_size=1, max_size=12)


@given(said=st.lists(words, min_size=1, max_size=30), around=st.lists(words, max_size=10), data=st.data())
def test_no_own_word_is_left_in_whatever_is_cut(said: list[str], around: list[str], data: Any) -> None:
    """What is left has no piece that is hers alone, and cutting it again changes nothing."""
    own, everyones = Pieces(), Pieces()
    own.add(keys_of(" ".join(said)))
    everyones.add(keys_of(" ".join(around)))
    left = own.without(everyones)
    one = Cutter(left, names=[], marks=[])
    mixed = " ".join(data.draw(st.permutations([*said, *around])))
    cut = one.cut(mixed)
    for part in cut.split(CUT):
        assert not [key for key in keys_of(part) if key in left]
    assert one.cut(" ".join(around)) == " ".join(around) or any(
        key in left for key in keys_of(" ".join(around))
    )


@given(st.lists(st.sets(st.integers(0, 2**64 - 1), max_size=50), max_size=6))
def test_pieces_are_a_set_that_can_be_stored(added: list[set[int]]) -> None:
    pieces = Pieces()
    for keys in added:
        pieces.add(keys)
    everything = set().union(*added) if added else set()
    again = Pieces(pieces.stored())
    assert len(again) == len(everything)
    assert all(key in again for key in everything)
    assert 2**64 - 1 in everything or 2**64 - 1 not in again


def test_many_pieces_take_eight_bytes_each() -> None:
    pieces = Pieces()
    pieces.add(range(Pieces.LOOSE + 1))
    pieces.add(range(10))
    assert len(pieces.stored()) == 8 * (Pieces.LOOSE + 1)
