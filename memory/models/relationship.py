"""The table of how people stand to each other."""

from django.db import models
from uuid_utils.compat import uuid7

from memory.models.fields import UNIT_INTERVAL


class Relationship(models.Model):
    """How two people, or a person and an agent's own person, stand to each other, as one agent sees it.

    `room` is where it was learnt, and the only room where it is spoken of; empty: wherever the agent speaks.
    `strength` is that of `updated_at`: it fades from there, by what is reckoned when it is read
    (`memory.relationships`).
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent = models.ForeignKey("agents.Agent", on_delete=models.CASCADE, related_name="relationships")
    user_a = models.ForeignKey("agents.Person", on_delete=models.CASCADE, related_name="relationships_from")
    user_b = models.ForeignKey("agents.Person", on_delete=models.CASCADE, related_name="relationships_to")
    relationship_type = models.CharField(max_length=50)
    room = models.ForeignKey(
        "agents.Room", null=True, blank=True, on_delete=models.CASCADE, related_name="relationships"
    )
    strength = models.FloatField(default=0.1, validators=UNIT_INTERVAL)
    tags = models.JSONField(default=list, blank=True)
    evidence = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-updated_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["agent", "user_a", "user_b", "relationship_type", "room"],
                name="one_relationship_a_type",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                condition=~models.Q(user_a=models.F("user_b")), name="relationship_of_two"
            ),
            models.CheckConstraint(
                condition=models.Q(strength__gte=0.0, strength__lte=1.0), name="strength_within_0_and_1"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_a_id} {self.relationship_type} {self.user_b_id}"
