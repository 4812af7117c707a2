"""What was kept before words were composed is found afterwards, in every store."""

from __future__ import annotations

import datetime as dt
from importlib import import_module
from typing import Any
from unicodedata import normalize

from django.apps import apps

from agents.models import Person
from memory.facts import key_of
from memory.memories import remember
from memory.models import Document, Fact, Goal, Memory

VIETNAMESE = "tiếng Việt is hard"


def apart(text: str) -> str:
    return normalize("NFD", text)


def migrate() -> None:
    for app, name in (("agents", "0008_composed_words"), ("memory", "0007_composed_words")):
        import_module(f"{app}.migrations.{name}").compose(apps, None)


def test_what_was_kept_apart_is_composed_and_found_and_its_vector_made_anew(scene: Any) -> None:
    remember([scene.embedded(VIETNAMESE), scene.embedded("plain")])
    Memory.objects.filter(text=VIETNAMESE).update(text=apart(VIETNAMESE))
    Person.objects.filter(pk=scene.ann.pk).update(name=apart("Zoé"))
    assert scene.recall_by_words("tiếng") == ()
    migrate()
    assert scene.recall_by_words("tiếng")[0].text == VIETNAMESE
    assert Person.objects.get(pk=scene.ann.pk).name == "Zoé"
    assert Memory.objects.get(text=VIETNAMESE).embedding is None
    assert Memory.objects.get(text="plain").embedding is not None


def test_a_fact_is_known_again_by_its_composed_words(scene: Any) -> None:
    words, place = apart("Ann likes crème"), ("room", scene.ann.pk, scene.group.pk)
    remember([scene.draft("x", kind="fact", source_key=key_of(words, *place))])
    Memory.objects.update(text=words)
    Fact.objects.create(memory=Memory.objects.get(), subject=scene.ann, last_seen_at=dt.datetime.now(dt.UTC))
    migrate()
    kept = Memory.objects.get()
    assert (kept.text, kept.source_key) == ("Ann likes crème", key_of("Ann likes crème", *place))


def test_names_are_composed_wherever_no_other_of_the_same_place_has_them(scene: Any) -> None:
    another = scene.make_agent()
    for agent, name in (
        (scene.agent, "menü.md"),
        (scene.agent, apart("menü.md")),
        (another, apart("menü.md")),
    ):
        Document.objects.create(agent=agent, name=name)
    for person in (scene.ann, scene.bob):
        Goal.objects.create(agent=scene.agent, person=person, name=apart("café"))
    migrate()
    assert set(Document.objects.filter(agent=scene.agent).values_list("name", flat=True)) == {
        "menü.md",
        apart("menü.md"),
    }
    assert Document.objects.get(agent=another).name == "menü.md"
    assert set(Goal.objects.values_list("name", flat=True)) == {"café"}


def test_what_gets_longer_is_cut_to_its_column(scene: Any) -> None:
    longer = "\u0958" * 150
    document = Document.objects.create(agent=scene.agent, name="x", title=longer)
    migrate()
    document.refresh_from_db()
    assert document.title == normalize("NFC", longer)[:200]
