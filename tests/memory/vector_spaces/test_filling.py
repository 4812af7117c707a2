"""The vectors of a space that is not in use: made by one worker, behind all else, and gone on with by any other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from memory import writes
from memory.databases import unhurried_cursor
from memory.embeddings.base import EmbeddingError
from memory.embeddings.spaces import forget_known_spaces
from memory.memories import remember
from memory.models import Memory, VectorSpace
from memory.stores.indexes import create_waiting_index, has_vector_index, is_usable, vector_index_name
from memory.vector_spaces import filling, pending
from memory.vector_spaces.changes import await_vectors, progress
from memory.writes import embed_pending, is_embedding_due
from plugins.apps import _wakeups
from plugins.registry import register_service
from tests.doubles.spaces import begin, switch, usual_indexes

pytestmark = pytest.mark.django_db(transaction=True)


class Other:
    """The other space's embedder: it may be away, refuse a word, or let something happen while it works."""

    name, dimensions = "hashed-64", 64

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.batches: list[int] = []
        self.refuses = ""
        self.error: EmbeddingError | None = None
        self.meanwhile: Any = lambda: None

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.batches.append(len(texts))
        self.meanwhile()
        if self.error is not None:
            raise self.error
        if self.refuses and any(self.refuses in text for text in texts):
            raise EmbeddingError("not this")
        self.texts += texts
        return [[1.0] + [0.0] * 63 for _text in texts]


class Wakeups:
    def __init__(self) -> None:
        self.sent: list[str] = []

    def wake(self, name: str, **_arguments: Any) -> bool:
        self.sent.append(name)
        return True


