"""What memory asks of PostgreSQL beyond Django: the vector extension, and the types by which vectors are indexed.

Called by migrations; `memory.stores.indexes` makes the indexes.
"""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState
from django.db.models import Field, Func, IntegerField
from pgvector.django import HalfVectorField, VectorExtension

VECTOR_INDEX_MAX = 4000
"""pgvector's limit of an HNSW index over half floats, in numbers a vector."""
SEARCH_CONFIGURATION = "english"
"""What PostgreSQL stems the words of the column `memory_memory.search` by, as the migration `search` says."""


class MissingVectorExtension(Exception):
    """PostgreSQL has no pgvector."""


class CreateVectorExtension(VectorExtension):
    """Create the `vector` extension, or say plainly how to get it."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Create the extension unless it is there.

        Raises: MissingVectorExtension where the server lacks it or the role may not create it.
        """
        if schema_editor.connection.vendor != "postgresql":
            return
        try:
            super().database_forwards(app_label, schema_editor, from_state, to_state)
        except DatabaseError as error:
            name = schema_editor.connection.settings_dict["NAME"]
            raise MissingVectorExtension(
                f"The database {name!r} has no `vector` extension and it could not be created: "
                f"{str(error).splitlines()[0]}. Install pgvector (https://github.com/pgvector/pgvector) on "
                f"the server, and as a superuser run: CREATE EXTENSION vector; in {name!r}."
            ) from error


class VectorDimensions(Func):
    """The size of a vector, as pgvector's `vector_dims`."""

    function = "vector_dims"
    output_field = IntegerField()


class VectorTooLarge(ValueError):
    """A vector has more numbers than pgvector can index."""


def indexed_field(dimensions: int) -> Field[Any, Any]:
    """Return the type by which vectors of this size are indexed: half floats.

    They find the same, and take little more than half the room: `docs/memory.md` has what was measured.
    Raises: VectorTooLarge.
    """
    if dimensions <= VECTOR_INDEX_MAX:
        return HalfVectorField(dimensions=dimensions)
    raise VectorTooLarge(
        f"A vector of {dimensions} numbers can't be indexed; {VECTOR_INDEX_MAX} are the most. Set "
        "EMBEDDING_DIMENSIONS to fewer, where the model can shorten its vectors, or choose another "
        "EMBEDDING_MODEL."
    )
