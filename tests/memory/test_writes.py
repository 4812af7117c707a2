"""Vectors in the background: in batches, harmless twice, and waiting while the embedder is away."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memory import tasks, writes
from memory.embeddings.base import EmbeddingError
from memory.memories import remember
from memory.models import Memory
from memory.vector_spaces import pending


class Moody:
    """An embedder that is away, or refuses a word, or lets something happen while it works."""

    name = "hashed-384"
    dimensions = 384

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.is_away = False
        self.refuses = ""
        self.most = 1000
        self.batches: list[int] = []
        self.meanwhile: Any = lambda: None

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.batches.append(len(texts))
        self.meanwhile()
        if (
            self.is_away
            or len(texts) > self.most
            or (self.refuses and any(self.refuses in text for text in texts))
        ):
            raise EmbeddingError("not now")
        return self.inner.embed(texts)


@pytest.fixture
def embedder(scene: Any, monkeypatch: pytest.MonkeyPatch) -> Moody:
    moody = Moody(scene.embedder)
    monkeypatch.setattr(writes, "get_embedder", lambda: moody)
    monkeypatch.setattr(pending, "resting", pending.Resting())
    monkeypatch.setattr(pending, "paces", {})
    return moody


def test_memories_without_a_vector_get_one_in_batches(scene: Any, embedder: Moody) -> None:
    remember([scene.draft(f"text {number}") for number in range(300)])
    remember([scene.draft(""), scene.embedded("has one")])
    assert writes.find_unembedded_count() == 300
    with CaptureQueriesContext(connection) as queries:
        assert writes.embed_pending() == 300
    assert embedder.batches == [128, 128, 44]
    assert len(queries) == 6, "a read and a write for each batch, and no read after one that was not full"
    assert writes.find_unembedded_count() == 0
    assert Memory.objects.filter(embedding_model="hashed-384").count() == 301
    assert "vector" in scene.recall("text 250")[0].scores
    assert writes.embed_pending() == 0


def test_a_limit_is_kept(scene: Any, embedder: Moody) -> None:
    remember([scene.draft(f"text {number}") for number in range(20)])
    assert writes.embed_pending(limit=5) == 5
    assert writes.find_unembedded_count() == 15


def test_documents_come_after_what_was_said(scene: Any, embedder: Moody) -> None:
    remember([scene.draft(f"page {number}", kind="document") for number in range(5)])
    remember([scene.draft("said later")])
    assert writes.embed_pending(limit=2) == 2
    made = Memory.objects.exclude(embedding=None).order_by("created_at", "pk")
    assert list(made.values_list("kind", flat=True)) == ["document", "message"]


def test_while_the_embedder_is_away_the_rows_wait(scene: Any, embedder: Moody) -> None:
    remember([scene.draft(f"text {number}") for number in range(10)])
    embedder.is_away = True
    assert writes.embed_pending() == 0
    assert embedder.batches == [10, 1], "a second look tells that it is away"
    assert writes.find_unembedded_count() == 10
    embedder.is_away = False
    assert tasks.embed_memories(after_seconds=0.0) == 10


def test_one_text_that_is_refused_holds_up_no_others(scene: Any, embedder: Moody) -> None:
    remember([scene.draft("poison")])
    remember([scene.draft(f"text {number}") for number in range(5)])
    embedder.refuses = "poison"
    assert writes.embed_pending() == 5
    before = len(embedder.batches)
    assert writes.embed_pending() == 0
    assert len(embedder.batches) == before, "it is left alone for a while"
    assert writes.find_unembedded_count() == 1


def test_what_is_refused_is_found_by_halving(scene: Any, embedder: Moody) -> None:
    remember([scene.draft("poison" if number in (17, 90) else f"text {number}") for number in range(128)])
    embedder.refuses = "poison"
    assert writes.embed_pending() == 126
    assert set(Memory.objects.filter(embedding=None).values_list("text", flat=True)) == {"poison"}
    assert len(embedder.batches) < 100, "by halving, and not one by one, which takes 128 and more"
    remember([scene.draft(f"later {number}") for number in range(400)])
    embedder.batches.clear()
    assert writes.embed_pending() == 400
    assert len(embedder.batches) <= 7, "and soon as many at once as before"


def test_the_only_text_that_waits_is_refused_too(scene: Any, embedder: Moody) -> None:
    remember([scene.draft("poison")])
    embedder.refuses = "poison"
    assert writes.embed_pending() == 0
    before = len(embedder.batches)
    assert writes.embed_pending() == 0
    assert len(embedder.batches) == before, "it is left alone for a while"


def test_an_embedder_that_goes_away_meanwhile_refuses_nothing(scene: Any, embedder: Moody) -> None:
    remember([scene.draft("poison" if number == 0 else f"text {number}") for number in range(8)])
    embedder.refuses = "poison"

    def leave_after_three() -> None:
        embedder.is_away = len(embedder.batches) > 3

    embedder.meanwhile = leave_after_three
    assert writes.embed_pending() == 0
    embedder.is_away, embedder.meanwhile, embedder.refuses = False, lambda: None, ""
    assert writes.embed_pending() == 8, "none of them rests"


def test_a_server_that_is_too_slow_for_many_texts_gets_fewer(scene: Any, embedder: Moody) -> None:
    remember([scene.draft(f"text {number}") for number in range(40)])
    embedder.most = 3
    assert writes.embed_pending() == 40
    assert writes.find_unembedded_count() == 0


def test_a_row_that_another_worker_did_meanwhile_is_left_as_it_is(scene: Any, embedder: Moody) -> None:
    remember([scene.draft("text one"), scene.draft("text two")])
    first = Memory.objects.get(text="text one")
    vector = [1.0] + [0.0] * 383
    embedder.meanwhile = lambda: Memory.objects.filter(id=first.id).update(
        embedding=vector, embedding_model="other worker"
    )
    assert writes.embed_pending() == 1
    first.refresh_from_db()
    assert first.embedding_model == "other worker"


@pytest.mark.django_db(transaction=True)
def test_no_connection_is_held_while_the_embedder_works(scene: Any, embedder: Moody) -> None:
    remember([scene.draft("text")])
    held: list[bool] = []
    embedder.meanwhile = lambda: held.append(connection.connection is not None)
    assert writes.embed_pending() == 1
    assert held == [False]


@pytest.mark.django_db(transaction=True)
def test_a_second_thread_leaves_the_work_to_the_first(scene: Any, embedder: Moody, wakeups: Wakeups) -> None:
    remember([scene.draft("text")])
    seconds: list[int] = []

    def work() -> None:
        seconds.append(writes.embed_pending())
        connection.close()

    def meanwhile() -> None:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    embedder.meanwhile = meanwhile
    assert writes.embed_pending() == 1
    assert seconds == [0]
    assert wakeups.sent == [(writes.EMBED_TASK, {})], "what the second one had come for is looked for"
    embedder.meanwhile = lambda: None
    remember([scene.draft("another text")])
    assert writes.embed_pending() == 1
    assert len(wakeups.sent) == 1


class Wakeups:
    """Stands for the service that publishes wake-ups."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def wake(self, name: str, **arguments: Any) -> bool:
        self.sent.append((name, arguments))
        return True


