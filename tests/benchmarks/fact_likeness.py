"""How alike two facts must be to be one: cosines of pairs that say the same, and of pairs that do not.

The threshold of `memory/merging.py` was chosen by it. Run it with the embedder that the settings choose:

    python -m eliza_site.embedded exec -- python tests/benchmarks/fact_likeness.py
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import django  # noqa: E402

SAME = (
    ("Ann lives in Lyon.", "Ann's home is in Lyon."),
    ("Ann lives in Lyon.", "Ann is living in Lyon."),
    ("Ann likes tea.", "Ann enjoys tea."),
    ("Ann likes tea.", "Ann loves to drink tea."),
    ("Ann has a cat named Momo.", "Ann's cat is called Momo."),
    ("Ann has a cat named Momo.", "Ann owns a cat, Momo."),
    ("Ann works as a nurse.", "Ann is a nurse."),
    ("Ann works as a nurse.", "Ann's job is nursing."),
    ("Ann is allergic to nuts.", "Ann has a nut allergy."),
    ("Ann is learning Spanish.", "Ann is studying Spanish."),
    ("Ann has two children.", "Ann is a mother of two."),
    ("Ann has two children.", "Ann has 2 kids."),
    ("Ann's birthday is on 4 May.", "Ann was born on May 4th."),
    ("Ann plays the cello.", "Ann is a cellist."),
    ("Ann plays chess on Sundays.", "On Sundays Ann plays chess."),
    ("Ann dislikes loud music.", "Ann does not like loud music."),
    ("Ann is a vegetarian.", "Ann does not eat meat."),
    ("Ann is married to Ben.", "Ben is Ann's husband."),
    ("Ann is married to Ben.", "Ann and Ben are married."),
    ("Ann went to Kyoto in April.", "In April Ann travelled to Kyoto."),
    ("Ann runs every morning.", "Ann goes for a run each morning."),
    ("Ann is afraid of heights.", "Ann has a fear of heights."),
    ("Ann wants to buy a boat.", "Ann would like to buy a boat."),
    ("Ann's mother is ill.", "Ann's mum is sick."),
    ("Ann studied physics in Leeds.", "Ann has a physics degree from Leeds."),
    ("Ann drives an old van.", "Ann has an old van that she drives."),
    ("Ann sold her house.", "Ann has sold her house."),
    ("Ann prefers short answers.", "Ann likes answers to be short."),
    ("Ann is reading a book about Rome.", "Ann reads a book on Rome."),
    ("Ann grew up on a farm.", "Ann was raised on a farm."),
    ("The meeting is on Friday.", "They meet on Friday."),
    ("Ann vit à Lyon.", "Ann habite à Lyon."),
    ("Ann mag Tee.", "Ann trinkt gern Tee."),
)
"""Two ways to say one thing."""

SAME_OF_CARL = (
    ("Carl moved to Oslo last year.", "Last year Carl moved to Oslo."),
    ("Carl is a carpenter.", "Carl works as a carpenter."),
    ("Carl's favourite colour is green.", "Green is Carl's favourite colour."),
    ("Carl's favourite color is green.", "Carl's favourite colour is green."),
    ("Carl goes fishing at weekends.", "On weekends Carl goes fishing."),
    ("Carl hates mornings.", "Carl hates the morning."),
    ("Carl owns three bicycles.", "Carl has 3 bicycles."),
    ("Carl has asthma.", "Carl suffers from asthma."),
    ("Carl is writing a novel.", "Carl is working on a novel."),
    ("Carl quit smoking.", "Carl stopped smoking."),
    ("Carl plans a trip to Peru.", "Carl is planning a trip to Peru."),
    ("Carl's wife is called Eva.", "Carl's wife's name is Eva."),
    ("Carl sings in a choir.", "Carl is a member of a choir."),
    ("Carl feels lonely.", "Carl is feeling lonely."),
    ("Carl passed his driving test.", "Carl has passed the driving test."),
    ("Carl can't swim.", "Carl cannot swim."),
    ("Carl trains for a marathon.", "Carl is training for a marathon."),
    ("Carl's brother lives in Rome.", "Carl has a brother who lives in Rome."),
    ("Carl likes old films.", "Carl is fond of old films."),
    ("Carl fährt jeden Tag Rad.", "Carl fährt täglich Rad."),
)
"""More of them."""

DIFFERENT = (
    ("Ann lives in Lyon.", "Ann lives in Paris."),
    ("Ann lives in Lyon.", "Ann works in Lyon."),
    ("Ann lives in Lyon.", "Ann lived in Lyon."),
    ("Ann likes tea.", "Ann likes coffee."),
    ("Ann likes tea.", "Ann hates tea."),
    ("Ann likes tea.", "Ann does not like tea."),
    ("Ann likes green tea.", "Ann likes black tea."),
    ("Ann has a cat named Momo.", "Ann has a dog named Momo."),
    ("Ann has a cat named Momo.", "Ann has a cat named Kiki."),
    ("Ann works as a nurse.", "Ann works as a teacher."),
    ("Ann works as a nurse.", "Ann wants to be a nurse."),
    ("Ann is allergic to nuts.", "Ann is allergic to milk."),
    ("Ann is allergic to nuts.", "Ann is not allergic to nuts."),
    ("Ann is learning Spanish.", "Ann is learning Italian."),
    ("Ann speaks Spanish.", "Ann is learning Spanish."),
    ("Ann has two children.", "Ann has three children."),
    ("Ann has 2 cats.", "Ann has 3 cats."),
    ("Ann's birthday is on 4 May.", "Ann's birthday is on 5 May."),
    ("Ann's son is called Tim.", "Ann's son is called Tom."),
    ("Ann's son is 7 years old.", "Ann's son is 8 years old."),
    ("Ann plays the cello.", "Ann plays the violin."),
    ("Ann plays the cello.", "Ann used to play the cello."),
    ("Ann plays chess on Sundays.", "Ann plays chess on Mondays."),
    ("Ann is married to Ben.", "Ann is divorced from Ben."),
    ("Ann is married to Ben.", "Ann is the sister of Ben."),
    ("Ann went to Kyoto in April.", "Ann went to Kyoto in May."),
    ("Ann went to Kyoto in April.", "Ann goes to Kyoto next April."),
    ("Ann runs every morning.", "Ann swims every morning."),
    ("Ann is afraid of heights.", "Ann is afraid of spiders."),
    ("Ann is afraid of heights.", "Ann is no longer afraid of heights."),
    ("Ann wants to buy a boat.", "Ann bought a boat."),
    ("Ann wants to buy a boat.", "Ann wants to sell a boat."),
    ("Ann's mother is ill.", "Ann's father is ill."),
    ("Ann's mother is ill.", "Ann's mother is well again."),
    ("Ann studied physics in Leeds.", "Ann studied chemistry in Leeds."),
    ("Ann sold her house.", "Ann bought her house."),
    ("Ann is reading a book about Rome.", "Ann is writing a book about Rome."),
    ("Ann grew up on a farm.", "Ann lives on a farm."),
    ("Ann is Ben's boss.", "Ben is Ann's boss."),
    ("Ann lent Ben 20 euros.", "Ben lent Ann 20 euros."),
    ("The meeting is on Friday.", "The meeting is on Thursday."),
    ("Ann vit à Lyon.", "Ann vit à Paris."),
    ("Ann mag Tee.", "Ann mag keinen Tee."),
)
"""Two things, however near their words."""

DIFFERENT_OF_CARL = (
    ("Carl moved to Oslo last year.", "Carl moves to Oslo next year."),
    ("Carl moved to Oslo last year.", "Carl moved from Oslo last year."),
    ("Carl is a carpenter.", "Carl was a carpenter."),
    ("Carl is a carpenter.", "Carl's father is a carpenter."),
    ("Carl's favourite colour is green.", "Carl's favourite colour is blue."),
    ("Carl goes fishing at weekends.", "Carl goes hunting at weekends."),
    ("Carl hates mornings.", "Carl loves mornings."),
    ("Carl owns three bicycles.", "Carl sold three bicycles."),
    ("Carl owns three bicycles.", "Carl owns four bicycles."),
    ("Carl has asthma.", "Carl's son has asthma."),
    ("Carl is writing a novel.", "Carl has written a novel."),
    ("Carl is writing a novel.", "Carl is reading a novel."),
    ("Carl quit smoking.", "Carl started smoking."),
    ("Carl plans a trip to Peru.", "Carl cancelled a trip to Peru."),
    ("Carl's wife is called Eva.", "Carl's daughter is called Eva."),
    ("Carl sings in a choir.", "Carl conducts a choir."),
    ("Carl feels lonely.", "Carl feels happy."),
    ("Carl passed his driving test.", "Carl failed his driving test."),
    ("Carl can't swim.", "Carl can swim."),
    ("Carl's brother lives in Rome.", "Carl's sister lives in Rome."),
    ("Carl owes Eva money.", "Eva owes Carl money."),
    ("Carl likes old films.", "Carl likes old cars."),
    ("Carl gets up at 6.", "Carl gets up at 7."),
    ("Carl believes Eva.", "Carl doubts Eva."),
    ("Carl is taller than Eva.", "Carl is smaller than Eva."),
)
"""More of them."""


SAME_OF_DORA = (
    ("Dora collects stamps.", "Dora is a stamp collector."),
    ("Dora has a twin sister.", "Dora's sister is her twin."),
    ("Dora lost her keys on the train.", "On the train Dora lost her keys."),
    ("Dora is moving house in June.", "In June Dora is moving house."),
    ("Dora drinks her coffee black.", "Dora takes her coffee without milk."),
    ("Dora is proud of her garden.", "Dora takes pride in her garden."),
    ("Dora teaches maths at a school.", "Dora is a maths teacher at a school."),
    ("Dora started a new job.", "Dora has started a new job."),
    ("Dora needs glasses to read.", "Dora needs reading glasses."),
    ("Dora sleeps badly.", "Dora doesn't sleep well."),
    ("Dora thinks that Max is honest.", "Dora thinks Max is honest."),
    ("Dora is saving money for a car.", "Dora saves money for a car."),
    ("Dora baked a cake for Max.", "Dora has baked Max a cake."),
    ("Dora's flight leaves at 9.", "Dora's flight is at 9."),
    ("Dora loves to cook.", "Dora loves cooking."),
    ("Dora aime la mer.", "Dora adore la mer."),
)
"""And more."""

DIFFERENT_OF_DORA = (
    ("Dora collects stamps.", "Dora collects coins."),
    ("Dora has a twin sister.", "Dora has a twin brother."),
    ("Dora lost her keys on the train.", "Dora found her keys on the train."),
    ("Dora is moving house in June.", "Dora is moving house in July."),
    ("Dora drinks her coffee black.", "Dora drinks her tea black."),
    ("Dora is proud of her garden.", "Dora is ashamed of her garden."),
    ("Dora teaches maths at a school.", "Dora learns maths at a school."),
    ("Dora started a new job.", "Dora lost a new job."),
    ("Dora needs glasses to read.", "Dora needs glasses to drive."),
    ("Dora sleeps badly.", "Dora sleeps well."),
    ("Dora thinks that Max is honest.", "Max thinks that Dora is honest."),
    ("Dora is saving money for a car.", "Dora is saving money for a house."),
    ("Dora baked a cake for Max.", "Dora baked a cake for Eva."),
    ("Dora's flight leaves at 9.", "Dora's flight lands at 9."),
    ("Dora's train leaves at 9.", "Dora's train leaves at 10."),
    ("Dora loves to cook.", "Dora loves to eat."),
    ("Dora opened the shop.", "Dora closed the shop."),
    ("Dora trusts her doctor.", "Dora distrusts her doctor."),
    ("Dora is older than Max.", "Dora is younger than Max."),
    ("Dora visits her uncle every week.", "Dora visits her uncle every month."),
    ("Dora visits her uncle every week.", "Dora visits her aunt every week."),
    ("Dora agreed to the plan.", "Dora refused the plan."),
    ("Dora won the race.", "Dora lost the race."),
    ("Dora aime la mer.", "Dora déteste la mer."),
)
"""The same, of two things each."""

THRESHOLDS = (0.8, 0.85, 0.9, 0.92, 0.94, 0.96, 0.97, 0.98)


def main() -> None:
    """Print what the cosine alone would join at several thresholds, rightly and wrongly, and what the rule does."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eliza_site.settings")
    django.setup()
    import numpy as np

    from memory.embeddings import get_embedder
    from memory.merging import is_same

    embedder = get_embedder()
    print = Console(highlight=False, soft_wrap=True).print

    def measured(pairs: tuple[tuple[str, str], ...]) -> list[tuple[float, bool, tuple[str, str]]]:
        firsts = np.array(embedder.embed([first for first, _second in pairs]))
        seconds = np.array(embedder.embed([second for _first, second in pairs]))
        cosines = [float(cosine) for cosine in (firsts * seconds).sum(axis=1)]
        return [
            (cosine, is_same(*pair, cosine=cosine), pair) for cosine, pair in zip(cosines, pairs, strict=True)
        ]

    for title, same_pairs, different_pairs in (
        ("Ann", SAME, DIFFERENT),
        ("Carl", SAME_OF_CARL, DIFFERENT_OF_CARL),
        ("Dora", SAME_OF_DORA, DIFFERENT_OF_DORA),
    ):
        same, different = measured(same_pairs), measured(different_pairs)
        print(f"{embedder.name}, pairs of {title}: {len(same)} the same, {len(different)} not")
        for threshold in THRESHOLDS:
            right, wrong = (
                sum(cosine >= threshold for cosine, *_rest in pairs) for pairs in (same, different)
            )
            print(f"  cosine alone from {threshold:.2f}: joins {right:2}, {wrong:2} wrongly")
        right, wrong = (sum(is_joined for _cosine, is_joined, _pair in pairs) for pairs in (same, different))
        print(f"  the rule: joins {right:2}, {wrong:2} wrongly")
        if "--pairs" in sys.argv:
            for name, pairs in (("same", same), ("different", different)):
                for cosine, is_joined, pair in sorted(pairs, reverse=True):
                    print(f"{name:9} {cosine:.3f} {'joined' if is_joined else ''} {pair}")


if __name__ == "__main__":
    main()
