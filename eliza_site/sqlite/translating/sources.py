"""Says in SQLite's words what a query reads: arrays and JSON as rows, `DISTINCT ON`; locks are left out.

There is one writer at a time, so whoever reads within a transaction has what PostgreSQL's row locks give.
"""

from __future__ import annotations

from sqlglot import exp

from eliza_site.sqlite.translating.errors import Untranslatable
from eliza_site.sqlite.translating.expressions import call
from eliza_site.sqlite.translating.reading import column_names, type_name

RANK = "rank_"


def rewrite_source(node: exp.Expr) -> exp.Expr:
    """Return what stands for a part of a FROM, or the node itself.

    Raises: Untranslatable.
    """
    if isinstance(node, exp.Unnest):
        return _unnest(node)
    if isinstance(node, exp.Table) and isinstance(node.this, exp.Anonymous):
        return _function(node)
    if isinstance(node, exp.Join) and node.kind == "CROSS":
        # SQLite takes the word for an order in which tables are to be read.
        node.set("kind", None)
        node.set("on", exp.true())
    if isinstance(node, exp.Lateral):
        raise Untranslatable("SQLite has no LATERAL.")
    return node


def rewrite_select(node: exp.Select) -> exp.Expr:
    """Return the query without its locks, and with `DISTINCT ON` as the first of each group."""
    node.set("locks", None)
    distinct = node.args.get("distinct")
    if distinct is None or distinct.args.get("on") is None:
        return node
    keys = distinct.args["on"]
    order = node.args.get("order")
    rank = exp.Window(
        this=exp.RowNumber(),
        partition_by=list(keys.expressions) if isinstance(keys, exp.Tuple) else [keys],
        order=order.copy() if order else None,
        over="OVER",
    )
    names = [f"c{place}_" for place in range(len(node.expressions))]
    shown = [
        exp.alias_(exp.column(name), one.alias_or_name) if one.alias_or_name else exp.column(name)
        for name, one in zip(names, node.expressions, strict=True)
    ]
    inner = node.copy()
    inner.set("distinct", None)
    inner.set("order", None)
    inner.set(
        "expressions",
        [
            *(exp.alias_(one.unalias(), name) for one, name in zip(inner.expressions, names, strict=True)),
            exp.alias_(rank, RANK),
        ],
    )
    ranked = exp.select(*shown).from_(inner.subquery("ranked_")).where(exp.column(RANK).eq(1))
    ranked.meta.update(node.meta)
    return ranked


def _unnest(node: exp.Unnest) -> exp.Expr:
    alias = node.args.get("alias") or _alias("unnest")
    names = [column.name for column in alias.args.get("columns") or []]
    if not names:
        names = [alias.name] if len(node.expressions) == 1 else column_names(len(node.expressions))
    each = [
        exp.Table(this=call("json_each", array), alias=_alias(f"e{n}_"))
        for n, array in enumerate(node.expressions)
    ]
    query = exp.select(
        *(exp.alias_(exp.column("value", table=f"e{n}_"), name) for n, name in enumerate(names[: len(each)]))
    ).from_(each[0])
    for n, one in enumerate(each[1:], 1):
        query = query.join(one, on=exp.column("key", table=f"e{n}_").eq(exp.column("key", table="e0_")))
    ordinal = node.args.get("offset")
    if isinstance(ordinal, exp.Expr):
        query = query.select(exp.alias_(exp.column("key", table="e0_") + 1, ordinal.name))
    return exp.Subquery(this=query, alias=_alias(alias.name))


def _function(node: exp.Table) -> exp.Expr:
    name, alias = node.this.name.lower(), node.args["alias"]
    columns = alias.args.get("columns") or []
    each = exp.Table(this=call("json_each", *node.this.expressions), alias=_alias("e0_"))
    value = exp.column("value", table="e0_")
    if name == "jsonb_to_recordset":
        shown = [exp.alias_(_field(column), column.name, quoted=True) for column in columns]
    elif name in ("jsonb_array_elements", "jsonb_array_elements_text"):
        names = [column.name for column in columns] or [alias.name]
        element = (
            value if name.endswith("_text") else call("json_element", exp.column("type", table="e0_"), value)
        )
        shown = [exp.alias_(element, names[0])]
        if node.args.get("ordinality"):
            shown.append(exp.alias_(exp.column("key", table="e0_") + 1, names[1]))
    else:
        raise Untranslatable(f"SQLite has no function {name} that returns rows.")
    return exp.Subquery(this=exp.select(*shown).from_(each), alias=_alias(alias.name))


def _field(column: exp.ColumnDef) -> exp.Expr:
    kind, value = type_name(column.args["kind"]), exp.column("value", table="e0_")
    path = f'$."{column.name}"'
    if kind == "jsonb" or kind.endswith("[]"):
        return call("json_field", value, column.name)
    found = call("json_extract", value, path)
    return call("to_time", found) if kind == "timestamptz" else found


def _alias(name: str) -> exp.TableAlias:
    return exp.TableAlias(this=exp.to_identifier(name))