@pytest.fixture(autouse=True)
def _usual_store(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(pending, "resting", pending.Resting())
    forget_known_spaces()
    yield
    usual_indexes()


@pytest.fixture
def other(scene: Any, monkeypatch: pytest.MonkeyPatch) -> Other:
    embedder = Other()
    monkeypatch.setattr(filling, "get_embedder", lambda _space: embedder)
    return embedder


@pytest.fixture
def wakeups() -> Iterator[Wakeups]:
    recorder = Wakeups()
    register_service("wakeups", lambda: recorder, replace=True)
    yield recorder
    register_service("wakeups", _wakeups, replace=True)


def row() -> VectorSpace:
    return VectorSpace.objects.get(name="hashed-64")


def let_lease_end() -> None:
    VectorSpace.objects.update(leased_until=None)


def test_batches_are_bounded_documents_come_last_and_the_count_is_kept(scene: Any, other: Other) -> None:
    remember([scene.embedded("of a book", kind="document")])
    remember([scene.embedded(f"text {number}") for number in range(150)])
    begin()
    assert embed_pending() == 151
    assert other.batches == [128, 23]
    assert other.texts[-1] == "of a book"
    assert (row().filled_count, row().leased_until, row().error) == (151, None, "")
    assert row().rate > 0


@pytest.mark.parametrize(("timeout", "lease"), [(30, 90), (0.5, 90), (200, 600)])
def test_a_lease_outlasts_two_requests_whatever_time_they_may_take(
    scene: Any, other: Other, settings: Any, timeout: float, lease: int
) -> None:
    settings.EMBEDDING_TIMEOUT_SECONDS = timeout
    remember([scene.embedded("one")])
    begin()
    seen: list[float] = []
    other.meanwhile = lambda: seen.append((row().leased_until - timezone.now()).total_seconds())
    assert embed_pending() == 1
    assert seen == [pytest.approx(lease, abs=5)]


def test_what_has_no_vector_at_all_goes_first(scene: Any, other: Other, wakeups: Wakeups) -> None:
    remember([scene.embedded(f"text {number}") for number in range(200)])
    begin()

    def said_meanwhile() -> None:
        remember([scene.draft("said meanwhile")])
        other.meanwhile = lambda: None

    other.meanwhile = said_meanwhile
    assert embed_pending() == 128, "the run ends for what was said meanwhile"
    assert wakeups.sent == ["memory.embed_memories"], "and goes to the end of the queue"
    assert embed_pending() == 1 + 73
    assert Memory.objects.get(text="said meanwhile").embedding_model == "hashed-384"


def test_who_finds_others_at_what_goes_first_wakes_nobody(
    scene: Any, other: Other, wakeups: Wakeups, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember([scene.draft("another worker is at it")])
    begin()
    monkeypatch.setattr(writes, "write_vectors", lambda *_given: 0)
    assert embed_pending() == 0
    assert (other.batches, wakeups.sent) == ([], [])


def test_a_run_ends_after_some_seconds_and_wakes_the_next(
    scene: Any, other: Other, wakeups: Wakeups, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "RUN_SECONDS", 0.0)
    remember([scene.embedded("text")])
    begin()
    assert embed_pending() == 0
    assert wakeups.sent == ["memory.embed_memories"]
    assert is_embedding_due()


def test_one_worker_is_at_it_and_its_death_is_made_good_by_another(scene: Any, other: Other) -> None:
    remember([scene.embedded(f"text {number}") for number in range(200)])
    begin()

    def die() -> None:
        if len(other.batches) == 2:
            raise KeyboardInterrupt

    other.meanwhile = die
    with pytest.raises(KeyboardInterrupt):
        embed_pending()
    assert not is_embedding_due(), "the lease of the dead one stands"
    assert embed_pending() == 0
    other.meanwhile = lambda: None
    let_lease_end()
    assert is_embedding_due()
    assert embed_pending() == 72, "what had a vector is not made again"
    assert Memory.objects.filter(second_embedding=None).count() == 0


def test_who_lost_the_lease_writes_nothing_more(scene: Any, other: Other) -> None:
    remember([scene.embedded("text")])
    begin()
    other.meanwhile = lambda: VectorSpace.objects.update(lease_token="another's")
    assert embed_pending() == 0
    assert Memory.objects.filter(second_embedding=None).count() == 1
    assert row().lease_token == "another's"


def test_what_was_switched_to_meanwhile_is_filled_as_what_is_in_use(scene: Any, other: Other) -> None:
    remember([scene.embedded(f"text {number}") for number in range(200)])
    begin()

    def switched() -> None:
        other.meanwhile = lambda: None
        switch()

    other.meanwhile = switched
    assert embed_pending() == 0
    assert embed_pending() == 200
    assert set(Memory.objects.values_list("second_embedding_model", flat=True)) == {"hashed-64"}


def test_an_embedder_that_is_away_is_left_alone_for_longer_each_time(scene: Any, other: Other) -> None:
    remember([scene.embedded("text")])
    begin()
    other.error = EmbeddingError("The server is away.")
    rests = []
    for failures in (1, 2, 3):
        assert embed_pending() == 0
        assert (row().failure_count, row().error) == (failures, "The server is away.")
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT round(extract(epoch FROM leased_until - now())) FROM memory_vectorspace WHERE id = %s",
                [row().pk],
            )
            rests.append(int(cursor.fetchone()[0]))
        assert not is_embedding_due()
        assert embed_pending() == 0
        let_lease_end()
    assert rests == [5, 10, 20]
    other.error = None
    assert embed_pending() == 1
    assert (row().failure_count, row().error) == (0, "")


def test_the_words_of_a_server_are_not_kept_as_they_may_be_peoples(scene: Any, other: Other) -> None:
    remember([scene.embedded("my secret")])
    begin()
    other.error = EmbeddingError("refused: my secret", quotes_others=True)
    embed_pending()
    assert row().error == "EmbeddingError, in words that may be people's and are kept nowhere"


def test_while_the_embedder_in_use_is_away_the_other_one_works(
    scene: Any, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember([scene.draft(f"text {number}") for number in range(3)])
    begin()

    def away() -> Any:
        raise EmbeddingError("The old server is gone for good.")

    monkeypatch.setattr(writes, "get_embedder", away)
    assert embed_pending() == 3
    assert set(Memory.objects.values_list("embedding_model", "second_embedding_model")) == {("", "hashed-64")}


def test_a_text_that_is_refused_is_named_and_not_waited_for(scene: Any, other: Other) -> None:
    remember([scene.embedded("fine"), scene.embedded("poison"), scene.embedded("good")])
    begin()
    other.refuses = "poison"
    assert embed_pending() == 2
    embed_pending()
    poison = Memory.objects.get(second_embedding=None)
    assert poison.text == "poison"
    assert row().filled_at is not None
    assert row().refused == [str(poison.pk)]
    assert has_vector_index(64, "second_embedding")
    await_vectors(patience_seconds=0.0)
    assert [one.missing for one in progress() if one.space.name == "hashed-64"] == [0]


def test_after_a_switch_before_its_time_the_index_is_built_whatever_is_missing(
    scene: Any, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> Any:
        raise EmbeddingError("The new server is away.")

    remember([scene.embedded(f"text {number}") for number in range(3)])
    begin()
    switch()
    assert not has_vector_index(64, "second_embedding")
    monkeypatch.setattr(writes, "get_embedder", away)
    embed_pending()
    assert has_vector_index(64, "second_embedding")
    assert row().filled_at is None


def test_no_connection_is_held_while_the_embedder_works(scene: Any, other: Other) -> None:
    remember([scene.embedded("text")])
    begin()
    held: list[bool] = []
    other.meanwhile = lambda: held.append(connection.connection is not None)
    assert embed_pending() == 1
    assert held == [False]


def test_an_index_whose_building_was_cut_off_is_dropped_and_built_again(scene: Any, other: Other) -> None:
    remember([scene.embedded("text")])
    begin()
    name = vector_index_name(64, "second_embedding")
    with unhurried_cursor() as writer, unhurried_cursor() as builder:
        writer.execute("BEGIN")
        writer.execute("UPDATE memory_memory SET importance = 0.1")
        builder.execute("SET statement_timeout = 300")
        with pytest.raises(OperationalError, match="statement timeout"):
            builder.execute(
                f"CREATE INDEX CONCURRENTLY {name} ON memory_memory"
                " USING hnsw ((second_embedding::halfvec(64)) halfvec_cosine_ops)"
                " WHERE vector_dims(second_embedding) = 64"
            )
        writer.execute("ROLLBACK")
    assert is_usable(name) is False
    embed_pending()
    embed_pending()
    assert has_vector_index(64, "second_embedding")
    assert row().filled_at is not None


def test_while_another_builds_an_index_nobody_waits_for_it(scene: Any, other: Other) -> None:
    remember([scene.embedded("text")])
    begin()
    with unhurried_cursor() as builder:
        builder.execute("SELECT pg_advisory_lock(hashtextextended('memory-indexes', 0))")
        assert embed_pending() == 0
        assert create_waiting_index("second_embedding") is False
    assert embed_pending() == 1


def test_others_write_while_an_index_is_built(scene: Any, other: Other) -> None:
    """A writer that has not committed holds a build up, and nobody is held up by the build."""
    remember([scene.embedded("text")])
    begin()
    built: list[bool] = []

    def build() -> None:
        built.append(create_waiting_index("second_embedding"))
        connection.close()

    with unhurried_cursor() as writer:
        writer.execute("BEGIN")
        writer.execute("UPDATE memory_memory SET importance = 0.1")
        thread = threading.Thread(target=build)
        thread.start()
        until = time.monotonic() + 20
        while is_usable("memory_without_second_embedding") is None:
            assert time.monotonic() < until
            time.sleep(0.02)
        remember([scene.embedded("said while it is built")])
        assert built == []
        writer.execute("COMMIT")
    thread.join(30)
    assert built == [True]


def test_the_next_batch_is_found_by_an_index_in_its_order(scene: Any, other: Other) -> None:
    remember([scene.embedded(f"text {number}") for number in range(50)])
    begin()
    assert create_waiting_index("second_embedding")
    with connection.cursor() as cursor, CaptureQueriesContext(connection) as queries:
        cursor.execute("SET enable_seqscan = off")
        cursor.execute("SET enable_bitmapscan = off")
        assert len(pending.find_waiting("second_embedding", 5)) == 5
        cursor.execute("EXPLAIN (COSTS OFF) " + queries[-1]["sql"].replace("%", "%%"))
        plan = "\n".join(line for (line,) in cursor.fetchall())
    connection.close()
    assert "Index Scan using memory_without_second_embedding" in plan
    assert "Sort" not in plan
