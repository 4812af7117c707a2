"""The table of vector spaces: which models' vectors stand in which column of `memory_memory`."""

from django.db import models
from django.db.models.functions import Now


class VectorSpace(models.Model):
    """The vectors of one model. At most two have a column; one of them is in use.

    Before another model was ever begun there is no row, and the settings say what is in use. `name` is the embedder's,
    kept beside each vector; `model` is what EMBEDDING_MODEL calls it. `sealed_key` is the key to its server,
    encrypted by `agents.fields.seal`. A row whose vectors were removed stays, without a column, as history.

    While its vectors are made it is held by a lease: by one worker, whose token it bears, or by nobody until
    `leased_until` where the embedder failed.
    """

    class Column(models.TextChoices):
        FIRST = "embedding"
        SECOND = "second_embedding"

    class State(models.TextChoices):
        USED = "used", "in use"
        FILLING = "filling"
        KEPT = "kept"
        REMOVING = "removing", "being removed"
        REMOVED = "removed"

    column = models.CharField(max_length=20, choices=Column, null=True, unique=True)
    name = models.CharField(max_length=100)
    model = models.CharField(max_length=100)
    dimensions = models.PositiveIntegerField()
    kind = models.CharField(max_length=10)
    base_url = models.CharField(max_length=500, blank=True)
    sealed_key = models.TextField(blank=True, editable=False)
    state = models.CharField(max_length=10, choices=State)
    started_at = models.DateTimeField(db_default=Now())
    filled_at = models.DateTimeField(null=True, help_text="When all had a vector and the index stood.")
    switched_at = models.DateTimeField(null=True)
    filled_count = models.BigIntegerField(default=0)
    rate = models.FloatField(default=0.0, help_text="Vectors a second, lately.")
    leased_until = models.DateTimeField(null=True)
    lease_token = models.CharField(max_length=32, blank=True)
    failure_count = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True)
    refused = models.JSONField(
        default=list,
        blank=True,
        help_text="Memories whose texts the model took in no attempt, while it took others.",
    )

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["state"], name="one_space_in_use", condition=models.Q(state="used")
            ),
            models.CheckConstraint(
                condition=models.Q(column__isnull=True, state="removed")
                | models.Q(column__isnull=False) & ~models.Q(state="removed"),
                name="a_removed_space_has_no_column",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.dimensions} numbers)"
