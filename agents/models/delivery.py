"""Deliveries: the sending of one outbound message."""

from django.db import models


class Delivery(models.Model):
    """The sending of one outbound message, in the order of its connection and room.

    The key is the database's own counter, so that this order hangs on no worker's clock. Only the first open
    delivery of a (connection, room) can be claimed, so its lease is the lease of that order.
    """

    class State(models.TextChoices):
        PENDING = "pending"
        SENDING = "sending"
        SENT = "sent"
        UNCERTAIN = "uncertain"
        FAILED = "failed"
        EXPIRED = "expired"

    OPEN_STATES = (State.PENDING, State.SENDING)
    UNSENT_STATES = (State.UNCERTAIN, State.FAILED, State.EXPIRED)

    id = models.BigAutoField(primary_key=True)
    message = models.OneToOneField("agents.Message", on_delete=models.CASCADE, related_name="delivery")
    connection = models.ForeignKey(
        "transports.Connection", on_delete=models.CASCADE, related_name="deliveries", db_constraint=False
    )
    room = models.ForeignKey("agents.Room", on_delete=models.CASCADE, related_name="deliveries")
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_token = models.BigIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    tried_at = models.DateTimeField(
        null=True, help_text="When the first attempt began that may have brought it to the network."
    )
    next_run_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    answer = models.JSONField(default=dict, blank=True)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "deliveries"
        permissions = [("resend_delivery", "Can decide about deliveries that were not sent")]
        indexes = [
            models.Index(
                fields=["connection", "room", "id"],
                name="delivery_open_of_room",
                condition=models.Q(state__in=["pending", "sending"]),
            )
        ]

    def __str__(self) -> str:
        return f"delivery {self.id} ({self.state})"
