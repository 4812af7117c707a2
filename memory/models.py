"""The tables of what is kept: memories, relationships, goals."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from pgvector.django import VectorField
from uuid_utils.compat import uuid7

from memory.querysets import GoalQuerySet, MemoryQuerySet

UNIT_INTERVAL = [MinValueValidator(0.0), MaxValueValidator(1.0)]


class Memory(models.Model):
    """Something kept, for one agent. Its scope says who may see it surface.

    The vector's column has no fixed size, so that vectors of several models may stand side by side; each
    names its model, and each size has an index of its own (`memory.stores.postgres`).
    """

    class Kind(models.TextChoices):
        MESSAGE = "message"
        FACT = "fact"
        EPISODE = "episode"
        DOCUMENT = "document"

    class Scope(models.TextChoices):
        ROOM = "room", "this room"
        PERSON = "person", "this person, in private"
        AGENT = "agent", "wherever the agent speaks"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent = models.ForeignKey(
        "agents.Agent", on_delete=models.CASCADE, related_name="memories", db_index=False, db_constraint=False
    )
    person = models.ForeignKey(
        "agents.Person", null=True, blank=True, on_delete=models.CASCADE, related_name="memories"
    )
    room = models.ForeignKey(
        "agents.Room", null=True, blank=True, on_delete=models.CASCADE, related_name="memories"
    )
    world = models.ForeignKey(
        "agents.World", null=True, blank=True, on_delete=models.CASCADE, related_name="memories"
    )
    kind = models.CharField(max_length=10, choices=Kind)
    scope = models.CharField(max_length=10, choices=Scope)
    speaker = models.CharField(max_length=200, blank=True)
    text = models.TextField()
    embedding = VectorField(null=True, blank=True)
    embedding_model = models.CharField(max_length=100, blank=True)
    importance = models.FloatField(default=0.5, validators=UNIT_INTERVAL)
    source_messages = models.JSONField(default=list, blank=True)
    source_key = models.CharField(
        max_length=120, null=True, editable=False, help_text="What it was made from; once for each agent."
    )
    superseded_by = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="supersedes"
    )
    said_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)

    objects = MemoryQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "memories"
        constraints = [models.UniqueConstraint(fields=["agent", "source_key"], name="one_memory_a_source")]
        indexes = [
            models.Index(fields=["agent", "room", "-said_at"], name="memory_recent_of_room"),
            models.Index(fields=["agent", "person", "kind"], name="memory_of_person"),
            models.Index(fields=["agent"], name="memory_of_agent", condition=models.Q(scope="agent")),
            models.Index(
                fields=["created_at"], name="memory_unembedded", condition=models.Q(embedding__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.text[:60]}"


class Relationship(models.Model):
    """How two people, or a person and an agent's own person, stand to each other, as one agent sees it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent = models.ForeignKey("agents.Agent", on_delete=models.CASCADE, related_name="relationships")
    user_a = models.ForeignKey("agents.Person", on_delete=models.CASCADE, related_name="relationships_from")
    user_b = models.ForeignKey("agents.Person", on_delete=models.CASCADE, related_name="relationships_to")
    relationship_type = models.CharField(max_length=50)
    strength = models.FloatField(default=0.1, validators=UNIT_INTERVAL)
    tags = models.JSONField(default=list, blank=True)
    evidence = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-updated_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["agent", "user_a", "user_b", "relationship_type"], name="one_relationship_a_type"
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
    """A part of a goal."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    goal = models.ForeignKey(Goal, on_delete=models.CASCADE, related_name="objectives")
    position = models.PositiveSmallIntegerField(default=0)
    description = models.CharField(max_length=500)
    is_done = models.BooleanField(default=False)
    done_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["goal", "description"], name="one_objective_a_description")
        ]

    def __str__(self) -> str:
        return self.description
