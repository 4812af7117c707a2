"""EncryptedJSONField: what reaches the database, and what an error may say."""

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import FieldError, ValidationError

from agents.fields import EncryptedJSONField, EncryptionKeyError, Secrets
from agents.models import Character

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
FIELD = Character._meta.get_field("secrets")


@pytest.fixture(autouse=True)
def key(settings):
    settings.FIELD_ENCRYPTION_KEY = [OLD]


def read(text):
    return FIELD.from_db_value(text, None, None)


def test_a_value_comes_back_and_is_not_readable_in_between():
    stored = FIELD.get_prep_value({"KEY": "hush", "n": {"deep": [1, "ä"]}})
    assert "hush" not in stored
    assert "KEY" not in stored
    assert read(stored) == {"KEY": "hush", "n": {"deep": [1, "ä"]}}


def test_the_first_key_encrypts_and_every_key_decrypts(settings):
    by_old = FIELD.get_prep_value({"a": 1})
    settings.FIELD_ENCRYPTION_KEY = [NEW, OLD]
    assert read(by_old) == {"a": 1}
    by_new = FIELD.get_prep_value({"a": 1})
    settings.FIELD_ENCRYPTION_KEY = [NEW]
    assert read(by_new) == {"a": 1}
    with pytest.raises(EncryptionKeyError, match="any of the 1 keys in FIELD_ENCRYPTION_KEY"):
        read(by_old)


def test_an_empty_object_needs_no_key(settings):
    settings.FIELD_ENCRYPTION_KEY = []
    assert FIELD.get_prep_value({}) == ""
    assert read("") == {}


def test_a_missing_key_is_named_with_its_cure(settings):
    settings.FIELD_ENCRYPTION_KEY = []
    with pytest.raises(EncryptionKeyError, match=r"FIELD_ENCRYPTION_KEY is not set: make a key") as caught:
        FIELD.get_prep_value({"KEY": "hush"})
    assert "hush" not in str(caught.value)


def test_a_malformed_key_is_counted_and_not_shown(settings):
    settings.FIELD_ENCRYPTION_KEY = [OLD, "almost-a-key"]
    with pytest.raises(EncryptionKeyError, match="key 2 of 2 is no Fernet key") as caught:
        FIELD.get_prep_value({"KEY": "hush"})
    assert "almost-a-key" not in str(caught.value)


def test_a_changed_ciphertext_is_refused():
    stored = FIELD.get_prep_value({"KEY": "hush"})
    with pytest.raises(EncryptionKeyError, match=r"agents\.Character\.secrets"):
        read(stored[:-6] + "AAAA==")


def test_no_repr_shows_a_secret():
    character = Character(name="x", secrets={"KEY": "hush"})
    assert repr(character.secrets) == "Secrets(KEY)"
    assert "hush" not in f"{character.secrets} {character!r} {read(FIELD.get_prep_value({'KEY': 'hush'}))}"


def test_a_fixture_carries_ciphertext():
    text = FIELD.value_to_string(Character(name="x", secrets={"KEY": "hush"}))
    assert "hush" not in text
    assert FIELD.to_python(text) == Secrets(KEY="hush")


def test_only_objects_are_taken():
    with pytest.raises(ValidationError, match="takes a JSON object, not list"):
        FIELD.get_prep_value(["hush"])


def test_lookups_are_refused_but_isnull():
    with pytest.raises(FieldError, match="can't be looked up by 'exact'"):
        Character.objects.filter(secrets={"a": 1})
    assert str(Character.objects.filter(secrets__isnull=True).query)


def test_a_migration_names_the_field_and_no_key():
    _name, path, args, kwargs = FIELD.deconstruct()
    assert path == "agents.fields.EncryptedJSONField"
    assert EncryptedJSONField(*args, **kwargs).deconstruct()[1:] == (path, args, kwargs)
