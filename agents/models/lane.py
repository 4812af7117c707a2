"""Lanes: the order of one person's messages to one agent."""

from django.db import models
from uuid_utils.compat import uuid7


class Lane(models.Model):
    """Turns that are worked one after the other. Whoever holds the lease, with its token, works them.

    By the agent's lane scope, `person` or `room` is empty. The bucket counts what the lane took in within
    the minute that began at `bucket_started_at`.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent = models.ForeignKey("agents.Agent", on_delete=models.CASCADE, related_name="lanes")
    person = models.ForeignKey("agents.Person", null=True, on_delete=models.CASCADE, related_name="lanes")
    room = models.ForeignKey("agents.Room", null=True, on_delete=models.CASCADE, related_name="lanes")
    last_sequence = models.BigIntegerField(default=0)
    lease_owner = models.CharField(max_length=120, blank=True)
    lease_token = models.BigIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    next_run_at = models.DateTimeField()
    woke_at = models.DateTimeField()
    bucket_started_at = models.DateTimeField()
    bucket_count = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["agent", "person", "room"], name="one_lane_a_scope", nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return f"lane {self.id}"
