"""Reads an answer that is to be an object of a schema, by whichever way the model wrote it.

A tool's arguments, JSON, JSON within a fence or among words, one level deeper than asked, a bare list, elizaOS'
XML, and, where plain words will do, those. `agents.questions` calls it. Nothing here raises: what is no answer
is None, and what of an answer has another shape is left out. Its words are composed (NFC).
"""

from __future__ import annotations

import html
import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from plugins.api import Question

LONGEST_CHARACTERS = 200_000
MOST_STARTS = 20
"""So many places are tried where JSON may begin among words."""
MOST_ITEMS = 50
DEEPEST = 12

TOOL, JSON, XML, TEXT, NONE = "tool", "json", "xml", "text", "none"

_FENCE = re.compile(r"```[a-zA-Z]*\s*\n?(.*?)```", re.DOTALL)
_START = re.compile(r"[{\[]")
_TAG = re.compile(r"<(/?)([A-Za-z_][\w-]*)[^<>]*?(/?)>")
_NUMBER = re.compile(r"\D{0,2}(-?\d{1,9})\D{0,2}")


def read_object(
    text: str, question: Question, *, is_tool_call: bool = False
) -> tuple[dict[str, Any] | None, str]:
    """Read the object that the question asks for, and say by which path it came.

    Keys of the schema that the answer lacks, or whose values have no sense, are left out.
    """
    text = text[:LONGEST_CHARACTERS].strip()
    path = TOOL if is_tool_call else JSON
    for found in _documents(text):
        wanted = _wanted(found, question)
        if wanted is not None:
            return shaped(wanted, question.schema, question.aliases), path
    if _TAG.search(text):
        wanted = _wanted(_read_xml(text), question)
        if wanted is not None:
            return shaped(wanted, question.schema, question.aliases), XML
    rescued = _rescued(text, question)
    if rescued:
        return shaped({question.list_key: rescued}, question.schema, question.aliases), path
    words = _FENCE.sub(r"\1", text).strip()
    if question.text_key and words and not words.startswith(("{", "[", "<")):
        return {question.text_key: _words(words)}, TEXT
    return None, NONE


def _documents(text: str) -> Iterator[Any]:
    """Yield what can be read as JSON: the whole, what is fenced, what begins among words, and objects further on."""
    for part in (text, *_FENCE.findall(text)):
        yield from _decoded(part.strip(), 0)[:1]
    for number, match in enumerate(_START.finditer(text)):
        if number >= MOST_STARTS:
            return
        for found in _decoded(text, match.start())[:1]:
            # A list further on is a part of something, and not the answer.
            if number == 0 or isinstance(found, dict):
                yield found


def _rescued(text: str, question: Question) -> list[Any]:
    """Return the whole items of a list whose end is missing, as where an answer was cut off."""
    items = question.schema.get("properties", {}).get(question.list_key, {}).get("items", {})
    properties, start = set(items.get("properties", {})), text.find(f'"{question.list_key}"')
    found: list[Any] = []
    while question.list_key and start >= 0 and len(found) < MOST_ITEMS:
        start = text.find("{", start)
        decoded = _decoded(text, start) if start >= 0 else []
        if not decoded or not isinstance(decoded[0], dict) or len(properties & set(decoded[0])) < 2:
            break
        found.append(decoded[0])
        start = decoded[1]
    return found


def _decoded(text: str, start: int) -> list[Any]:
    """Return the object or list that begins here, and where it ends; nothing where none does."""
    try:
        found, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return []
    return [found, end] if isinstance(found, dict | list) else []


def _wanted(found: Any, question: Question) -> dict[str, Any] | None:
    """Return the object that was asked for, or None: itself, or one level deeper, or made of a bare list."""
    if isinstance(found, dict):
        if _has_keys(found, question):
            return found
        inner = [value for value in found.values() if isinstance(value, dict) and _has_keys(value, question)]
        if inner:
            return inner[0]
        lists = [value for value in found.values() if isinstance(value, list)]
        if len(found) == 1 and lists:
            return _of_list(lists[0], question)
    return _of_list(found, question) if isinstance(found, list) else None


