"""The table of episodes, beside the memories that tell them."""

from django.db import models


class Episode(models.Model):
    """What a conversation was, from its first message to a pause: its span, who took part, how it ended.

    The telling is the memory's text. `participants` are the ids of the people who spoke.
    """

    memory = models.OneToOneField(
        "memory.Memory", on_delete=models.CASCADE, primary_key=True, related_name="episode"
    )
    first_message = models.UUIDField()
    last_message = models.UUIDField()
    began_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    message_count = models.PositiveIntegerField(default=0)
    participants = models.JSONField(default=list, blank=True)
    outcome = models.TextField(blank=True)

    class Meta:
        ordering = ["-memory"]

    def __str__(self) -> str:
        return f"episode {self.memory_id}"
