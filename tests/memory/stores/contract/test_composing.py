"""What was kept before words were composed is found afterwards, in every store."""

from __future__ import annotations

from typing import Any
from unicodedata import normalize

from django.db import connection

from agents.models import Person
from memory.memories import remember
from memory.models import Document, Memory
from memory.stores.composing import compose_rows


def test_what_was_kept_apart_is_composed_and_found(scene: Any) -> None:
    remember([scene.draft("tiếng Việt is hard"), scene.draft("plain")])
    Memory.objects.filter(text__endswith="hard").update(text=normalize("NFD", "tiếng Việt is hard"))
    Person.objects.filter(pk=scene.ann.pk).update(name=normalize("NFD", "Zoé"))
    assert scene.recall_by_words("tiếng") == ()
    compose_rows(connection, Memory, "text", "speaker")
    compose_rows(connection, Person, "name")
    assert scene.recall_by_words("tiếng")[0].text == "tiếng Việt is hard"
    assert Person.objects.get(pk=scene.ann.pk).name == "Zoé"
    assert Memory.objects.filter(text="plain").exists()


def test_a_name_that_another_row_has_already_stays_as_it_is(scene: Any) -> None:
    apart = normalize("NFD", "menü.md")
    for name in ("menü.md", apart, normalize("NFD", "thé.md")):
        Document.objects.create(agent=scene.agent, name=name)
    compose_rows(connection, Document, "name", is_unique=True)
    assert set(Document.objects.values_list("name", flat=True)) == {"menü.md", apart, "thé.md"}
