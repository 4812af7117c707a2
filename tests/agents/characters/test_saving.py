"""Saving: who is found, what becomes a version, which secrets stay, and the agent that is put to work."""

import copy
from unicodedata import normalize
from uuid import UUID

import pytest
from cryptography.fernet import Fernet
from django.db import connection

from agents.agents import get_agent
from agents.characters import (
    CharacterConflictError,
    CharacterDocument,
    UnknownCharacterError,
    get_character,
    save_character,
    save_characters,
    stored_document,
)
from agents.models import Agent, Character, CharacterVersion

pytestmark = pytest.mark.django_db
ID = "7c0f6e2a-51d4-4d0b-9a55-0f6f6f9f3a11"


@pytest.fixture(autouse=True)
def key(settings):
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]


def document(name="Ann", secrets=None, **content):
    return CharacterDocument(
        content={"name": name, "bio": [], **content}, secrets=secrets or {}, source="a.json"
    )


def test_a_new_character_gets_a_version_and_a_running_agent():
    character = save_character(document(bio=["One."], secrets={"secrets": {"K": "hush"}}))
    character.refresh_from_db()
    assert (character.name, character.slug, character.version) == ("Ann", "ann", 1)
    assert character.document == {"name": "Ann", "bio": ["One."]}
    assert character.secrets == {"secrets": {"K": "hush"}}
    assert character.versions.get().document == character.document
    agent = character.agents.get()
    assert (agent.name, agent.slug, agent.status) == ("Ann", "ann", Agent.Status.RUNNING)


def test_the_same_content_makes_no_new_version():
    (first,) = save_characters([document(bio=["One."])])
    (second,) = save_characters([document(bio=["One."])])
    assert (first.outcome, second.outcome) == ("created", "unchanged")
    assert first.character == second.character
    assert CharacterVersion.objects.count() == 1
    assert Agent.objects.count() == 1
    assert second.agent.revision == 1


def test_changed_content_makes_a_version_and_renews_the_agents():
    save_character(document(bio=["One."]))
    (saved,) = save_characters([document(bio=["Two."])])
    assert (saved.outcome, saved.character.version, saved.agent.revision) == ("updated", 2, 2)
    assert [version.document["bio"] for version in saved.character.versions.all()] == [["Two."], ["One."]]


def test_new_secrets_alone_are_saved_without_a_version():
    save_character(document(secrets={"secrets": {"K": "1", "L": "2"}}))
    (saved,) = save_characters([document(secrets={"secrets": {"K": "3"}})])
    assert (saved.outcome, saved.character.version) == ("updated", 1)
    assert stored_document(get_character("Ann")).secrets == {"secrets": {"K": "3", "L": "2"}}


def test_a_document_without_secrets_forgets_none():
    save_character(document(secrets={"secrets": {"K": "1"}}))
    save_character(document(bio=["Two."]))
    assert get_character("Ann").secrets == {"secrets": {"K": "1"}}


def test_secrets_lie_encrypted():
    save_character(document(secrets={"secrets": {"K": "hush"}}))
    with connection.cursor() as cursor:
        cursor.execute("SELECT document::text || secrets FROM agents_character")
        assert "hush" not in cursor.fetchone()[0]


def test_an_id_finds_a_character_that_was_renamed():
    first = save_character(document("Ann", id=ID))
    assert first.pk == UUID(ID)
    second = save_character(document("Anna", id=ID))
    assert (second.pk, second.name, second.slug) == (first.pk, "Anna", "ann")
    assert second.agents.get().name == "Anna"


def test_an_agent_with_a_name_of_its_own_keeps_it():
    character = save_character(document("Ann", id=ID))
    character.agents.update(name="Night shift", status=Agent.Status.PAUSED)
    agent = save_character(document("Anna", id=ID)).agents.get()
    assert (agent.name, agent.status) == ("Night shift", Agent.Status.PAUSED)


def test_an_id_that_came_later_finds_its_character_too():
    first = save_character(document("Ann"))
    save_character(document("Ann", id=ID))
    assert save_character(document("Anna", id=ID)).pk == first.pk


def test_an_id_and_a_name_of_different_characters_are_a_conflict():
    save_character(document("Ann", id=ID))
    save_character(document("Bea"))
    with pytest.raises(CharacterConflictError, match=r"a\.json: name 'Bea' and id .*\('Ann' and 'Bea'\)"):
        save_character(document("Bea", id=ID))


def test_where_one_cannot_be_saved_none_is():
    save_character(document("Ann", id=ID))
    save_character(document("Bea"))
    with pytest.raises(CharacterConflictError):
        save_characters([document("New"), document("Bea", id=ID)])
    assert not Character.objects.filter(name="New").exists()


def test_slugs_are_free_and_can_be_chosen():
    assert save_character(document("Ann Lee")).slug == "ann-lee"
    assert save_character(document("Ann  Lee!")).slug == "ann-lee-2"
    assert save_character(document("安")).slug == "character"
    assert save_character(document("Bea"), slug="bea-at-work").slug == "bea-at-work"
    assert save_character(document("Bea"), slug="b").slug == "b"
    with pytest.raises(CharacterConflictError, match="the slug 'b' is another character's"):
        save_character(document("Cay"), slug="b")
    with pytest.raises(CharacterConflictError, match="'Not a slug' is no slug"):
        save_character(document("Dee"), slug="Not a slug")
    assert not Character.objects.filter(name__in=["Cay", "Dee"]).exists()


def test_a_character_is_got_by_name_slug_or_id():
    ann = save_character(document("Ann Lee", id=ID))
    assert {get_character(key).pk for key in ("Ann Lee", "ann lee", "ann-lee", ID)} == {ann.pk}
    with pytest.raises(UnknownCharacterError, match="no character is called 'Zed'; there are: Ann Lee"):
        get_character("Zed")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_is_found_however_its_accents_are_written(form):
    zoe = save_character(document("Zoé"))
    name = normalize(form, "zoé")
    assert get_character(name) == zoe
    assert get_agent(name).character == zoe


def test_saving_leaves_the_document_as_it_was():
    given = document(secrets={"secrets": {"K": None, "L": ""}})
    before = copy.deepcopy((given.content, given.secrets))
    save_character(given)
    assert (given.content, given.secrets) == before
