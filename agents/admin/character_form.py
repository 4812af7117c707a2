"""The form of a character: elizaOS' fields as a person writes them. The character's page shows and saves it.

What the form doesn't name, and what nobody changed, is kept exactly as it was.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminExpandableTextareaWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from agents.admin import character_text as text
from agents.characters import (
    CharacterDocument,
    CharacterFault,
    CharacterFileError,
    check_character,
    parse_character,
)
from agents.fields import EncryptionKeyError, seal
from agents.models import Character

JSONObject = dict[str, Any]


class LongTextField(forms.CharField):
    """Text of many lines, whose line ends are `\\n` whatever a browser makes of them."""

    def __init__(self, *, rows: int = 3, is_code: bool = False, **kwargs: Any) -> None:
        widget = UnfoldAdminTextareaWidget if is_code else UnfoldAdminExpandableTextareaWidget
        attrs = {"rows": rows, "class": "eliza-code"} if is_code else {"rows": rows}
        super().__init__(required=False, strip=False, widget=widget(attrs=attrs), **kwargs)

    def to_python(self, value: Any) -> str:
        """Return the text with plain line ends."""
        return str(super().to_python(value) or "").replace("\r\n", "\n").replace("\r", "\n")

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare what was shown with what came back, line ends aside."""
        return self.to_python(initial) != self.to_python(data)


@dataclass(frozen=True, kw_only=True)
class Part:
    """Where a form field stands in the document, and how its value is written and read."""

    path: tuple[str, ...]
    write: Callable[[Any], str]
    read: Callable[[str], Any]


def _plain(path: str) -> Part:
    return Part(path=(path,), write=str, read=str)


def _lines(*path: str) -> Part:
    return Part(path=path, write=text.write_lines, read=text.read_lines)


def _object(path: str) -> Part:
    return Part(path=(path,), write=text.write_json, read=text.read_json_object)


PARTS: dict[str, Part] = {
    "name": _plain("name"),
    "username": _plain("username"),
    "system": _plain("system"),
    "bio": _lines("bio"),
    "lore": _lines("lore"),
    "topics": _lines("topics"),
    "adjectives": _lines("adjectives"),
    "style_all": _lines("style", "all"),
    "style_chat": _lines("style", "chat"),
    "style_post": _lines("style", "post"),
    "message_examples": Part(
        path=("messageExamples",), write=text.write_conversations, read=text.read_conversations
    ),
    "post_examples": _lines("postExamples"),
    "knowledge": _lines("knowledge"),
    "plugins": _lines("plugins"),
    "templates": _object("templates"),
    "settings": _object("settings"),
}


