"""A network that takes everything: for platforms without a connection of their own, and for tests.

What it took stands in the delivery's answer. A connection's settings may tell it to fail, as networks do:
`{"fail": "permanent" | "temporary" | "lost_acknowledgement"}`.
"""

from __future__ import annotations

from typing import ClassVar

from django.utils import timezone

from agents.envelopes import Acknowledgement, Outgoing
from transports.base import ConnectionView, TransportError


class FakeTransport:
    """Acknowledges each message under an id made of its nonce, so that a repeated one shows."""

    name: ClassVar[str] = "fake"
    supports_streaming: ClassVar[bool] = False
    supports_idempotency_key: ClassVar[bool] = True
    idempotency_key_lasts_seconds: ClassVar[float | None] = None

    def deliver(self, connection: ConnectionView, outgoing: Outgoing) -> Acknowledgement:
        """Take the message.

        Raises: TransportError as the connection's settings tell.
        """
        match connection.settings.get("fail"):
            case "permanent":
                raise TransportError("The room is gone.", permanent=True)
            case "temporary":
                raise TransportError("The network is busy.", retry_after_seconds=1.0)
            case "lost_acknowledgement":
                raise TransportError("The network closed the connection.", may_have_arrived=True)
        return Acknowledgement(external_id=f"fake-{outgoing.nonce}", acknowledged_at=timezone.now())
