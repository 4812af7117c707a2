"""What a character file must look like, over elizaOS' 0.25, 1.x and 2.x lines. The faults are collected.

Keys that none of the lines knows are left alone: they are kept as they stand, and `remarks` names them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any
from uuid import UUID

from agents.characters.documents import (
    WHOLE,
    CharacterFault,
    JSONObject,
    describe_kind,
    fault,
    place,
)
from agents.characters.storable import find_unstorable
from agents.cleaning import compose

MAX_NAME_CHARACTERS = 100
MAX_FAULTS = 100
_NOT_IN_A_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")

Faults = Iterator[CharacterFault]
Rule = Callable[[Any, str], Faults]


def check_character(data: object) -> list[CharacterFault]:
    """Return what is wrong with a parsed character file, of very much the first; nothing where it is right."""
    return _first(find_unstorable(data, WHOLE)) or _first(_character(data))


def _first(faults: Faults) -> list[CharacterFault]:
    found = list(islice(faults, MAX_FAULTS + 1))
    if len(found) > MAX_FAULTS:
        expected, got = f"at most {MAX_FAULTS} mistakes", "more: those before this line are the first"
        found[-1] = CharacterFault(path=WHOLE, expected=expected, got=got)
    return found


def _character(data: object) -> Faults:
    if not isinstance(data, dict):
        yield fault(WHOLE, 'one character: an object with a "name"', data)
        return
    character, path = opened(data)
    if wrong := _wrong_wrapper(character, path):
        yield wrong
        return
    yield from _name(character.get("name"), place(path, "name"))
    for key, rule in _RULES.items():
        if character.get(key) is not None:
            yield from rule(character[key], place(path, key))


def opened(data: JSONObject) -> tuple[JSONObject, str]:
    """Return the character of a file, and its place there."""
    return (data["character"], "character") if is_wrapped(data) else (data, WHOLE)


def is_wrapped(data: JSONObject) -> bool:
    """Tell whether the file is elizaOS' agent, which holds its character under `character`."""
    return data.get("name") is None and isinstance(data.get("character"), dict)


def _wrong_wrapper(data: JSONObject, path: str) -> CharacterFault | None:
    """Return what is wrong with a nameless file around characters that can't be opened; None where it is none."""
    if data.get("name") is not None:
        return None
    if (character := data.get("character")) is not None:
        return fault(place(path, "character"), 'the character itself: an object with a "name"', character)
    if (agents := data.get("agents")) is not None:
        expected = "one character in a file: save each of them as a file of its own"
        return fault(place(path, "agents"), expected, agents)
    return None


def _name(value: Any, path: str) -> Faults:
    if not isinstance(value, str) or not value.strip():
        yield (
            fault(path, "a name: text that isn't empty", value)
            if value is not None
            else CharacterFault(path=path, expected="a name: text that isn't empty", got="nothing")
        )
    elif (length := len(compose(value.strip()))) > MAX_NAME_CHARACTERS:
        yield CharacterFault(path=path, expected=f"at most {MAX_NAME_CHARACTERS} characters", got=f"{length}")
    elif _NOT_IN_A_LINE.search(value.strip()):
        yield fault(path, "a name in one line, without control characters", value)


def _text(value: Any, path: str) -> Faults:
    if not isinstance(value, str):
        yield fault(path, "text", value)


def _truth(value: Any, path: str) -> Faults:
    if not isinstance(value, bool):
        yield fault(path, "true or false", value)


def _object(value: Any, path: str) -> Faults:
    if not isinstance(value, dict):
        yield fault(path, "an object", value)


def _uuid(value: Any, path: str) -> Faults:
    try:
        UUID(value)
    except (ValueError, TypeError, AttributeError):
        yield fault(path, "a UUID, or no id at all", value)


def _texts(value: Any, path: str) -> Faults:
    if not isinstance(value, list):
        yield fault(path, "a list of texts", value)
        return
    for position, entry in enumerate(value):
        yield from _text(entry, place(path, position))


def _text_or_texts(value: Any, path: str) -> Faults:
    if isinstance(value, list):
        yield from _texts(value, path)
    elif not isinstance(value, str):
        yield fault(path, "text or a list of texts", value)


