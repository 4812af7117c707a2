"""Turns a statement for PostgreSQL into steps for SQLite, once; `eliza_site.sqlite.statements` runs them.

SQLite has no changes in common table expressions. Each becomes a step of its own, whose rows the later ones read from
a parameter, as JSON. What a query reads of a table that an earlier step changes is read before: to PostgreSQL all
parts of a statement happen at one moment.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError

from eliza_site.sqlite.translating.changes import (
    PICKED,
    ROW,
    Change,
    rewrite_change,
    take_apart,
    target_of,
)
from eliza_site.sqlite.translating.errors import Untranslatable
from eliza_site.sqlite.translating.expressions import call, rewrite
from eliza_site.sqlite.translating.reading import (
    Typing,
    columns_of,
    common_tables,
    read,
    read_by,
    shown_by,
    type_of,
)
from eliza_site.sqlite.translating.sources import rewrite_select, rewrite_source
from eliza_site.sqlite.translating.tables import find_table

STORED = "rows_of_"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One statement of SQLite's. `stores_as` is the parameter that later steps read its rows from, or empty."""

    sql: str
    stores_as: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is run for a statement: the last step's rows are its result, of columns of these names and types."""

    steps: tuple[Step, ...]
    names: tuple[str, ...]
    types: tuple[str, ...]
    is_change: bool


def translate(statement: str) -> Plan:
    """Make the plan of a statement.

    Raises: Untranslatable, with what SQLite has no word for and the statement.
    """
    try:
        tree = read(statement)
        typing = Typing(tree)
        columns = [(one.alias_or_name, type_of(one)) for one in shown_by(tree)]
        _note_filled(tree, typing)
        return _Splitting(_rewritten(tree, typing), typing).plan(columns)
    except (SqlglotError, Untranslatable) as error:
        raise Untranslatable(f"{error}\nThe statement: {statement}") from error


def _note_filled(tree: exp.Expr, typing: Typing) -> None:
    """Note which columns of an order are never NULL."""
    for ordered in tree.find_all(exp.Ordered):
        column = ordered.this
        scope = ordered.find_ancestor(exp.Select)
        if not isinstance(column, exp.Column) or scope is None:
            continue
        for source in read_by(scope):
            table = None if source.name in typing.ctes else find_table(source.name)
            is_meant = column.table in ("", source.alias_or_name)
            if isinstance(source, exp.Table) and table and is_meant and column.name in table.filled:
                column.meta["filled"] = True


def _rewritten(node: exp.Expr, typing: Typing) -> exp.Expr:
    """Rewrite a tree from its leaves up."""
    for child in list(node.iter_expressions()):
        made = _rewritten(child, typing)
        if made is not child:
            child.replace(made)
    if isinstance(node, exp.Select):
        return _rows_as_json(rewrite_select(node))
    return rewrite_source(rewrite(node))


def _rows_as_json(node: exp.Expr) -> exp.Expr:
    """Have `json_agg` of a whole row make an object of it."""
    for found in list(node.find_all(exp.Anonymous)):
        whole = found.expressions[0] if found.name == "array_agg_ordered" else None
        if not isinstance(whole, exp.Column) or whole.table or found.find_ancestor(exp.Select) is not node:
            continue
        source = next((one for one in read_by(node) if one.alias_or_name == whole.name), None)
        if isinstance(source, exp.Subquery):
            parts: list[exp.Expr] = []
            for name, kind in columns_of(source.this).items():
                column = exp.column(name, table=whole.name, quoted=True)
                parts += [exp.Literal.string(name), call("json", column) if kind == "jsonb" else column]
            whole.replace(call("json_object", *parts))
    return node


