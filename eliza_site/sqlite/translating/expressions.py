"""Says parts of a statement in SQLite's words: operators, functions, casts. What reads tables is in `sources.py`.

Called from the leaves up, once for each node; the functions that are named here are those of `functions.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from eliza_site.sqlite.translating.errors import Untranslatable
from eliza_site.sqlite.translating.reading import PLACEHOLDER, is_placeholder, type_name, type_of

NOW = "now_"
"""The parameter that holds the statement's time."""
_NUMBERS = {"int": "integer", "float": "real"}
_AS_THEY_ARE = {"uuid", "text", "jsonb", "timestamptz", "bool", "vector"}
_RENAMED = {
    "cardinality": "json_array_length",
    "jsonb_array_length": "json_array_length",
}
_KNOWN = {
    "array_replace", "convert_to", "cosine_distance", "hashtextextended", "json_array_length", "jsonb_agg",
    "pg_advisory_xact_lock", "vector_dims",
}  # fmt: skip
_RESERVED = {
    "with",
    "order",
    "group",
    "end",
    "from",
    "to",
    "as",
    "where",
    "select",
    "index",
    "table",
    "values",
}


def call(name: str, *arguments: exp.Expr | str | int, type: str = "") -> exp.Expr:
    """Build the call of a function of `functions.py`, or of SQLite's own."""
    made = exp.Anonymous(
        this=name,
        expressions=[
            one if isinstance(one, exp.Expr) else exp.Literal.number(one) if isinstance(one, int)
            else exp.Literal.string(one)
            for one in arguments
        ],
    )  # fmt: skip
    made.meta["type"] = type
    return made


def now() -> exp.Expr:
    """Build what stands for the time."""
    made = exp.Placeholder(this=NOW)
    made.meta["type"] = "timestamptz"
    return made


def elements_of(array: exp.Expr) -> exp.Select:
    """Build the query of an array's elements."""
    return exp.select(exp.column("value")).from_(exp.Table(this=call("json_each", array.copy())))


def rewrite(node: exp.Expr) -> exp.Expr:
    """Return what stands for the node, whose parts are rewritten already.

    Raises: Untranslatable.
    """
    for kind, rule in _RULES.items():
        if isinstance(node, kind):
            made = rule(node)
            if made is not node:
                # Also where it is a part of the node: a cast that needs no word is still of its own type.
                made.meta["type"] = type_of(node) or type_of(made)
            return made
    return node


def _column(node: exp.Column) -> exp.Expr:
    if is_placeholder(node):
        return exp.Placeholder(this=node.name.removeprefix(PLACEHOLDER))
    return node


def _identifier(node: exp.Identifier) -> exp.Expr:
    if node.name.lower() in _RESERVED:
        node.set("quoted", True)
    return node


def _cast(node: exp.Cast) -> exp.Expr:
    kind = type_name(node.to)
    inner: exp.Expr = node.this
    if kind.endswith("[]"):
        if isinstance(inner, exp.Literal):
            return exp.Literal.string(inner.name.replace("{", "[").replace("}", "]"))
        return inner
    if kind in _NUMBERS:
        return exp.Cast(this=inner, to=exp.DataType.build(_NUMBERS[kind], dialect="sqlite"))
    if kind == "vector" or kind.startswith("vector("):
        return call("vector_binary", inner)
    if kind == "timestamptz" and type_of(inner) == "text":
        return call("to_time", inner)
    if kind == "text" and type_of(inner) == "jsonb" and isinstance(node.args["this"], exp.Paren):
        return call("json_canonical", inner)
    if kind == "text" and type_of(inner) in ("int", "float"):
        return exp.Cast(this=inner, to=exp.DataType.build("text", dialect="sqlite"))
    if kind in _AS_THEY_ARE:
        return inner
    raise Untranslatable(f"SQLite has nothing like the type {kind}.")


def _sum(node: exp.Binary) -> exp.Expr:
    left, right = node.left, node.right
    if type_of(left) == "timestamptz" and type_of(right) == "timestamptz":
        return call("time_difference", left, right)
    if type_of(left) == "timestamptz" and type_of(right) == "interval":
        return call("time_add", left, right if isinstance(node, exp.Add) else exp.Neg(this=exp.paren(right)))
    return node


def _interval(node: exp.MakeInterval) -> exp.Expr:
    seconds = node.args["second"]
    return exp.paren(seconds.expression if isinstance(seconds, exp.Kwarg) else seconds)


def _extract(node: exp.Extract) -> exp.Expr:
    inner = node.expression
    return inner if type_of(inner) == "interval" else call("time_epoch", inner)


def _any(node: exp.EQ) -> exp.Expr:
    if isinstance(node.expression, exp.Any):
        array = node.expression.this.unnest()
        return exp.In(this=node.this, query=exp.Subquery(this=elements_of(array)))
    return node


