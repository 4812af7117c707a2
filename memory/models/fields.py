"""What fields of several tables share, and a list of keys that stands on both databases."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

UNIT_INTERVAL = [MinValueValidator(0.0), MaxValueValidator(1.0)]


class UUIDsField(ArrayField):  # type: ignore[type-arg]
    """Keys in their order: an array on PostgreSQL, JSON on SQLite."""

    def __init__(self, **options: Any) -> None:
        super().__init__(models.UUIDField(), **options)

    def deconstruct(self) -> Any:
        """Return what a migration writes."""
        name, path, args, options = super().deconstruct()
        return name, path, args, {key: options[key] for key in options if key not in ("base_field", "size")}

    def db_type(self, connection: Any) -> str | None:
        """Return the column's type."""
        return "text_uuids" if connection.vendor == "sqlite" else super().db_type(connection)

    def get_placeholder(self, value: Any, compiler: Any, connection: Any) -> str:
        """Return what stands for the value in a statement."""
        if connection.vendor == "sqlite":
            return "%s"
        placeholder: str = super().get_placeholder(value, compiler, connection)  # type: ignore[misc]
        return placeholder

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        """Return the value as the database takes it."""
        if connection.vendor == "sqlite" and isinstance(value, list | tuple):
            return json.dumps([str(key) for key in value])
        return super().get_db_prep_value(value, connection, prepared)

    def from_db_value(self, value: Any, *_where: Any) -> list[UUID] | None:
        """Return the value as the database gave it."""
        return [UUID(key) for key in json.loads(value)] if isinstance(value, str) else value
