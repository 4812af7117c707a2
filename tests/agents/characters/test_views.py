"""What a plugin sees of a character."""

from pathlib import Path
from unicodedata import normalize

from agents.characters import character_view, parse_character
from plugins.api import CharacterView

SAMPLES = Path(__file__).parent / "samples"


def test_a_view_has_tuples_and_no_secrets():
    view = character_view(parse_character((SAMPLES / "v1.json").read_bytes(), source="v1"))
    assert view == CharacterView(
        name="Ada Quill",
        username="adaquill",
        system="Answer as an archivist.",
        bio=("Files things.", "Finds them again."),
        topics=("maps",),
        adjectives=("orderly",),
        style={"all": ("brief",), "chat": ("polite",), "post": ("wry",)},
        message_examples=(
            (
                {"name": "{{name1}}", "text": "Where is the map?"},
                {"name": "Ada Quill", "text": "Drawer nine.", "actions": "REPLY"},
            ),
        ),
        post_examples=("Drawer ten is a mystery.",),
        templates={"replyTemplate": "{{providers}} Answer."},
        settings={"avatar": "ada.png"},
    )


def test_the_least_character_has_a_view():
    assert character_view({"name": "Ann", "bio": []}) == CharacterView(name="Ann")
    assert character_view({"name": "Ann", "bio": "One line.", "style": {"all": None}}) == CharacterView(
        name="Ann", bio=("One line.",), style={"all": ()}
    )


def test_whoever_speaks_in_an_example_is_known_by_the_characters_name():
    apart = normalize("NFD", "Zoé")
    examples = [[{"name": apart, "content": {"text": apart}}]]
    view = character_view({"name": apart, "messageExamples": examples})
    assert view.name == "Zoé"
    assert view.message_examples == (({"name": "Zoé", "text": apart},),)
