"""Says changes in SQLite's words: UPDATE, DELETE and INSERT, with what they return.

SQLite's RETURNING knows the changed table's columns alone. Where a statement returns others, it is taken apart: which
rows are meant is picked first, with what is asked of the other tables; these are changed; then they are shown.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from eliza_site.sqlite.translating.expressions import call
from eliza_site.sqlite.translating.reading import Typing, read_by, type_of
from eliza_site.sqlite.translating.tables import find_table

ROW = "row_"
PICKED = "picked_"
Change = exp.Update | exp.Delete | exp.Insert


@dataclass(frozen=True)
class Apart:
    """A change in three: a query of the rows, the change of what was picked, and the query of what it returns."""

    pick: exp.Select
    change: exp.Expr
    show: exp.Select


def target_of(change: exp.Expr) -> exp.Expr:
    """Return the table that the statement changes."""
    found: exp.Expr = change.this.this if isinstance(change.this, exp.Schema) else change.this
    return found


def rewrite_change(change: exp.Expr) -> exp.Expr:
    """Return the change without what SQLite has no word for, whose parts are rewritten already."""
    if isinstance(change, exp.Insert):
        _rewrite_vectors(change)
        _rewrite_conflict(change)
    if isinstance(change, exp.Delete) and change.args.get("using"):
        _rewrite_using(change)
    if isinstance(change, exp.Update):
        _rewrite_arrays(change)
    return change


def take_apart(change: exp.Expr, typing: Typing) -> Apart | None:
    """Return the change in three where it returns what is not of its table, else None: then it only loses the
    table's name in what it returns, which SQLite doesn't know there.
    """
    returning = change.args.get("returning")
    if returning is None:
        return None
    target = target_of(change)
    names = {target.alias_or_name, target.name}
    sources = typing.sources(change)
    own = sources[target.alias_or_name]
    foreign: list[exp.Column] = []
    for column in returning.find_all(exp.Column):
        if column.find_ancestor(exp.Select, exp.Returning) is not returning:
            if column.table == target.alias_or_name:
                column.set("table", exp.to_identifier(target.name))
        elif column.table in names or (not column.table and column.name in own):
            column.set("table", None)
        else:
            foreign.append(column)
    return _apart(change, target, foreign) if foreign else None


def _apart(change: exp.Expr, target: exp.Expr, foreign: list[exp.Column]) -> Apart:
    alias = target.alias_or_name
    asked = list({column.sql(): column.copy() for column in foreign}.values())
    places = {column.sql(): f"a{place}_" for place, column in enumerate(asked)}
    pick = exp.select(
        exp.alias_(exp.column("rowid", table=alias), ROW),
        *(exp.alias_(column, places[column.sql()]) for column in asked),
    ).from_(target.copy())
    for source in read_by(change):
        bare = source.copy()
        bare.set("joins", None)
        pick = pick.join(bare, on=exp.true())
    conditions = [change.args["where"].this] if change.args.get("where") else []
    conditions += [join.args["on"] for join in _joins(change) if join.args.get("on")]
    pick = pick.where(*(condition.copy() for condition in conditions))
    returning = change.args["returning"].copy()
    change.set("returning", None)
    for column in list(returning.find_all(exp.Column)):
        if column.find_ancestor(exp.Select, exp.Returning) is not returning:
            continue
        if column.sql() in places:
            column.replace(exp.column(places[column.sql()], table=PICKED))
        else:
            column.set("table", exp.to_identifier(alias))
    show = exp.select(*returning.expressions).from_(exp.to_table(PICKED))
    show = show.join(target.copy(), on=exp.column("rowid", table=alias).eq(exp.column(ROW, table=PICKED)))
    picked = exp.select(exp.column(ROW)).from_(exp.to_table(PICKED))
    only = exp.In(this=exp.column("rowid", table=alias), query=exp.Subquery(this=picked))
    where = change.args.get("where")
    change.set("where", exp.Where(this=exp.and_(where.this, only) if where else only))
    return Apart(pick, change, show)


def _joins(change: exp.Expr) -> list[exp.Expr]:
    source = change.args.get("from_")
    return list(source.this.args.get("joins") or []) if source else []


def _rewrite_vectors(insert: exp.Insert) -> None:
    """Have vectors kept in their binary form, however a parameter brings them."""
    table = find_table(target_of(insert).name)
    if table is None or not isinstance(insert.this, exp.Schema):
        return
    for place, column in enumerate(insert.this.expressions):
        if table.columns.get(column.name) == "vector" and isinstance(insert.expression, exp.Values):
            for row in insert.expression.expressions:
                row.expressions[place].replace(call("vector_binary", row.expressions[place].copy()))


def _rewrite_conflict(insert: exp.Insert) -> None:
    conflict = insert.args.get("conflict")
    if conflict is None:
        return
    query = insert.expression
    if isinstance(query, exp.Select) and not query.args.get("where"):
        # Otherwise SQLite takes ON CONFLICT for a join's condition.
        query.set("where", exp.Where(this=exp.true()))
    keys = [
        key.this if isinstance(key, exp.Ordered) else key for key in conflict.args.get("conflict_keys") or []
    ]
    table = find_table(target_of(insert).name)
    names = {key.name for key in keys}
    if table and any(set(key) == names for key in table.null_keys):
        keys = [key if key.name in table.filled else exp.Coalesce(this=key, expressions=[exp.Literal.string("")])
                for key in _in_order(keys, table.null_keys)]  # fmt: skip
    conflict.set("conflict_keys", keys)


def _in_order(keys: list[exp.Expr], orders: tuple[tuple[str, ...], ...]) -> list[exp.Expr]:
    by_name = {key.name: key for key in keys}
    order = next(order for order in orders if set(order) == set(by_name))
    return [by_name[name] for name in order]


def _rewrite_using(delete: exp.Delete) -> None:
    target = target_of(delete)
    which = exp.column("rowid", table=target.alias_or_name)
    query = exp.select(which.copy()).from_(target.copy())
    for source in delete.args["using"]:
        query = query.join(source, on=exp.true())
    query = query.where(delete.args["where"].this)
    delete.set("using", None)
    delete.set("where", exp.Where(this=exp.In(this=which, query=exp.Subquery(this=query))))


def _rewrite_arrays(update: exp.Update) -> None:
    for one in update.expressions:
        is_array = type_of(one.this).endswith("[]") and isinstance(one.expression, exp.Literal)
        if is_array and one.expression.name == "{}":
            one.set("expression", call("json_array"))
