"""Saves characters, a version for each changed save, and puts each to work as an agent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from django.db import models, transaction
from django.db.models import F, Q
from django.utils.text import slugify

from agents.characters.documents import CharacterDocument
from agents.characters.secrets import update_secrets
from agents.cleaning import clean_words
from agents.models import Agent, Character, CharacterVersion

_SLUG_CHARACTERS = 90


class CharacterConflictError(ValueError):
    """The document's id is one character's, its name another's; or its slug is taken."""


class UnknownCharacterError(LookupError):
    """No character has that name, slug or id."""


@dataclass(frozen=True, kw_only=True)
class SavedCharacter:
    """What saving did: the character, its agent, and whether anything changed."""

    character: Character
    agent: Agent
    outcome: Literal["created", "updated", "unchanged"]


def save_character(
    document: CharacterDocument, *, slug: str | None = None, character: Character | None = None
) -> Character:
    """Create or update the character of the document's id or name, with a version and a running agent.

    With `character` it is that one, whatever its new name. Secrets that the document doesn't name are kept.
    Content that didn't change makes no new version.
    Raises: CharacterConflictError where id, name and slug are of different characters.
    """
    return _save(document, slug, character).character


def save_characters(documents: Iterable[CharacterDocument]) -> list[SavedCharacter]:
    """Save all of them or, where one can't be saved, none."""
    with transaction.atomic():
        return [_save(document, None) for document in documents]


def get_character(key: str) -> Character:
    """Return the character of this name, slug or id.

    Raises: UnknownCharacterError, which names those that exist.
    """
    key = clean_words(key)
    wanted = Q(name__iexact=key) | Q(slug=key)
    identity = _uuid(key)
    if identity is not None:
        wanted |= Q(pk=identity)
    found = sorted(Character.objects.filter(wanted), key=lambda character: character.name != key)
    if not found:
        names = ", ".join(Character.objects.values_list("name", flat=True)[:20])
        raise UnknownCharacterError(f"no character is called {key!r}; there are: {names or 'none'}")
    return found[0]


def stored_document(character: Character) -> CharacterDocument:
    """Return a saved character's document, secrets apart."""
    return CharacterDocument(
        content=character.document, secrets=character.secrets, source=f"character {character.slug}"
    )


@transaction.atomic
def _save(
    document: CharacterDocument, slug: str | None, character: Character | None = None
) -> SavedCharacter:
    found = _find(document, character)
    if found is None:
        found, is_new = Character.objects.select_for_update().get_or_create(
            name=document.name,
            defaults={
                "slug": _free_slug(Character, slug or document.name),
                "document": document.content,
                "secrets": update_secrets({}, document.secrets),
                **_identity(document),
            },
        )
    else:
        is_new = False
    outcome = _write(found, document, slug, is_new)
    return SavedCharacter(character=found, agent=_put_to_work(found), outcome=outcome)


def _find(document: CharacterDocument, character: Character | None) -> Character | None:
    wanted = Q(name=document.name)
    if character is not None:
        wanted |= Q(pk=character.pk)
    identity = document.content.get("id")
    if identity:
        wanted |= Q(pk=identity) | Q(document__id=identity)
    found = list(Character.objects.select_for_update().filter(wanted).order_by("name"))
    if len(found) > 1:
        names = " and ".join(repr(character.name) for character in found)
        raise CharacterConflictError(
            f"{document.source}: name {document.name!r} and id {identity} are of different characters "
            f"({names}): change one of them, or leave the id out"
        )
    return found[0] if found else None


def _write(
    character: Character, document: CharacterDocument, slug: str | None, is_new: bool
) -> Literal["created", "updated", "unchanged"]:
    before = (character.document, dict(character.secrets), character.slug)
    old_name, character.name = character.name, document.name
    character.secrets = update_secrets(character.secrets, document.secrets)
    if slug and slug != character.slug:
        character.slug = _claim_slug(slug)
    has_new_content = character.version == 0 or character.document != document.content
    character.document = document.content
    if not has_new_content and before == (character.document, dict(character.secrets), character.slug):
        return "unchanged"
    if has_new_content:
        character.version += 1
        CharacterVersion.objects.create(
            character=character, number=character.version, document=document.content
        )
    character.save()
    _renew_agents(character, old_name)
    return "created" if is_new else "updated"


def _renew_agents(character: Character, old_name: str) -> None:
    # An agent that was given a name of its own keeps it.
    if old_name != character.name:
        character.agents.filter(name=old_name).update(name=character.name)
    character.agents.update(revision=F("revision") + 1)


def _put_to_work(character: Character) -> Agent:
    agent = character.agents.order_by("created_at").first()
    if agent is not None:
        return agent
    return Agent.objects.create(
        character=character,
        name=character.name,
        slug=_free_slug(Agent, character.slug),
        status=Agent.Status.RUNNING,
    )


def _identity(document: CharacterDocument) -> dict[str, UUID]:
    identity = _uuid(document.content.get("id") or "")
    return {} if identity is None else {"id": identity}


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _claim_slug(slug: str) -> str:
    if slugify(slug) != slug:
        raise CharacterConflictError(f"{slug!r} is no slug: use small letters, digits and hyphens")
    if Character.objects.filter(slug=slug).exists():
        raise CharacterConflictError(f"the slug {slug!r} is another character's: choose another")
    return slug


def _free_slug(model: type[models.Model], wanted: str) -> str:
    # A name in a script that slugs can't spell becomes `character`, `character-2`, …
    stem = slugify(wanted)[:_SLUG_CHARACTERS] or "character"
    taken = set(model._default_manager.filter(slug__startswith=stem).values_list("slug", flat=True))
    number = 1
    while (slug := stem if number == 1 else f"{stem}-{number}") in taken:
        number += 1
    return slug
