"""Words: who speaks in a room, stems, and how common a word is by PostgreSQL's own statistics."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from memory.memories import remember
from memory.questions import find_terms
from memory.stores import postgres_words
from memory.stores.base import Words
from memory.stores.postgres_words import ask_words, forget_common_words, query_of, share_of


def ask(scene: Any, text: str, **changes: Any) -> Words:
    fields = {"agent_id": scene.agent.id, "room_id": scene.group.id, "person_id": scene.ann.id, **changes}
    return ask_words(find_terms(text), **fields)


def test_who_speaks_here_are_the_rooms_people_and_the_agent(scene: Any) -> None:
    found = ask(scene, "hello")
    assert set(found.names) == {"Ann", "Bob", "Eliza"}
    assert found.asker == "Ann"
    assert set(ask(scene, "hello", room_id=scene.dm_of_bob.id).names) == {"Ann", "Bob", "Eliza"}
    assert set(ask(scene, "hello", room_id=None, person_id=None).names) == {"Eliza"}


def test_words_become_queries_by_their_stems_and_beginnings(scene: Any) -> None:
    stems = ask(scene, "the Paintings of cats 火车 O'Neill").stems
    queries = [query_of(term, stems) for term in find_terms("the Paintings of cats 火车 O'Neill")]
    assert queries == [
        "",
        "('paint' | 'paintin':*)",
        "",
        "('cat' | 'cats':*)",
        "('火' <-> '车')",
        "('o')",
        "('neill' | 'neil':*)",
    ]


@pytest.fixture
def spoken(scene: Any) -> Any:
    """A hundred memories: all have "tea", half of them "cup", and one a "zither"."""
    remember(
        [scene.draft("tea" + (" cup" if n % 2 else "") + (" zither" if n == 7 else "")) for n in range(100)]
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE memory_memory")
    forget_common_words()
    return scene


def test_common_words_are_known_by_the_databases_statistics(spoken: Any) -> None:
    stems = ask(spoken, "tea cups zither").stems
    shares = [share_of(term, stems) for term in find_terms("tea cups zither")]
    assert shares[:2] == [pytest.approx(1.0), pytest.approx(0.5)]
    assert shares[2] < 0.5


def test_a_beginning_is_as_common_as_all_words_that_have_it(spoken: Any) -> None:
    remember([spoken.draft(f"teacher {n}") for n in range(100)])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE memory_memory")
    forget_common_words()
    stems = ask(spoken, "teach").stems
    assert share_of(find_terms("teach")[0], stems) == pytest.approx(0.5)


def test_statistics_are_read_once_in_a_while(
    spoken: Any, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1):
        ask(spoken, "tea")
    read: list[Any] = []
    monkeypatch.setattr(postgres_words, "_read_common", lambda *found: read.append(found))
    ask(spoken, "tea")
    assert read == []
    forget_common_words()
    ask(spoken, "tea")
    assert len(read) == 1


def test_without_statistics_every_word_is_rare(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # The table may have some, of what other tests committed.
    read = postgres_words._read_common
    monkeypatch.setattr(postgres_words, "_read_common", lambda *_found: read(None, None))
    stems = ask(scene, "tea").stems
    assert share_of(find_terms("tea")[0], stems) == 0.0
