"""A change of the embedding model is an error with its cure, never silence."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import Tags, run_checks
from django.db import DatabaseError, connection

from memory.embeddings.spaces import forget_known_spaces
from memory.memories import remember
from memory.models import Memory, VectorSpace
from memory.stores.indexes import create_vector_index, has_vector_index, vector_index_name
from memory.stores.postgres import VectorTooLarge, indexed_field
from memory.vector_spaces.dimensions import check_dimensions, ensure_vector_index


def _checks() -> list[Any]:
    found = run_checks(tags=[Tags.database], databases=["default"])
    return [message for message in found if message.id.startswith("memory.")]


def test_a_store_of_the_settings_own_vectors_has_no_problem(scene: Any) -> None:
    remember([scene.embedded("text"), scene.draft("waiting")])
    assert check_dimensions() == []
    assert _checks() == []


def test_another_models_vectors_are_an_error_with_its_cure(scene: Any, settings: Any) -> None:
    remember([scene.embedded("text")])
    settings.EMBEDDING_BASE_URL, settings.EMBEDDING_MODEL = "http://localhost:1/v1", "text-embedding-3-small"
    (error,) = [message for message in _checks() if message.id == "memory.E001"]
    assert "1 memories have vectors of hashed-384 (384 numbers)" in error.msg
    assert "text-embedding-3-small (1536)" in error.msg
    assert "EMBEDDING_DIMENSIONS to 384" in error.hint
    assert "manage.py reembed_memories --model text-embedding-3-small" in error.hint
    assert "manage.py clear_embeddings --model hashed-384 --yes" in error.hint


def test_a_model_of_the_same_size_is_another_all_the_same(scene: Any) -> None:
    remember([scene.embedded("text")])
    Memory.objects.update(embedding_model="another")
    assert [problem.id for problem in check_dimensions()] == ["memory.E001"]


def test_settings_that_contradict_each_other_are_named(scene: Any, settings: Any) -> None:
    settings.EMBEDDING_MODEL = "nobody-knows"
    assert [problem.id for problem in check_dimensions()] == ["memory.E002"]
    settings.EMBEDDING_MODEL, settings.EMBEDDING_DIMENSIONS = "hashed", 5000
    assert [problem.id for problem in check_dimensions()] == ["memory.E002"]


def test_a_migration_makes_the_index_of_the_settings_size(scene: Any, settings: Any) -> None:
    settings.EMBEDDING_DIMENSIONS = 768
    assert [problem.id for problem in check_dimensions()] == ["memory.W001"]
    ensure_vector_index()
    assert has_vector_index(768)
    assert check_dimensions() == []
    ensure_vector_index()


def test_long_vectors_are_indexed_as_half_floats_and_longer_ones_refused(scene: Any) -> None:
    create_vector_index(3072)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_indexdef(to_regclass(%s))", [vector_index_name(3072)])
        assert "halfvec" in cursor.fetchone()[0]
    with pytest.raises(VectorTooLarge, match="EMBEDDING_DIMENSIONS"):
        indexed_field(4001)


def test_long_vectors_are_recalled_through_their_index(scene: Any, settings: Any) -> None:
    from memory.retrieval import recall

    settings.EMBEDDING_DIMENSIONS = 3072
    ensure_vector_index()
    vector = [1.0] + [0.0] * 3071
    remember([scene.draft("long", embedding=vector, embedding_model="hashed-3072")])
    other = [0.0, 1.0] + [0.0] * 3070
    remember([scene.draft("other", embedding=other, embedding_model="hashed-3072")])
    hits = recall(scene.query("x"), embed=lambda texts: [vector for _ in texts]).memories
    assert [hit.text for hit in hits] == ["long", "other"]
    assert hits[0].scores["vector"] > 0 > hits[1].scores["vector"]


def test_a_database_without_tables_yet_has_no_problem(db: None, settings: Any, monkeypatch: Any) -> None:
    settings.EMBEDDING_MODEL, settings.EMBEDDING_BASE_URL = "hashed", ""
    monkeypatch.setattr("memory.vector_spaces.dimensions._has_table", lambda: False)
    assert check_dimensions() == []
    ensure_vector_index()


def _space(column: str, dimensions: int, state: str) -> None:
    VectorSpace.objects.create(
        column=column or None,
        name=f"hashed-{dimensions}",
        model="hashed",
        dimensions=dimensions,
        kind="hashed",
        state=state,
    )
    forget_known_spaces()


def test_a_fleet_that_was_switched_says_what_to_set(scene: Any, settings: Any) -> None:
    _space("embedding", 384, "kept")
    _space("second_embedding", 256, "used")
    create_vector_index(256, "second_embedding")
    (warning,) = check_dimensions()
    assert warning.id == "memory.W002"
    assert "choose hashed (384 numbers), but the fleet uses hashed (256)" in warning.message
    assert warning.cure == "Set EMBEDDING_MODEL=hashed EMBEDDING_DIMENSIONS=256"
    assert [message.id for message in _checks()] == ["memory.W002"], "no error: the fleet starts"
    settings.EMBEDDING_DIMENSIONS = 256
    assert check_dimensions() == []
    # What was in use before is known still when it is gone.
    VectorSpace.objects.filter(dimensions=384).update(state="removed", column=None)
    settings.EMBEDDING_DIMENSIONS = 384
    assert [problem.id for problem in check_dimensions()] == ["memory.W002"]


def test_settings_that_are_neither_space_are_an_error_with_its_cure(scene: Any, settings: Any) -> None:
    _space("embedding", 384, "used")
    _space("second_embedding", 256, "filling")
    assert check_dimensions() == []
    settings.EMBEDDING_DIMENSIONS = 128
    (error,) = check_dimensions()
    assert (error.id, error.is_fatal) == ("memory.E001", True)
    assert "Set EMBEDDING_MODEL=hashed EMBEDDING_DIMENSIONS=384" in error.cure
    assert "reembed_memories --model hashed" in error.cure


def test_strange_vectors_in_use_are_an_error_and_those_beside_them_none(scene: Any) -> None:
    _space("embedding", 384, "used")
    _space("second_embedding", 256, "filling")
    remember([scene.embedded("text")])
    Memory.objects.update(second_embedding=[1.0], second_embedding_model="of before")
    assert check_dimensions() == []
    Memory.objects.update(embedding_model="another")
    (error,) = check_dimensions()
    assert (error.id, "clear_embeddings --model another --yes" in error.cure) == ("memory.E001", True)


def test_a_migration_makes_the_index_of_the_space_in_use(scene: Any) -> None:
    _space("second_embedding", 96, "used")
    assert "memory.W001" in [problem.id for problem in check_dimensions()]
    ensure_vector_index()
    assert has_vector_index(96, "second_embedding")


def test_before_the_table_of_spaces_is_there_the_settings_speak(scene: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(
        "memory.vector_spaces.dimensions._has_table", lambda name="memory_memory": name == "memory_memory"
    )

    def missing() -> Any:
        raise DatabaseError("no such table")

    monkeypatch.setattr("memory.vector_spaces.dimensions.known_spaces", missing)
    monkeypatch.setattr("memory.embeddings.spaces.known_spaces", missing)
    assert check_dimensions() == []
    ensure_vector_index()
