"""The table of how facts were learnt, beside the memories that say them."""

from django.db import models

from memory.models.fields import UNIT_INTERVAL


class Fact(models.Model):
    """How a fact was learnt: about whom, how surely, and when it ceased to hold.

    The words, their scope and the messages that they came from are the memory's. `subject` is whom the fact
    is about: a person of the room, the agent's own person, or nobody. `attribute` is what it says of them,
    such as `lives_in`, and `value` in short, such as `Lyon`. `ended_at` is when the message was said that
    superseded it, `ended_by_message`.
    """

    class Type(models.TextChoices):
        IDENTITY = "identity", "who somebody is"
        PREFERENCE = "preference", "what somebody likes or dislikes"
        EVENT = "event", "what happened or will happen"
        FACT = "fact", "anything else"

    memory = models.OneToOneField(
        "memory.Memory", on_delete=models.CASCADE, primary_key=True, related_name="fact"
    )
    type = models.CharField(max_length=12, choices=Type, default=Type.FACT)
    subject = models.ForeignKey(
        "agents.Person", null=True, blank=True, on_delete=models.CASCADE, related_name="facts_about"
    )
    attribute = models.CharField(max_length=40, blank=True)
    value = models.CharField(max_length=200, blank=True)
    confidence = models.FloatField(default=0.5, validators=UNIT_INTERVAL)
    seen_count = models.PositiveIntegerField(default=1)
    last_seen_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by_message = models.UUIDField(null=True, blank=True)

    class Meta:
        ordering = ["-memory"]

    def __str__(self) -> str:
        return f"{self.type} {self.memory_id}"
