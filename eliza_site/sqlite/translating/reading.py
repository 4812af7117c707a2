"""Reads a statement as it was written for PostgreSQL, and notes the type of each of its parts.

`%s` and `%(name)s` become names that no column has, and later SQLite's own placeholders. The types stand in each
node's `meta`, so that they outlive what the rewriting makes of the tree.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import sqlglot
from sqlglot import exp

from eliza_site.sqlite.translating.errors import Untranslatable
from eliza_site.sqlite.translating.tables import Columns, find_table

PLACEHOLDER = "p__"
_PARAMETER = re.compile(r"%\((\w+)\)s|%s|%%")
_DISTANCE = re.compile(r"([\w.]+(?:::\w+)?) <=> ([\w.]+(?:::\w+)?)")
SCOPES = (exp.Select, exp.Update, exp.Delete, exp.Insert)

_NAMES = {
    "timestamp with time zone": "timestamptz",
    "double precision": "float",
    "real": "float",
    "decimal": "float",
    "varchar": "text",
    "json": "jsonb",
    "boolean": "bool",
    "bigint": "int",
    "smallint": "int",
}
_FUNCTIONS = {
    "clock_timestamp": "timestamptz",
    "statement_timestamp": "timestamptz",
    "array_replace": "uuid[]",
    "gen_random_uuid": "uuid",
}
_BOOLEAN = (exp.Predicate, exp.Connector, exp.Not, exp.Boolean, exp.Exists, exp.LogicalOr)
_OF_FIRST = (exp.Coalesce, exp.Greatest, exp.Least, exp.Max, exp.Min, exp.FirstValue, exp.Nullif, exp.Paren)


def read(statement: str) -> exp.Expr:
    """Parse the statement.

    Raises: Untranslatable.
    """
    numbers = itertools.count()

    def named(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        return f"{PLACEHOLDER}{match[1] or next(numbers)}"

    text = _DISTANCE.sub(r"cosine_distance(\1, \2)", _PARAMETER.sub(named, statement))
    # sqlglot takes the colon of a slice without a beginning for a parameter.
    text = text.replace("[:", "[1:")
    try:
        return sqlglot.parse_one(text, dialect="postgres")
    except sqlglot.errors.SqlglotError as error:
        raise Untranslatable(f"{error}\n{statement}") from error


def type_of(node: exp.Expr | None) -> str:
    """Return the type that was noted for the node; empty where none is known."""
    return "" if node is None else str(node.meta.get("type", ""))


def type_name(kind: exp.Expr) -> str:
    """Return the word for a type that a statement names."""
    if isinstance(kind, exp.DataType) and kind.this == exp.DType.ARRAY:
        return f"{type_name(kind.expressions[0])}[]"
    written = kind.sql(dialect="postgres").lower()
    return _NAMES.get(written, written)


def is_placeholder(node: exp.Expr) -> bool:
    """Tell whether the node stands for a parameter."""
    return isinstance(node, exp.Column) and node.name.startswith(PLACEHOLDER)


class Typing:
    """Notes the type of every part of a statement, its common table expressions first."""

    def __init__(self, tree: exp.Expr) -> None:
        self.ctes: dict[str, Columns] = {}
        for cte in common_tables(tree):
            self._note(cte.this)
            columns = columns_of(cte.this)
            names = [name.name for name in cte.args["alias"].args.get("columns") or []]
            self.ctes[cte.alias] = dict(zip(names, columns.values(), strict=False)) if names else columns
        self._note(tree)

    def _note(self, tree: exp.Expr) -> None:
        """Note the types from the leaves up; what a query shows is known before what is around it asks."""
        for node in list(_inside_out(tree)):
            if isinstance(node, exp.Select | exp.Returning):
                self._expand_stars(node)
        for node in list(_inside_out(tree)):
            if "type" not in node.meta:
                node.meta["type"] = self._find(node)

    def _expand_stars(self, node: exp.Expr) -> None:
        shown: list[exp.Expr] = []
        for one in node.expressions:
            is_star = isinstance(one, exp.Star) or (
                isinstance(one, exp.Column) and isinstance(one.this, exp.Star)
            )
            if not is_star:
                shown.append(one)
                continue
            table = one.table if isinstance(one, exp.Column) else ""
            scope = node if isinstance(node, exp.Select) else node.parent
            for name, columns in self.sources(scope).items():
                if table in ("", name):
                    shown += [exp.column(column, table=name or None) for column in columns]
        node.set("expressions", shown)

    def sources(self, scope: exp.Expr | None) -> dict[str, Columns]:
        """Return the columns of each table that the query reads, by the name that it gives it."""
        found: dict[str, Columns] = {}
        if scope is None:
            return found
        target = scope.this.this if isinstance(scope.this, exp.Schema) else scope.this
        if isinstance(scope, exp.Update | exp.Delete | exp.Insert):
            found[target.alias_or_name] = self._columns(target)
            if isinstance(scope, exp.Insert):
                found["excluded"] = found[target.alias_or_name]
        for source in read_by(scope):
            found[source.alias_or_name] = self._columns(source)
        return found

    def _columns(self, source: exp.Expr) -> Columns:
        names = [column.name for column in _alias_columns(source)]
        if isinstance(source, exp.Lateral):
            source = source.this
        if isinstance(source, exp.Subquery):
            return columns_of(source.this)
        if isinstance(source, exp.Values):
            return columns_of(source)
        if isinstance(source, exp.Unnest):
            kinds = [type_of(array).removesuffix("[]") for array in source.expressions]
            ordinal = source.args.get("offset")
            several = column_names(len(kinds)) if len(kinds) > 1 else [source.alias or "unnest"]
            columns = dict(zip(names or several, kinds, strict=False))
            return {**columns, ordinal.name: "int"} if isinstance(ordinal, exp.Expr) else columns
        if isinstance(source.this, exp.Anonymous):
            return _columns_of_function(source, names)
        if source.name in self.ctes:
            return self.ctes[source.name]
        table = find_table(source.name)
        return table.columns if table else {}

    def _find(self, node: exp.Expr) -> str:
        if isinstance(node, exp.Column):
            return self._find_column(node)
        if isinstance(node, exp.Cast):
            return type_name(node.to)
        if isinstance(node, exp.CurrentTimestamp):
            return "timestamptz"
        if isinstance(node, exp.MakeInterval):
            return "interval"
        if isinstance(node, exp.Add | exp.Sub | exp.Mul | exp.Div):
            return _type_of_sum(node)
        if isinstance(node, _BOOLEAN):
            return "bool"
        if isinstance(node, exp.CosineDistance):
            return "float"
        if isinstance(node, exp.Literal):
            return "text" if node.is_string else "int"
        if isinstance(node, exp.Anonymous):
            return _FUNCTIONS.get(node.name.lower(), "")
        return _type_of_parts(node)

    def _find_column(self, column: exp.Column) -> str:
        scope = column.find_ancestor(*SCOPES)
        while scope is not None:
            sources = self.sources(scope)
            near = [sources[column.table]] if column.table in sources else []
            for columns in near if column.table else sources.values():
                if column.name in columns:
                    return columns[column.name]
            scope = scope.find_ancestor(*SCOPES)
        return ""


def common_tables(tree: exp.Expr) -> list[exp.CTE]:
    """Return the statement's common table expressions."""
    found = tree.args.get("with_")
    return list(found.expressions) if found else []


