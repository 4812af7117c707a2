"""Agents: characters at work."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from uuid_utils.compat import uuid7

DEFAULT_APOLOGY = "I'm sorry, I can't think straight just now. Please ask me again in a little while."


class Agent(models.Model):
    """A character at work, with its status and how it is to work."""

    class Status(models.TextChoices):
        RUNNING = "running"
        PAUSED = "paused"
        STOPPED = "stopped"

    class LaneScope(models.TextChoices):
        PERSON = "person", "one order a person"
        PERSON_IN_ROOM = "person_in_room", "one order a person and room"
        ROOM = "room", "one order a room"

    class DoubleTexting(models.TextChoices):
        QUEUE = "queue", "queue: each message is answered, one after the other"
        COLLECT = "collect", "collect: what waits is answered together"
        INTERRUPT = "interrupt", "interrupt: a newer message ends the answer that is being made"

    class OnUncertain(models.TextChoices):
        DROP = "drop", "drop: never repeat what may have been sent"
        RESEND = "resend", "resend: rather twice than never"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    character = models.ForeignKey("agents.Character", on_delete=models.PROTECT, related_name="agents")
    name = models.CharField(max_length=100)
    slug = models.SlugField(max_length=100, unique=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.RUNNING)
    lane_scope = models.CharField(max_length=20, choices=LaneScope, default=LaneScope.PERSON)
    double_texting = models.CharField(
        max_length=10,
        choices=DoubleTexting,
        default=DoubleTexting.QUEUE,
        db_default=DoubleTexting.QUEUE,
        help_text="What becomes of messages that a person sends before the first of them is answered.",
    )
    hears_stop = models.BooleanField(
        default=True,
        db_default=True,
        help_text='Whether a message that says only "stop" or "cancel" ends the answer that is being made.',
    )
    bot_turn_limit = models.PositiveSmallIntegerField(
        "turns without a human",
        null=True,
        blank=True,
        default=5,
        db_default=5,
        help_text="So many times in a row it speaks with bots in a room before a human says something there."
        " Empty: no limit.",
    )
    talk_share_limit = models.PositiveSmallIntegerField(
        "share of the talk",
        default=50,
        db_default=50,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text="The percentage of a room's recent messages above which it answers no bot.",
    )
    on_uncertain = models.CharField(max_length=10, choices=OnUncertain, default=OnUncertain.DROP)
    model_small = models.CharField(max_length=200, blank=True, help_text="Empty: MODEL_SMALL.")
    model_large = models.CharField(max_length=200, blank=True, help_text="Empty: MODEL_LARGE.")
    temperature = models.FloatField(default=0.7, validators=[MinValueValidator(0.0)])
    max_tokens = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: MODEL_MAX_TOKENS.")
    apology = models.CharField(
        max_length=500,
        default=DEFAULT_APOLOGY,
        help_text="What a person is told, once, when a turn fails for good.",
    )
    settings = models.JSONField(default=dict, blank=True)
    revision = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["created_at"]

    def __str__(self) -> str:
        return self.name
