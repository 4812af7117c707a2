"""The tables of goals and their objectives."""

from django.db import models
from uuid_utils.compat import uuid7

from memory.querysets import GoalQuerySet


class Goal(models.Model):
    """What an agent is after, in a room or for a person or by itself."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        COMPLETED = "completed"
        FAILED = "failed"
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent = models.ForeignKey("agents.Agent", on_delete=models.CASCADE, related_name="goals")
    person = models.ForeignKey(
        "agents.Person", null=True, blank=True, on_delete=models.CASCADE, related_name="goals"
    )
    room = models.ForeignKey(
        "agents.Room", null=True, blank=True, on_delete=models.CASCADE, related_name="goals"
    )
    name = models.CharField(max_length=255)
    status = models.CharField(max_length=10, choices=Status, default=Status.ACTIVE)
    created_at = models.DateTimeField(auto_now_add=True)
    completed_at = models.DateTimeField(null=True, blank=True)

    objects = GoalQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["agent", "person", "room", "name"], name="one_goal_a_name", nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return self.name


class Objective(models.Model):
    """A part of a goal. `shown_by_message` is the message that showed it to be done, where one did."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    goal = models.ForeignKey(Goal, on_delete=models.CASCADE, related_name="objectives")
    position = models.PositiveSmallIntegerField(default=0)
    description = models.CharField(max_length=500)
    is_done = models.BooleanField(default=False)
    done_at = models.DateTimeField(null=True, blank=True)
    shown_by_message = models.UUIDField(null=True, blank=True)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["goal", "description"], name="one_objective_a_description")
        ]

    def __str__(self) -> str:
        return self.description