def read_by(scope: exp.Expr) -> Iterator[exp.Expr]:
    """Yield what the query reads: tables, subqueries, functions."""
    source = scope.args.get("from_")
    if source is not None:
        yield source.this
        for join in source.this.args.get("joins") or []:
            yield join.this
    for join in scope.args.get("joins") or []:
        yield join.this
    yield from scope.args.get("using") or []


def shown_by(query: exp.Expr) -> list[exp.Expr]:
    """Return what a query shows, or what a change returns."""
    if isinstance(query, exp.SetOperation):
        return shown_by(query.left)
    if isinstance(query, exp.Subquery | exp.Paren):
        return shown_by(query.this)
    if isinstance(query, exp.Values):
        rows = query.expressions[0]
        return list(rows.expressions) if isinstance(rows, exp.Tuple) else [rows]
    if isinstance(query, exp.Update | exp.Delete | exp.Insert):
        returning = query.args.get("returning")
        return list(returning.expressions) if returning else []
    return list(query.expressions)


def columns_of(query: exp.Expr) -> Columns:
    """Return the names and types of what a query shows."""
    if isinstance(query, exp.Values):
        return {f"column{place}": type_of(one) for place, one in enumerate(shown_by(query), 1)}
    return {
        one.alias_or_name or f"column{place}": type_of(one) for place, one in enumerate(shown_by(query), 1)
    }