def _of_list(found: list[Any], question: Question) -> dict[str, Any] | None:
    parts = [item for item in found if isinstance(item, dict) and _has_keys(item, question)]
    if parts:
        return _joined(parts)
    if question.list_key and all(isinstance(item, dict | str) for item in found):
        return {question.list_key: found}
    return None


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Join several objects, as of a tool that was called once for each thing: lists are put together."""
    joined: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            is_list = isinstance(joined.get(key), list) and isinstance(value, list)
            joined[key] = [*joined[key], *value] if is_list else value
    return joined


def _has_keys(found: Mapping[str, Any], question: Question) -> bool:
    names = {question.aliases.get(str(key), str(key)) for key in found}
    return not names.isdisjoint(question.schema.get("properties", {}))


# Shaping by the schema -----------------------------------------------------------------------------------


def shaped(value: Any, schema: Mapping[str, Any], aliases: Mapping[str, str]) -> Any:
    """Return the value as the schema has it, or None where it makes no sense.

    Of an object, keys that the schema does not know are dropped; one thing stands for a list of one.
    """
    kinds = schema.get("type", "string")
    kind = next((one for one in kinds if one != "null"), "null") if isinstance(kinds, list) else kinds
    if value is None:
        return None
    if kind == "object":
        return _shaped_object(value, schema, aliases)
    if kind == "array":
        return _shaped_list(value, schema.get("items", {}), aliases)
    if kind == "integer":
        return _integer(value)
    if kind == "number":
        return _number(value)
    return _words(value)


def _shaped_object(
    value: Any, schema: Mapping[str, Any], aliases: Mapping[str, str]
) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        return None
    properties = schema.get("properties", {})
    made: dict[str, Any] = {}
    for key, inner in value.items():
        name = key if key in properties else aliases.get(str(key), "")
        if name in properties and name not in made:
            result = shaped(inner, properties[name], aliases)
            if result is not None:
                made[name] = result
    return made


def _shaped_list(value: Any, items: Mapping[str, Any], aliases: Mapping[str, str]) -> list[Any]:
    if isinstance(value, dict):
        known = {aliases.get(str(key), str(key)) for key in value}
        is_item = not known.isdisjoint(items.get("properties", {}))
        # elizaOS' XML has the items within an element each: facts, in it fact, fact, …
        value = [value] if is_item or len(value) != 1 else next(iter(value.values()))
    if isinstance(value, str) and items.get("type") == "integer":
        value = re.findall(r"\d{1,9}", value)
    elif isinstance(value, str) and items.get("type") == "string":
        value = [part for part in value.split(",") if part.strip()]
    entries = value if isinstance(value, list) else [value]
    made = [shaped(entry, items, aliases) for entry in entries[:MOST_ITEMS]]
    return [entry for entry in made if entry not in (None, "", {})]


def _integer(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value == int(value) else None
    if isinstance(value, int):
        return value
    found = _NUMBER.fullmatch(value.strip()) if isinstance(value, str) else None
    return int(found.group(1)) if found else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _words(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return unicodedata.normalize("NFC", str(value)).strip()


# elizaOS' XML --------------------------------------------------------------------------------------------


def _read_xml(text: str) -> Any:
    """Read elements into dicts, by tags alone: no entities but the five, no attributes, unclosed ones forgiven."""
    root: dict[str, Any] = {}
    stack: list[tuple[str, dict[str, Any], int]] = [("", root, 0)]
    for tag in _TAG.finditer(text):
        is_closing, name, is_empty = tag.group(1), tag.group(2), tag.group(3)
        if is_closing:
            if any(open_name == name for open_name, _children, _start in stack[1:]):
                _close(stack, name, text, tag.start())
        elif not is_empty and len(stack) <= DEEPEST:
            stack.append((name, {}, tag.end()))
    while len(stack) > 1:
        _close(stack, stack[-1][0], text, len(text))
    return root.get("response", root)


def _close(stack: list[tuple[str, dict[str, Any], int]], name: str, text: str, end: int) -> None:
    """End the innermost element of this name, and those within it that were left open."""
    while True:
        open_name, children, start = stack.pop()
        value: Any = children or html.unescape(text[start:end].strip())
        into = stack[-1][1]
        if open_name in into:
            before = into[open_name]
            into[open_name] = [*before, value] if isinstance(before, list) else [before, value]
        else:
            into[open_name] = value
        if open_name == name:
            return
