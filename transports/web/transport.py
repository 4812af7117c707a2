"""The web as a network: what is delivered here is shown to the pages and programs that listen to the room.

The outbound row is the message itself, and readers know it by its id; so it may be delivered twice without
being seen twice, and nothing is lost where nobody listens. `transports.delivery` calls it.
"""

from __future__ import annotations

from typing import ClassVar

from django.utils import timezone

from agents import streams
from agents.envelopes import Acknowledgement, Outgoing
from agents.streams import StreamEvent
from transports.base import ConnectionView
from transports.web.payloads import outgoing_event


class WebTransport:
    """Puts replies on the stream of their room."""

    name: ClassVar[str] = "web"
    supports_streaming: ClassVar[bool] = True
    supports_idempotency_key: ClassVar[bool] = True
    idempotency_key_lasts_seconds: ClassVar[float | None] = None

    def deliver(self, connection: ConnectionView, outgoing: Outgoing) -> Acknowledgement:  # noqa: ARG002
        """Announce the message; its row in the database is the delivery."""
        now = timezone.now()
        reply = outgoing_event(outgoing, now)
        done = {"turn": str(outgoing.turn_id or "")}
        streams.put_events(
            outgoing.room_id,
            [(StreamEvent.REPLY, reply), (StreamEvent.DONE, done)],
            turn_id=outgoing.turn_id,
        )
        return Acknowledgement(external_id=str(outgoing.message_id), acknowledged_at=now)
