"""Characters: personas, and a version of each for every save."""

from django.db import models
from uuid_utils.compat import uuid7

from agents.fields import EncryptedJSONField


class Character(models.Model):
    """A persona: elizaOS' character document, unknown keys kept, secrets apart and encrypted."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=100, unique=True)
    slug = models.SlugField(max_length=100, unique=True)
    document = models.JSONField(help_text="The character as elizaOS' v1 JSON, without its secrets.")
    secrets = EncryptedJSONField(default=dict, blank=True)
    version = models.PositiveIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class CharacterVersion(models.Model):
    """What a character was at one save; a turn names the version that it spoke as."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    character = models.ForeignKey(Character, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    document = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["character", "number"], name="one_row_a_character_version")
        ]

    def __str__(self) -> str:
        return f"version {self.number}"
