"""The table of conversations: how far an agent has reflected on what was said in each room."""

from django.db import models
from uuid_utils.compat import uuid7

from memory.models.fields import UUIDsField


class Conversation(models.Model):
    """What is said in one room with one agent, and how far it was reflected on.

    `unseen` are the messages of people that nobody has reflected on, in the order in which they were kept;
    the first `in_hand` of them are in work. `look_at` is when the next look is due: at once where enough
    messages wait, else when the conversation has paused. `not_before` puts it off after a failure.
    Whoever looks holds `lease_until` with `lease_token`. `summary` and `outcome` are of the episode that goes
    on, which began with the message `episode_first` and has `episode_count` messages of people; `earlier` is
    the summary of the one before.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent = models.ForeignKey(
        "agents.Agent",
        on_delete=models.CASCADE,
        related_name="conversations",
        db_index=False,
        db_constraint=False,
    )
    room = models.ForeignKey("agents.Room", on_delete=models.CASCADE, related_name="conversations")
    unseen = UUIDsField(default=list, db_default=[])
    in_hand = models.PositiveSmallIntegerField(default=0, db_default=0)
    last_message = models.UUIDField(null=True)
    heard_at = models.DateTimeField(null=True)
    look_at = models.DateTimeField(null=True)
    not_before = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    lease_token = models.BigIntegerField(default=0, db_default=0)
    attempts = models.PositiveSmallIntegerField(default=0, db_default=0)
    look_count = models.PositiveIntegerField(default=0, db_default=0)
    earlier = models.TextField(blank=True, default="", db_default="")
    summary = models.TextField(blank=True, default="", db_default="")
    outcome = models.TextField(blank=True, default="", db_default="")
    episode_first = models.UUIDField(null=True)
    episode_began_at = models.DateTimeField(null=True)
    episode_count = models.PositiveIntegerField(default=0, db_default=0)
    episode_people = UUIDsField(default=list, db_default=[])
    error = models.TextField(blank=True, default="", db_default="")

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["agent", "room"], name="one_conversation_a_room")]
        indexes = [
            models.Index(
                fields=["look_at"], name="conversation_due", condition=models.Q(look_at__isnull=False)
            )
        ]

    def __str__(self) -> str:
        return f"conversation in {self.room_id}"
