"""A field whose JSON object lies encrypted in the database; Character and Connection keep secrets in it.

`FIELD_ENCRYPTION_KEY` is a list of Fernet keys: the first encrypts, all decrypt, so that a key is changed by
putting the new one in front and saving the rows again. An empty object is stored as empty text, so that
rows without secrets need no key.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import FieldError, ImproperlyConfigured, ValidationError
from django.db import models
from django.db.models.query_utils import DeferredAttribute

if TYPE_CHECKING:
    _TextField = models.TextField[Any, Any]
else:
    _TextField = models.TextField

MAKE_A_KEY = 'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'


class EncryptionKeyError(ImproperlyConfigured):
    """FIELD_ENCRYPTION_KEY is missing, malformed, or not the key that the value was written with."""


class Secrets(dict[str, Any]):
    """A dictionary whose repr names its keys and never its values."""

    def __repr__(self) -> str:
        return f"Secrets({', '.join(sorted(map(str, self)))})"

    __str__ = __repr__


class EncryptedJSONField(_TextField):
    """A JSON object, encrypted by the first key of FIELD_ENCRYPTION_KEY and stored as text.

    It isn't editable unless told so, has no lookups but `isnull`, and a fixture carries its ciphertext.
    """

    description = "Encrypted JSON object"
    descriptor_class: type[DeferredAttribute]

    _pyi_private_set_type: Any
    _pyi_private_get_type: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("editable", False)
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        """Return what a migration writes down; no key is part of it."""
        name, path, args, kwargs = super().deconstruct()
        kwargs["editable"] = self.editable
        return name, path, args, kwargs

    def from_db_value(self, value: str | None, _expression: Any, _connection: Any) -> Secrets | None:
        """Decrypt what the database holds.

        Raises: EncryptionKeyError where no key of FIELD_ENCRYPTION_KEY fits.
        """
        return None if value is None else self._decrypt(value)

    def to_python(self, value: Any) -> Secrets | None:
        """Take an object as it is, and decrypt text, which a fixture carries."""
        if value is None:
            return None
        if isinstance(value, str):
            return self._decrypt(value)
        return self._object(value)

    def get_prep_value(self, value: Any) -> Any:
        """Encrypt an object for the database.

        Raises: EncryptionKeyError where FIELD_ENCRYPTION_KEY is missing or malformed.
        """
        if value is None or hasattr(value, "resolve_expression"):
            return value
        plain = self._object(value)
        if not plain:
            return ""
        return _cipher().encrypt(json.dumps(plain).encode()).decode("ascii")

    def value_to_string(self, obj: models.Model) -> Any:
        """Give a serialiser the ciphertext."""
        return self.get_prep_value(self.value_from_object(obj))

    def get_lookup(self, lookup_name: str) -> Any:
        """Allow `isnull` alone: two ciphertexts of one value differ.

        Raises: FieldError for any other lookup.
        """
        if lookup_name != "isnull":
            raise FieldError(f"{self} is encrypted and can't be looked up by {lookup_name!r}: use isnull")
        return super().get_lookup(lookup_name)

    def _object(self, value: Any) -> Secrets:
        if not isinstance(value, dict):
            raise ValidationError(f"{self} takes a JSON object, not {type(value).__name__}")
        return value if isinstance(value, Secrets) else Secrets(value)

    def _decrypt(self, text: str) -> Secrets:
        if not text:
            return Secrets()
        try:
            plain = _cipher().decrypt(text)
        except InvalidToken:
            raise EncryptionKeyError(
                f"{self} can't be read with any of the {len(settings.FIELD_ENCRYPTION_KEY)} keys in "
                "FIELD_ENCRYPTION_KEY: add the key that it was written with to the end of the list"
            ) from None
        return Secrets(json.loads(plain))


def seal(secret: str) -> str:
    """Encrypt a secret for a row that is no JSON object's, by the first key; "" stays "".

    Raises: EncryptionKeyError where FIELD_ENCRYPTION_KEY is missing or malformed.
    """
    return _cipher().encrypt(secret.encode()).decode("ascii") if secret else ""


def unseal(sealed: str, *, what: str) -> str:
    """Decrypt what `seal` made; `what` names it in an error.

    Raises: EncryptionKeyError where no key of FIELD_ENCRYPTION_KEY fits.
    """
    if not sealed:
        return ""
    try:
        return _cipher().decrypt(sealed).decode()
    except InvalidToken:
        raise EncryptionKeyError(
            f"{what} can't be read with any of the {len(settings.FIELD_ENCRYPTION_KEY)} keys in "
            "FIELD_ENCRYPTION_KEY: add the key that it was written with to the end of the list"
        ) from None


class _SecretsAttribute(DeferredAttribute):
    """Wraps an assigned dictionary, so that a new instance shows no secret either."""

    def __set__(self, instance: models.Model, value: Any) -> None:
        wrapped = Secrets(value) if type(value) is dict else value
        instance.__dict__[self.field.attname] = wrapped


EncryptedJSONField.descriptor_class = _SecretsAttribute


def _cipher() -> MultiFernet:
    keys = tuple(key for key in settings.FIELD_ENCRYPTION_KEY if key)
    if not keys:
        raise EncryptionKeyError(f"FIELD_ENCRYPTION_KEY is not set: make a key with `{MAKE_A_KEY}`")
    return _cipher_of(keys)


@lru_cache(maxsize=4)
def _cipher_of(keys: tuple[str, ...]) -> MultiFernet:
    fernets = []
    for position, key in enumerate(keys, start=1):
        try:
            fernets.append(Fernet(key))
        except ValueError:
            raise EncryptionKeyError(
                f"FIELD_ENCRYPTION_KEY: key {position} of {len(keys)} is no Fernet key (32 bytes in url-safe "
                f"base64, 44 characters; this one has {len(key)} characters): make one with `{MAKE_A_KEY}`"
            ) from None
    return MultiFernet(fernets)