def _conversations(value: Any, path: str) -> Faults:
    if not isinstance(value, list):
        yield fault(path, "a list of conversations", value)
        return
    for position, entry in enumerate(value):
        here = place(path, position)
        if isinstance(entry, dict) and isinstance(entry.get("examples"), list):
            entry, here = entry["examples"], place(here, "examples")
        if not isinstance(entry, list):
            yield fault(here, "a conversation: a list of messages", entry)
            continue
        for number, message in enumerate(entry):
            yield from _message(message, place(here, number))


def _message(value: Any, path: str) -> Faults:
    if not isinstance(value, dict):
        yield fault(path, 'a message: an object with "name" and "content"', value)
        return
    key = "user" if "user" in value and "name" not in value else "name"
    if not isinstance(value.get(key), str):
        yield fault(place(path, key), "the speaker's name", value.get(key))
    content = value.get("content")
    here = place(path, "content")
    if not isinstance(content, dict):
        yield fault(here, 'an object with "text"', content)
        return
    for name, rule in (("text", _text), ("action", _text), ("actions", _texts), ("providers", _texts)):
        if content.get(name) is not None:
            yield from rule(content[name], place(here, name))


def _style(value: Any, path: str) -> Faults:
    yield from _object(value, path)
    if isinstance(value, dict):
        for key in ("all", "chat", "post"):
            if value.get(key) is not None:
                yield from _texts(value[key], place(path, key))


def _knowledge(value: Any, path: str) -> Faults:
    if not isinstance(value, list):
        yield fault(path, "a list of knowledge sources", value)
        return
    for position, entry in enumerate(value):
        if not _is_knowledge_source(entry):
            yield fault(place(path, position), 'text, or an object with "path" or "directory"', entry)


def _is_knowledge_source(entry: Any) -> bool:
    if isinstance(entry, str):
        return True
    if not isinstance(entry, dict):
        return False
    item = entry.get("item")
    if isinstance(item, dict):
        entry = {**entry, str(item.get("case")): item.get("value")}
    directory = entry.get("directory")
    if isinstance(directory, dict):
        directory = directory.get("path")
    shared = entry.get("shared")
    return (shared is None or isinstance(shared, bool)) and (
        isinstance(entry.get("path"), str) or isinstance(directory, str)
    )


def _plugins(value: Any, path: str) -> Faults:
    if not isinstance(value, list):
        yield fault(path, "a list of plugin names", value)
        return
    for position, entry in enumerate(value):
        named = entry.get("name") if isinstance(entry, dict) else entry
        if not isinstance(named, str):
            yield fault(place(path, position), "a plugin's name", entry)


def _templates(value: Any, path: str) -> Faults:
    yield from _object(value, path)
    if isinstance(value, dict):
        for key, template in value.items():
            yield from _text(template, place(path, key))


def _settings(value: Any, path: str) -> Faults:
    yield from _object(value, path)
    if isinstance(value, dict) and value.get("secrets") is not None:
        yield from _secrets(value["secrets"], place(path, "secrets"))


def _secrets(value: Any, path: str) -> Faults:
    if not isinstance(value, dict):
        yield CharacterFault(path=path, expected="an object", got=describe_kind(value))
        return
    for key, secret in value.items():
        if secret is not None and not isinstance(secret, (str, bool, int, float)):
            yield CharacterFault(
                path=place(path, key), expected="text, a number, true or false", got=describe_kind(secret)
            )


_RULES: dict[str, Rule] = {
    "id": _uuid,
    "username": _text,
    "system": _text,
    "bio": _text_or_texts,
    "lore": _text_or_texts,
    "messageExamples": _conversations,
    "message_examples": _conversations,
    "postExamples": _texts,
    "post_examples": _texts,
    "topics": _texts,
    "adjectives": _texts,
    "style": _style,
    "knowledge": _knowledge,
    "documents": _knowledge,
    "plugins": _plugins,
    "templates": _templates,
    "settings": _settings,
    "secrets": _secrets,
    "modelProvider": _text,
    "clients": _texts,
    "clientConfig": _object,
    "twitterProfile": _object,
    "extends": _texts,
    "advancedPlanning": _truth,
    "advancedMemory": _truth,
}
_UNUSED = {
    "email",
    "imageModelProvider",
    "imageVisionModelProvider",
    "instagramProfile",
    "modelEndpointOverride",
    "nft",
    "simsaiProfile",
}
"""Keys of elizaOS' 0.25 line that are kept and mean nothing here."""
KNOWN_KEYS = ("name", *_RULES, *_UNUSED)
