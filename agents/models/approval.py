"""Approvals: a person's word on one action of one turn."""

from django.db import models


class Approval(models.Model):
    """A question to a person: whether an action of a parked turn may run, or may run again.

    It is bound to the action and its arguments by `argument_hash`, and used once, at `used_at`. The key is the
    database's own counter: of several questions about one step the latest counts, whatever workers' clocks say.
    """

    class Kind(models.TextChoices):
        DANGEROUS = "dangerous", "dangerous: not done yet"
        UNCERTAIN = "uncertain", "uncertain: may have been done"

    class State(models.TextChoices):
        PENDING = "pending"
        GRANTED = "granted"
        REFUSED = "refused"
        DONE = "done", "was done"
        EXPIRED = "expired"

    id = models.BigAutoField(primary_key=True)
    turn = models.ForeignKey(
        "agents.Turn", on_delete=models.CASCADE, related_name="approvals", db_index=False
    )
    position = models.PositiveSmallIntegerField(help_text="The place of the action's step in the turn.")
    step = models.CharField(max_length=60)
    plugin = models.CharField(max_length=100)
    action = models.CharField(max_length=100)
    arguments = models.JSONField(default=dict)
    argument_hash = models.CharField(max_length=64)
    kind = models.CharField(max_length=10, choices=Kind)
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    requested_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=200, blank=True)
    reason = models.TextField(blank=True)
    used_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        permissions = [("decide_approval", "Can grant and refuse what waits for an approval")]
        constraints = [
            models.UniqueConstraint(
                fields=["turn", "position"],
                name="one_open_approval_a_step",
                condition=models.Q(state="pending"),
            )
        ]
        indexes = [
            models.Index(fields=["turn", "position"], name="approval_of_step"),
            models.Index(fields=["expires_at"], name="approval_pending", condition=models.Q(state="pending")),
        ]

    def __str__(self) -> str:
        return f"approval {self.id} of {self.action} ({self.state})"
