"""Celery's door to the outbox. A wake-up only: what is to be sent stands in the deliveries."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from transports import delivery


@shared_task(name="transports.deliver_message")
def deliver_message(*, connection_id: str, room_id: str) -> None:
    """Send what waits in this room, in order."""
    delivery.deliver_room(UUID(connection_id), UUID(room_id))