class _Splitting:
    """Takes a rewritten statement apart."""

    def __init__(self, tree: exp.Expr, typing: Typing) -> None:
        self._typing = typing
        self._tables = common_tables(tree)
        self._names = {table.alias for table in self._tables}
        tree.set("with_", None)
        self._main = tree
        self._parts = [*(table.this for table in self._tables), tree]
        self._known: dict[str, exp.CTE] = {}
        self._steps: list[Step] = []

    def plan(self, columns: list[tuple[str, str]]) -> Plan:
        """Return the steps."""
        for place, table in enumerate(self._tables):
            if isinstance(table.this, Change):
                self._change(table.this, table.alias)
            elif self._is_taken_before(place):
                self._store(table.this, table.alias)
            else:
                self._known[table.alias] = table
        if isinstance(self._main, Change):
            self._change(self._main, "")
        else:
            self._add(self._main)
        is_change = any(isinstance(part, Change) for part in self._parts)
        return Plan(
            steps=tuple(self._steps),
            names=tuple(name for name, _type in columns),
            types=tuple(type for _name, type in columns),
            is_change=is_change,
        )

    def _change(self, change: exp.Expr, name: str) -> None:
        apart = take_apart(change, self._typing)
        change = rewrite_change(apart.change if apart else change)
        if apart is None:
            if name and change.args.get("returning"):
                self._store(change, name)
            else:
                self._add(change)
            return
        self._store(apart.pick, PICKED, {one.alias: "" for one in apart.pick.expressions})
        self._add(change)
        if name:
            self._store(apart.show, name)
        else:
            self._add(apart.show)

    def _store(self, query: exp.Expr, name: str, columns: dict[str, str] | None = None) -> None:
        """Add a step whose rows stand for a common table from now on."""
        known = columns if columns is not None else dict(self._typing.ctes[name])
        if any(kind in ("vector", "bytea") for kind in known.values()):
            raise Untranslatable(f"The rows of {name} hold bytes, which can't be handed on.")
        self._add(query, stores_as=f"{STORED}{name}")
        shown = [
            exp.alias_(call("json_extract", exp.column("value"), f"$[{place}]"), column, quoted=True)
            for place, column in enumerate(known)
        ]
        rows = exp.Table(this=call("json_each", exp.Placeholder(this=f"{STORED}{name}")))
        self._known[name] = exp.CTE(
            this=exp.select(*shown).from_(rows), alias=exp.TableAlias(this=exp.to_identifier(name))
        )

    def _add(self, body: exp.Expr, stores_as: str = "") -> None:
        needed = self._needed(body)
        if needed:
            body.set("with_", exp.With(expressions=[table.copy() for table in needed]))
        sql = body.sql(dialect="sqlite", unsupported_level=ErrorLevel.RAISE)
        self._steps.append(Step(sql=sql, stores_as=stores_as))

    def _needed(self, body: exp.Expr) -> list[exp.CTE]:
        wanted: dict[str, None] = {}

        def walk(tree: exp.Expr) -> None:
            for table in tree.find_all(exp.Table):
                if table.name in self._known and table.name not in wanted:
                    wanted[table.name] = None
                    walk(self._known[table.name].this)

        walk(body)
        return [table for name, table in self._known.items() if name in wanted]

    def _is_taken_before(self, place: int) -> bool:
        """Tell whether a common table reads what a later step changes before its last reader runs."""
        name, reads = self._tables[place].alias, self._reads(self._parts[place])
        for later in range(place + 1, len(self._parts)):
            part = self._parts[later]
            if not isinstance(part, Change) or target_of(part).name not in reads:
                continue
            if any(name in self._uses(after) for after in self._parts[later + 1 :]):
                return True
            if name in self._uses(part) and not _is_only_joined(part, name):
                return True
        return False

    def _reads(self, part: exp.Expr) -> set[str]:
        """Return which tables a part reads, also by way of common tables; a recursive one reads itself."""
        found: set[str] = set()
        parts = [part]
        while parts:
            new = {table.name for table in parts.pop().find_all(exp.Table)} - found
            found |= new
            parts += [self._known[name].this for name in new if name in self._known]
        return found

    def _uses(self, part: exp.Expr) -> set[str]:
        """Return which common tables a part reads, also by way of others."""
        found: set[str] = set()
        for table in part.find_all(exp.Table):
            if table.name in self._names and table.name not in found:
                found.add(table.name)
                other = next(one.this for one in self._tables if one.alias == table.name)
                found |= set() if isinstance(other, Change) or other is part else self._uses(other)
        return found


def _is_only_joined(change: exp.Expr, name: str) -> bool:
    """Tell whether a change reads the common table in its FROM alone, which SQLite reads to its end first."""
    joined = [source for source in read_by(change) if source.name == name]
    return len(joined) == sum(table.name == name for table in change.find_all(exp.Table))


__all__ = ["ROW", "Plan", "Step", "Untranslatable", "translate"]
