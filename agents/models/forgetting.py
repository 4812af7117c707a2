"""Forgettings: people whose words are being removed, until nothing of them is left."""

from django.db import models
from django.db.models.functions import Now
from uuid_utils.compat import uuid7


class Forgetting(models.Model):
    """One person's forgetting, while it is worked; the row goes with the last of what it is about.

    It knows whom it is about because nothing else does any longer: accounts and open turns went as it began.
    `people` are the person and those merged into them, `ghosts` nameless ones that their lanes stand under meanwhile.
    `names` and `marks` are what they are called and known by; `pieces` are hashes of their words, by which these
    are found in what stays for others; `shared_rooms` are the rooms that stay, each with when the person was first
    heard there.
    """

    class Stage(models.TextChoices):
        SEALED = "sealed", "nothing of it is worked any longer"
        HEARD = "heard", "the words are known by their hashes"
        REMOVED = "removed", "what was the person's alone is gone, and what stays was cut"
        QUIET = "quiet", "what others began before that has ended"
        SWEPT = "swept", "what came of that was cut too"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    people = models.JSONField(default=list)
    ghosts = models.JSONField(default=list)
    accounts = models.JSONField(default=list)
    names = models.JSONField(default=list)
    marks = models.JSONField(default=list)
    private_rooms = models.JSONField(default=list)
    shared_rooms = models.JSONField(default=dict)
    agents = models.JSONField(default=list)
    pieces = models.BinaryField(null=True)
    stage = models.CharField(max_length=10, choices=Stage, default=Stage.SEALED)
    counts = models.JSONField(default=dict)
    began_by = models.CharField(max_length=150)
    reason = models.TextField()
    began_at = models.DateTimeField(db_default=Now())
    quiet_at = models.DateTimeField(
        null=True, help_text="When the last lease is over that stood as it began."
    )
    lease_token = models.BigIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"forgetting {self.id} ({self.stage})"
