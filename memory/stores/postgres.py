"""What memory asks of PostgreSQL beyond Django: the vector extension and an index for each size of vector.

Called by migrations, `doctor` and system checks.
"""

from __future__ import annotations

from django.db import DatabaseError, connection
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState
from pgvector.django import VectorExtension


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
                f"{str(error).splitlines()[0]}. Install pgvector (https://github.com/pgvector/pgvector) on the "
                f"server, and as a superuser run: CREATE EXTENSION vector; in {name!r}."
            ) from error


def vector_index_name(dimensions: int) -> str:
    """Return the name of the HNSW index for vectors of this size."""
    return f"memory_embedding_{dimensions}_hnsw"


def create_vector_index(dimensions: int) -> None:
    """Create the HNSW index for vectors of this size unless it is there.

    Source: Malkov and Yashunin, Efficient and robust approximate nearest neighbor search using HNSW, 2018.
    """
    size = int(dimensions)
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE INDEX IF NOT EXISTS {vector_index_name(size)} ON memory_memory"
            f" USING hnsw ((embedding::vector({size})) vector_cosine_ops)"
            f" WHERE vector_dims(embedding) = {size}"
        )
