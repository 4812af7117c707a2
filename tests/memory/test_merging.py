"""What a new fact does to those that are known: plain decisions, without a database."""

from __future__ import annotations

from uuid import UUID

import pytest

from memory.merging import Claim, Decision, Fate, Known, decide, is_same, strengthened

PARIS = Known(id=UUID(int=1), text="Ann lives in Paris.", attribute="lives_in", value="Paris", cosine=0.83)
TEA = Known(id=UUID(int=2), text="Ann likes tea.", cosine=0.2)
SAME = Fate.SAME


@pytest.mark.parametrize(
    ("claim", "decision"),
    [
        (Claim(text="ann likes TEA"), Decision(fate=SAME, of=TEA.id)),
        (Claim(text="Ann likes coffee."), Decision(fate=Fate.NEW)),
        (Claim(text="Ann enjoys tea.", same_as=TEA.id), Decision(fate=SAME, of=TEA.id)),
        (Claim(text="Ann hates tea.", replaces=TEA.id), Decision(fate=Fate.NEW, ends=(TEA.id,))),
        (Claim(text="Ann hates tea.", replaces=UUID(int=9)), Decision(fate=Fate.NEW)),
        (Claim(text="Ann enjoys tea.", same_as=UUID(int=9)), Decision(fate=Fate.NEW)),
        (
            Claim(text="Ann lives in Lyon.", attribute="lives_in", value="Lyon"),
            Decision(fate=Fate.NEW, ends=(PARIS.id,)),
        ),
        (
            Claim(text="Paris is Ann's home.", attribute="lives_in", value="paris"),
            Decision(fate=SAME, of=PARIS.id),
        ),
        # A model that calls a change the same thing is not believed.
        (
            Claim(text="Ann lives in Lyon.", attribute="lives_in", value="Lyon", same_as=PARIS.id),
            Decision(fate=Fate.NEW, ends=(PARIS.id,)),
        ),
        # An attribute that somebody may have many of ends nothing.
        (Claim(text="Ann likes jazz.", attribute="likes", value="jazz"), Decision(fate=Fate.NEW)),
        (
            Claim(text="Ann lives in Lyon.", attribute="lives_in", value="Lyon", replaces=TEA.id),
            Decision(fate=Fate.NEW, ends=(PARIS.id, TEA.id)),
        ),
    ],
)
def test_a_claim_strengthens_ends_or_stands_beside(claim: Claim, decision: Decision) -> None:
    assert decide(claim, [PARIS, TEA]) == decision


@pytest.mark.parametrize(
    ("first", "second", "cosine", "same"),
    [
        ("Ann likes tea.", "Ann likes tea", None, True),
        ("Ann likes tea.", "Ann enjoys tea.", None, False),
        ("Ann likes tea.", "Ann enjoys tea.", 0.985, True),
        ("Ann likes tea.", "Ann enjoys tea.", 0.975, False),
        ("Ann sold her house.", "Ann has sold her house.", 0.925, True),
        ("On Sundays Ann plays chess.", "Ann plays chess on Sundays.", 0.976, True),
        ("Ann has two cats.", "Ann has 2 cats.", 0.99, True),
        ("Ann has two cats.", "Ann has three cats.", 0.99, False),
        ("Ann lives in Lyon.", "Ann lives in Paris.", 0.99, False),
        ("Ann is Ben's boss.", "Ben is Ann's boss.", 0.99, False),
        ("Ann likes tea.", "Ann does not like tea.", 0.99, False),
        ("Ann can't swim.", "Ann can swim.", 0.99, False),
        ("Ann moved to Oslo.", "Ann moved from Oslo.", 0.99, False),
        ("Ann went in May.", "Ann went in June.", 0.99, False),
        ("Ann is a nurse.", "Ann was a nurse.", 0.99, False),
        ("Ann kommt nicht.", "Ann kommt.", 0.99, False),
        # A daughter and a son: they differ in their vowels' signs alone.
        ("अंजलि की बेटी है।", "अंजलि का बेटा है।", None, False),
        ("अंजलि की बेटी है।", "अंजलि की बेटी है", None, True),
    ],
)
def test_near_meaning_is_the_same_only_where_nothing_turns_it(
    first: str, second: str, cosine: float | None, same: bool
) -> None:
    assert is_same(first, second, cosine=cosine) is same
    assert is_same(second, first, cosine=cosine) is same


def test_saying_it_again_makes_it_surer_and_never_sure() -> None:
    assert strengthened(0.6, 0.6) == pytest.approx(0.84)
    assert strengthened(0.6, 0.0) == pytest.approx(0.6)
    assert strengthened(0.99, 0.99) == 0.99