def column_names(count: int) -> list[str]:
    """Return names for columns that have none."""
    return [f"column{place}_" for place in range(count)]


def _inside_out(tree: exp.Expr) -> Iterator[exp.Expr]:
    # What a query reads comes first: the types of what it shows follow from it.
    first = [tree.args[name] for name in ("with_", "from_") if tree.args.get(name)]
    first += [*(tree.args.get("joins") or []), *(tree.args.get("using") or [])]
    for child in first:
        yield from _inside_out(child)
    for child in tree.iter_expressions():
        if not any(child is one for one in first):
            yield from _inside_out(child)
    yield tree


def _alias_columns(source: exp.Expr) -> list[exp.Expr]:
    alias = source.args.get("alias")
    return list(alias.args.get("columns") or []) if isinstance(alias, exp.TableAlias) else []


def _columns_of_function(source: exp.Expr, names: list[str]) -> Columns:
    definitions = [column for column in _alias_columns(source) if isinstance(column, exp.ColumnDef)]
    if definitions:
        return {column.name: type_name(column.args["kind"]) for column in definitions}
    kind = "text" if source.this.name.endswith("_text") else "jsonb"
    return dict(zip(names or [source.alias], [kind, "int"], strict=False))


def _type_of_sum(node: exp.Binary) -> str:
    kinds = type_of(node.left), type_of(node.right)
    if isinstance(node, exp.Sub) and kinds == ("timestamptz", "timestamptz"):
        return "interval"
    if "float" in kinds:
        return "float"
    return kinds[0] or kinds[1]


def _type_of_parts(node: exp.Expr) -> str:
    parts: list[exp.Expr | None] = [node.this if isinstance(node.this, exp.Expr) else None]
    if isinstance(node, exp.Case):
        parts = [branch.args.get("true") for branch in node.args["ifs"]] + [node.args.get("default")]
    elif isinstance(node, exp.Coalesce | exp.Greatest | exp.Least):
        parts = [node.this, *node.expressions]
    elif isinstance(node, exp.Subquery):
        parts = list(shown_by(node.this)[:1])
    elif isinstance(node, exp.Array):
        return f"{type_of(shown_by(node.expressions[0])[0]) if node.expressions else ''}[]"
    elif isinstance(node, exp.DPipe):
        parts = [node.left, node.right]
    elif isinstance(node, exp.ArrayAgg):
        inner = node.this.this if isinstance(node.this, exp.Order) else node.this
        return f"{type_of(inner)}[]"
    elif isinstance(node, exp.Bracket):
        is_slice = any(isinstance(one, exp.Slice) for one in node.expressions)
        return type_of(node.this) if is_slice else type_of(node.this).removesuffix("[]")
    elif isinstance(node, exp.JSONArrayAgg | exp.JSONBObjectAgg):
        return "jsonb"
    elif isinstance(node, exp.Count | exp.Length | exp.ArraySize):
        return "int"
    elif not isinstance(
        node, (*_OF_FIRST, exp.Alias, exp.Window, exp.Filter, exp.Order, exp.Ordered, exp.Sum, exp.Neg)
    ):
        return ""
    return next((type_of(part) for part in parts if type_of(part)), "")