def _joined(node: exp.DPipe) -> exp.Expr:
    kinds = type_of(node.left), type_of(node.right)
    if "jsonb" in kinds:
        return call("jsonb_concat", node.left, node.right)
    if any(kind.endswith("[]") for kind in kinds):
        return call("array_cat", node.left, node.right)
    return node


def _bracket(node: exp.Bracket) -> exp.Expr:
    index = node.expressions[0]
    array = node.this.unnest()
    if isinstance(index, exp.Slice):
        return call(
            "array_slice", array, index.args.get("this") or 1, index.args.get("expression") or exp.null()
        )
    # sqlglot has counted constants from 0 already; PostgreSQL counts from 1.
    return call("array_element", array, index if isinstance(index, exp.Literal) else exp.paren(index) - 1)


def _array(node: exp.Array) -> exp.Expr:
    query = node.expressions[0]
    shown = query.find(exp.Select)
    alias = shown.expressions[0].alias_or_name if shown else ""
    if not isinstance(query, exp.Select) or not alias:
        raise Untranslatable("An array is made of one query of a named column here.")
    listed = exp.select(call("json_group_array", exp.column(alias)))
    return exp.Subquery(this=listed.from_(exp.Subquery(this=query, alias=exp.to_identifier("listed"))))


def _array_agg(node: exp.Expr) -> exp.Expr:
    inner = node.expressions[0] if isinstance(node, exp.Anonymous) else node.this
    if isinstance(inner, exp.Distinct):
        return call("array_agg_distinct", *_as_json(inner.expressions[0]))
    if isinstance(inner, exp.Order):
        keys = [ordered.this for ordered in inner.expressions]
        return call("array_agg_ordered", *_as_json(inner.this), *keys)
    return call("array_agg_ordered", *_as_json(inner))


def _as_json(value: exp.Expr) -> tuple[exp.Expr, exp.Expr]:
    """Return the value, and whether it is JSON itself."""
    return value, exp.Literal.number(int(type_of(value) == "jsonb"))


def _json_agg(node: exp.JSONArrayAgg) -> exp.Expr:
    return call("array_agg_ordered", node.this, 1)


def _anonymous(node: exp.Anonymous) -> exp.Expr:
    name = node.name.lower()
    if name in ("statement_timestamp", "clock_timestamp"):
        return now()
    if name == "jsonb_agg":
        return _array_agg(node)
    node.set("this", _RENAMED.get(name, name))
    return node


def _ordered(node: exp.Ordered) -> exp.Expr:
    """Leave NULLs where SQLite puts them, where there are none: it can't use an index otherwise."""
    if node.this.meta.get("filled"):
        node.set("nulls_first", not node.args.get("desc"))
    return node


def _literal(node: exp.Literal) -> exp.Expr:
    return exp.Literal.string("") if node.is_string and node.name == "-infinity" else node


_RULES: dict[type[exp.Expr], Callable[..., exp.Expr]] = {
    exp.Column: _column,
    exp.Identifier: _identifier,
    exp.Cast: _cast,
    exp.Add: _sum,
    exp.Sub: _sum,
    exp.MakeInterval: _interval,
    exp.Extract: _extract,
    exp.EQ: _any,
    exp.DPipe: _joined,
    exp.Bracket: _bracket,
    exp.Array: _array,
    exp.ArrayAgg: _array_agg,
    exp.JSONArrayAgg: _json_agg,
    exp.CurrentTimestamp: lambda _node: now(),
    exp.Anonymous: _anonymous,
    exp.Ordered: _ordered,
    exp.Literal: _literal,
    exp.ByteString: lambda node: exp.Literal.string(node.name),
    exp.ConcatWs: lambda node: call("concat_ws", *node.expressions),
    exp.Greatest: lambda node: call("greatest", node.this, *node.expressions),
    exp.Least: lambda node: call("least", node.this, *node.expressions),
    exp.LogicalOr: lambda node: exp.Max(this=node.this),
    exp.ArraySize: lambda node: call("json_array_length", node.this),
    exp.ArrayPosition: lambda node: call("array_position", node.this, node.expression),
    exp.ArrayContainsAll: lambda node: call("json_contains", node.this, node.expression),
    exp.JSONBContainsTopKey: lambda node: call(
        "jsonb_exists_any", node.this, call("json_array", node.expression)
    ),
    exp.JSONBContainsAnyTopKeys: lambda node: call("jsonb_exists_any", node.this, node.expression),
    exp.Encode: lambda node: call("encode", node.this, node.args["charset"]),
    exp.SHA2Digest: lambda node: call("sha256", node.this),
    exp.Chr: lambda node: call("char", *node.expressions),
    exp.Uuid: lambda _node: call("gen_random_uuid"),
}
