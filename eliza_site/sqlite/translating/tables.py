"""What is known of the site's tables: the type of each column, as PostgreSQL has it.

Types are words: `uuid`, `timestamptz`, `bool`, `int`, `float`, `text`, `jsonb`, `bytea`, `vector`, and with `[]` behind
them arrays. Times are text here, arrays JSON, intervals seconds; only by these words can a statement be understood.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db.models import Field, ForeignKey, Model, UniqueConstraint

Columns = Mapping[str, str]

_TYPES = {
    "UUIDField": "uuid",
    "DateTimeField": "timestamptz",
    "BooleanField": "bool",
    "JSONField": "jsonb",
    "FloatField": "float",
    "DecimalField": "float",
    "BinaryField": "bytea",
    "VectorField": "vector",
    "UUIDsField": "uuid[]",
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table's columns in their order, with their types; those that are never NULL; its unique keys in which
    NULLs count as equal, which are indexes over expressions; and the names of all its unique keys."""

    columns: Columns
    filled: frozenset[str]
    null_keys: tuple[tuple[str, ...], ...]
    keys: Mapping[frozenset[str], str]


@functools.cache
def find_table(name: str) -> Table | None:
    """Return what is known of the table, or None where the site has none of this name."""
    model = next((model for model in apps.get_models() if model._meta.db_table == name), None)
    return None if model is None else _table(model)


def _table(model: type[Model]) -> Table:
    fields = {str(field.column): field for field in model._meta.concrete_fields}
    by_name = {field.name: column for column, field in fields.items()}
    unique = [one for one in model._meta.constraints if isinstance(one, UniqueConstraint)]
    keys = {one.name: tuple(by_name[name] for name in one.fields) for one in unique}
    return Table(
        columns={column: _type(field) for column, field in fields.items()},
        filled=frozenset(column for column, field in fields.items() if not field.null),
        null_keys=tuple(keys[one.name] for one in unique if one.nulls_distinct is False),
        keys={frozenset(columns): name for name, columns in keys.items()},
    )


def _type(field: Field[Any, Any]) -> str:
    while isinstance(field, ForeignKey):
        field = field.target_field
    kind = field.get_internal_type()
    return _TYPES.get(
        type(field).__name__, _TYPES.get(kind, "int" if "Integer" in kind or "Auto" in kind else "text")
    )