class CharacterForm(forms.ModelForm):  # type: ignore[type-arg]
    """A character as elizaOS' fields; `cleaned_document` is what is to be saved."""

    username = forms.CharField(required=False, widget=UnfoldAdminTextInputWidget())
    system = LongTextField(label="System prompt", rows=4)
    bio = LongTextField(help_text="One line of the biography a line.")
    lore = LongTextField(help_text="One a line.")
    topics = LongTextField(help_text="What it knows of, one a line.")
    adjectives = LongTextField(help_text="What it is like, one a line.")
    style_all = LongTextField(label="Style, always", help_text="One rule a line.")
    style_chat = LongTextField(label="Style in chats", help_text="One rule a line.")
    style_post = LongTextField(label="Style of posts", help_text="One rule a line.")
    message_examples = LongTextField(
        rows=12,
        is_code=True,
        help_text="`Name: text` or `Name [ACTION, ACTION]: text`; a message's further lines begin with two "
        "spaces; an empty line ends a conversation. A JSON list is read too.",
    )
    post_examples = LongTextField(help_text="One a line, or a JSON list where posts have several lines.")
    knowledge = LongTextField(help_text="One a line, or a JSON list where files or directories are named.")
    plugins = LongTextField(help_text="One plugin's name a line.")
    templates = LongTextField(is_code=True, help_text="A JSON object: a prompt's name and its text.")
    settings = LongTextField(
        is_code=True, help_text="A JSON object. Secrets in it are taken out and encrypted."
    )
    new_secrets = LongTextField(
        label="Replace secrets",
        is_code=True,
        help_text='A JSON object, such as {"OPENAI_API_KEY": "…"}: each replaces the secret of that name or '
        "is added; null forgets it. Empty keeps all as they are. What is kept is never shown.",
    )

    cleaned_document: CharacterDocument

    class Meta:
        model = Character
        fields = ("name", "slug")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.document: JSONObject = copy.deepcopy(self.instance.document or {})
        if "slug" in self.fields:
            self.fields["slug"].required = False
            self.fields["slug"].help_text = "Its name in addresses and commands; empty: made from the name."
        for name, part in PARTS.items():
            value = _find(self.document, part.path)
            if value not in (None, ""):
                self.initial[name] = part.write(value)

    def clean(self) -> JSONObject:
        """Read every field, and check the whole as a character file is checked."""
        cleaned = super().clean() or self.cleaned_data
        document = copy.deepcopy(self.document)
        for name, part in PARTS.items():
            if name in self.changed_data and name in cleaned:
                try:
                    _place(document, part.path, part.read(cleaned[name]))
                except text.TextFormatError as error:
                    self.add_error(name, str(error))
        try:
            secrets = text.read_json_object(cleaned.get("new_secrets") or "")
        except text.TextFormatError as error:
            self.add_error("new_secrets", str(error))
            secrets = {}
        if not self.errors:
            self._check(document, secrets)
        return cleaned

    def _check(self, document: JSONObject, secrets: JSONObject) -> None:
        placed = place_secrets(self.instance.secrets or {}, secrets)
        for fault in check_character({"name": self.cleaned_data["name"], **placed}):
            self.add_error("new_secrets", str(fault))
        try:
            parsed = parse_character(json.dumps(document), source="the form")
        except CharacterFileError as error:
            for fault in error.faults:
                self.add_error(_field_of(fault), str(fault))
        else:
            # Where the settings and the field name the same secret, the field has the word.
            self.cleaned_document = replace(parsed, secrets=_merge(parsed.secrets, placed))
            self._check_key()

    def _check_key(self) -> None:
        """Refuse secrets while there is no key to encrypt them by."""
        try:
            seal(json.dumps(self.cleaned_document.secrets) if self.cleaned_document.secrets else "")
        except EncryptionKeyError as error:
            self.add_error("new_secrets" if self.cleaned_data.get("new_secrets") else "settings", str(error))


def name_secrets(secrets: JSONObject) -> list[str]:
    """Return where secrets are kept, and nothing of what they are."""
    return [".".join(path) for path in _secret_paths(secrets)]


def place_secrets(kept: JSONObject, given: JSONObject) -> JSONObject:
    """Return the given secrets where those of their names are kept, and new ones among the settings."""
    placed: JSONObject = {}
    for name, value in given.items():
        places = [path for path in _secret_paths(kept) if path[-1] == name]
        if isinstance(value, dict):
            places = [(name,)]
        for path in places or [("settings", "secrets", name)]:
            _place(placed, path, value)
    return placed


def _secret_paths(secrets: JSONObject, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    paths: list[tuple[str, ...]] = []
    for key, value in sorted(secrets.items()):
        here = (*above, key)
        paths += _secret_paths(value, here) if isinstance(value, dict) else [here]
    return paths


def other_keys(document: JSONObject) -> JSONObject:
    """Return what a document has and the form doesn't show."""
    rest = copy.deepcopy(document)
    for part in PARTS.values():
        if _find(rest, part.path) is not None:
            _place(rest, part.path, "")
    return {key: value for key, value in rest.items() if value not in ({}, None)}


def _merge(below: JSONObject, above: JSONObject) -> JSONObject:
    merged = dict(below)
    for key, value in above.items():
        inner = merged.get(key)
        merged[key] = _merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _find(document: JSONObject, path: tuple[str, ...]) -> Any:
    value: Any = document
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _place(document: JSONObject, path: tuple[str, ...], value: Any) -> None:
    *parents, last = path
    for key in parents:
        document = document.setdefault(key, {})
    if value in ("", [], {}):
        document.pop(last, None)
    else:
        document[last] = value


def _field_of(fault: CharacterFault) -> str | None:
    named = [
        name
        for name, part in PARTS.items()
        if fault.path == (place := ".".join(part.path)) or fault.path.startswith((f"{place}.", f"{place}["))
    ]
    return named[0] if named else None
