"""Networks that take everything: for platforms without a connection of their own, and for tests.

`fake` knows a message again by its nonce, as Discord does; `fake-keyless` shows whatever comes, as Telegram
does. What they took stands in the delivery's answer, and, where a connection's settings name a file
(`{"ledger": "/path"}`), in that ledger. The settings also tell them to fail, as networks do:

- `fail`: `permanent`, `temporary`, `lost_acknowledgement` (it arrived, the sender sees an error), `timeout`
  (it never arrived, the sender sees the same), or `slow` (it arrived, and is acknowledged late)
- `retry_after_seconds`: what `temporary` asks for, 1 unless set
- `slow_seconds`: how late `slow` is, 1 unless set
- `fail_attempts`: only so many attempts of each message fail; counted in the ledger, so it needs one
- `fail_share`: only this share of the messages fails, chosen by their nonce
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from django.utils import timezone

from agents.envelopes import Acknowledgement, Outgoing
from transports.base import ConnectionView, TransportError
from transports.fake import ledger
from transports.fake.ledger import Answer


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
        settings = connection.settings
        if "ledger" in settings:
            arrival = ledger.note(
                Path(settings["ledger"]),
                outgoing,
                connection=str(connection.id),
                is_keyed=self.supports_idempotency_key,
                choose=lambda attempt: _answer(settings, outgoing, attempt),
            )
            answer = Answer(arrival.answer)
        else:
            answer = _answer(settings, outgoing, attempt=1)
        _meet(answer, settings)
        return Acknowledgement(external_id=f"fake-{outgoing.nonce}", acknowledged_at=timezone.now())


class KeylessFakeTransport(FakeTransport):
    """Shows every message that comes: one that is sent twice is seen twice."""

    name: ClassVar[str] = "fake-keyless"
    supports_idempotency_key: ClassVar[bool] = False


FAKE_NAMES = frozenset({FakeTransport.name, KeylessFakeTransport.name})


def _answer(settings: Mapping[str, Any], outgoing: Outgoing, attempt: int) -> Answer:
    is_chosen = zlib.crc32(outgoing.nonce.encode()) % 1000 < 1000 * settings.get("fail_share", 1.0)
    if not is_chosen or attempt > settings.get("fail_attempts", attempt):
        return Answer.ACKNOWLEDGED
    return Answer(settings.get("fail") or Answer.ACKNOWLEDGED)


def _meet(answer: Answer, settings: Mapping[str, Any]) -> None:
    """Let the sender see what it sees of this answer."""
    match answer:
        case Answer.PERMANENT:
            raise TransportError("The room is gone.", permanent=True)
        case Answer.TEMPORARY:
            wait = float(settings.get("retry_after_seconds", 1.0))
            raise TransportError("The network is busy.", retry_after_seconds=wait)
        case Answer.LOST_ACKNOWLEDGEMENT:
            raise TransportError("The network closed the connection.", may_have_arrived=True)
        case Answer.TIMEOUT:
            raise TransportError("The network did not answer in time.", may_have_arrived=True)
        case Answer.SLOW:
            time.sleep(float(settings.get("slow_seconds", 1.0)))
