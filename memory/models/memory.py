"""The table of what is kept."""

from django.db import models
from pgvector.django import VectorField
from uuid_utils.compat import uuid7

from memory.models.fields import UNIT_INTERVAL
from memory.querysets import MemoryQuerySet


class Memory(models.Model):
    """Something kept, for one agent. Its scope says who may see it surface.

    Two columns can hold a vector each, so that those of two models stand side by side; which of them recall asks, the
    vector space in use says (`memory.embeddings.spaces`). A vector's column has no fixed size; each vector names its
    model, and each size has an index of its own (`memory.stores.postgres`).
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
        NOBODY = "nobody", "nobody yet"

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
    second_embedding = VectorField(null=True, blank=True)
    # Null, because a default would have to be written by whatever code of before this column still runs.
    second_embedding_model = models.CharField(max_length=100, null=True, blank=True)
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
            models.Index(
                fields=["agent", "room", "said_at", "id"], include=["scope"], name="memory_said_in_room"
            ),
            models.Index(fields=["agent", "person", "kind"], name="memory_of_person"),
            models.Index(fields=["agent"], name="memory_of_agent", condition=models.Q(scope="agent")),
            models.Index(
                fields=["agent", "room"],
                name="memory_facts_of_room",
                condition=models.Q(kind="fact", superseded_by__isnull=True),
            ),
            models.Index(
                fields=["agent", "person"], name="memory_private", condition=models.Q(scope="person")
            ),
            models.Index(
                fields=["created_at"], name="memory_unembedded", condition=models.Q(embedding__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.text[:60]}"
