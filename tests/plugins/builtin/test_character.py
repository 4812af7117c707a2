from plugins.api import CharacterView
from plugins.builtin.character import BUDGET_CHARACTERS, describe_character

RICH = CharacterView(
    name="Ada",
    system="You help with sums.",
    bio=tuple(f"Bio line {number}." for number in range(40)),
    lore=tuple(f"Lore line {number}." for number in range(40)),
    topics=tuple(f"topic{number}" for number in range(40)),
    adjectives=("calm", "exact"),
    style={"all": ("Be brief.",), "chat": ("Ask back.",), "post": ("Never shown.",)},
    message_examples=tuple(
        (
            {"name": "{{user1}}", "text": f"Question {number} for {{{{agentName}}}}?"},
            {"name": "Ada", "text": f"Answer {number}, {{{{name1}}}}."},
        )
        for number in range(10)
    ),
)


def test_the_prompt_of_a_turn_is_the_same_when_it_is_taken_again(make_context):
    first = describe_character(make_context(character=RICH, turn=5))
    assert first == describe_character(make_context(character=RICH, turn=5))
    assert first != describe_character(make_context(character=RICH, turn=6))


def test_all_parts_are_there_and_post_style_is_not(make_context):
    text = describe_character(make_context(character=RICH)).text
    assert text.startswith("You are Ada.\n\nYou help with sums.\n\nAbout Ada:\n- Bio line")
    for part in (
        "- Be brief.\n- Ask back.",
        "You are calm, exact.",
        "You like to speak about topic",
        "Lore line",
    ):
        assert part in text
    assert "Never shown" not in text
    assert text.count("An example of how you speak:") == 3


def test_placeholders_of_names_are_filled(make_context):
    provided = describe_character(make_context(character=RICH))
    assert "{{" not in provided.text
    assert "Person 1: Question" in provided.text
    assert "for Ada?" in provided.text
    assert "{{" not in provided.values["characterMessageExamples"]


def test_a_long_character_stays_within_the_budget(make_context):
    long = CharacterView(
        name="Ada",
        system="Short.",
        bio=tuple("b" * 900 for _ in range(10)),
        lore=tuple("l" * 900 for _ in range(10)),
        style={"all": tuple("s" * 400 for _ in range(10))},
        message_examples=(({"name": "Ada", "text": "x" * 5000},),),
    )
    text = describe_character(make_context(character=long)).text
    assert BUDGET_CHARACTERS / 2 < len(text) <= BUDGET_CHARACTERS + 2
    assert "xxx" not in text
    assert not text.rstrip().endswith(":")


def test_the_system_text_is_never_cut(make_context):
    system = "s" * (BUDGET_CHARACTERS * 2)
    text = describe_character(
        make_context(character=CharacterView(name="Ada", system=system, bio=("b",)))
    ).text
    assert text == f"You are Ada.\n\n{system}"


def test_a_name_is_enough(make_context):
    assert describe_character(make_context()).text == "You are Ada."
