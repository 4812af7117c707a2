"""Messages: what was said, in or out."""

from django.db import models
from uuid_utils.compat import uuid7


class Message(models.Model):
    """One thing said. `person` is who said it, or, going out, whom the agent answered."""

    class Direction(models.TextChoices):
        IN = "in"
        OUT = "out"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent = models.ForeignKey(
        "agents.Agent", on_delete=models.CASCADE, related_name="messages", db_constraint=False
    )
    connection = models.ForeignKey(
        "transports.Connection",
        on_delete=models.CASCADE,
        related_name="messages",
        db_index=False,
        db_constraint=False,
    )
    room = models.ForeignKey("agents.Room", on_delete=models.CASCADE, related_name="messages", db_index=False)
    person = models.ForeignKey("agents.Person", null=True, on_delete=models.SET_NULL, related_name="messages")
    direction = models.CharField(max_length=3, choices=Direction)
    text = models.TextField(blank=True)
    attachments = models.JSONField(default=list, blank=True)
    external_id = models.CharField(max_length=200, null=True)
    reply_to_external_id = models.CharField(max_length=200, blank=True)
    is_addressed = models.BooleanField(null=True)
    is_verified = models.BooleanField(default=True)
    platform_data = models.JSONField(default=dict, blank=True)
    turn = models.ForeignKey(
        "agents.Turn", null=True, on_delete=models.SET_NULL, related_name="replies", db_index=False
    )
    position = models.PositiveSmallIntegerField(null=True)
    said_at = models.DateTimeField()
    received_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["connection", "external_id"], name="one_message_a_network_id"),
            models.UniqueConstraint(fields=["turn", "position"], name="one_reply_a_turn_position"),
        ]
        indexes = [models.Index(fields=["room", "agent", "-received_at"], name="message_recent_of_room")]

    def __str__(self) -> str:
        return f"{self.direction} {self.text[:60]}"
