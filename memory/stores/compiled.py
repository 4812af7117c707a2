"""Querysets compiled once into statements with named parameters, for what is asked at every turn.

Compiling takes longer than all the rest of a recall. `memory.stores.candidates` and `memory.stores.sizes` use it; what
may be visible is said by their querysets, which stand for AGENT, ROOM and PERSON.
"""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from django.db.models import BooleanField, FloatField, QuerySet
from django.db.models.expressions import RawSQL
from psycopg.sql import quote

# What stands in a queryset where a call's own values go.
AGENT, ROOM, PERSON = UUID(int=1), UUID(int=2), UUID(int=3)
MESSAGE = "the message's id"
_PARAMETER = re.compile(r"\$(\w+)\$")
"""How a parameter is written in what a queryset takes as SQL."""


def statement(sql: str) -> str:
    """Return the statement with its parameters as psycopg names them."""
    return _PARAMETER.sub(r"%(\1)s", sql)


def sql_of(rows: QuerySet[Any, Any]) -> str:
    """Return the queryset's SQL; what is the same in every call stands in it.

    A kept plan can use a partial index only where the statement itself says that its condition holds.
    """
    sql, parameters = rows.query.sql_with_params()
    shown = (_name(parameter) or quote(parameter) for parameter in parameters)
    return sql % tuple(shown)


def _name(parameter: Any) -> str:
    if isinstance(parameter, list):
        return "$messages$"
    return {AGENT: "$agent$", ROOM: "$room$", PERSON: "$person$"}.get(parameter, "")


def condition(sql: str) -> RawSQL:
    """Return a condition in SQL's own words, for a queryset."""
    return RawSQL(sql, (), output_field=BooleanField())


def number(sql: str) -> RawSQL:
    """Return a number in SQL's own words, for a queryset."""
    return RawSQL(sql, (), output_field=FloatField())