@pytest.fixture
def wakeups(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wakeups]:
    service = Wakeups()
    monkeypatch.setattr(writes, "find_service", lambda name: service if name == "wakeups" else None)
    monkeypatch.setattr(writes._Wake, "until", 0.0)
    cache.delete(writes.WAKE_KEY)
    yield service
    cache.delete(writes.WAKE_KEY)


def test_the_fleet_is_woken_once_a_second(wakeups: Wakeups, monkeypatch: pytest.MonkeyPatch) -> None:
    assert writes.wake_embedding() is True
    assert writes.wake_embedding() is False
    # Another process has not heard of the first one's wake-up; the cache has.
    monkeypatch.setattr(writes._Wake, "until", 0.0)
    assert writes.wake_embedding() is False
    assert wakeups.sent == [("memory.embed_memories", {"after_seconds": 1.0})]


def test_a_cache_that_is_away_costs_no_error(
    wakeups: Wakeups, settings: Any, unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = "eliza_site.cache.TwoLevelCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": f"redis://127.0.0.1:{unused_port}/0"}}
    assert writes.wake_embedding() is False
    assert wakeups.sent == []


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_cleared_vectors_are_made_anew(scene: Any, embedder: Moody, wakeups: Wakeups, capsys: Any) -> None:
    remember([scene.embedded("one"), scene.embedded("two")])
    Memory.objects.filter(text="two").update(embedding_model="old")
    with pytest.raises(CommandError, match=r"1 memories have vectors of old\. Add --yes"):
        call_command("clear_embeddings", "--model", "old")
    call_command("clear_embeddings", "--model", "old", "--yes")
    assert "1 vectors of old were cleared" in capsys.readouterr().out
    assert writes.find_unembedded_count() == 1
    assert writes.embed_pending() == 1
    assert set(Memory.objects.values_list("embedding_model", flat=True)) == {"hashed-384"}
