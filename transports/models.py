"""Connections: agents' accounts on networks."""

from django.db import models
from uuid_utils.compat import uuid7

from agents.fields import EncryptedJSONField


class Connection(models.Model):
    """An agent's account on one network, with its secrets."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent = models.ForeignKey("agents.Agent", on_delete=models.CASCADE, related_name="connections")
    platform = models.CharField(max_length=30)
    transport = models.CharField(
        max_length=30, help_text="Which transport serves it: the platform's own, or `fake`."
    )
    name = models.CharField(max_length=100, blank=True)
    external_id = models.CharField(
        max_length=200, blank=True, help_text="The agent's own account on the network."
    )
    secrets = EncryptedJSONField(default=dict, blank=True)
    settings = models.JSONField(default=dict, blank=True)
    supports_streaming = models.BooleanField(
        default=False, editable=False, help_text="Its transport shows an answer while it is being written."
    )
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.UniqueConstraint(fields=["agent", "platform", "name"], name="one_connection_a_name")
        ]

    def __str__(self) -> str:
        return f"{self.platform}:{self.name or self.agent_id}"


class ApiKey(models.Model):
    """A program's key to the API. Only its hash is kept; the prefix tells keys apart."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, unique=True)
    key_hash = models.CharField(max_length=64)
    user = models.ForeignKey(
        "auth.User", on_delete=models.CASCADE, related_name="api_keys", help_text="Whom the key speaks for."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
