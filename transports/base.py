"""The contract of a network: what a transport is given, what it answers, how it fails.

`transports.delivery` calls it; each network's folder implements it, the shipped fake too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol
from uuid import UUID

from agents.envelopes import Acknowledgement, Outgoing


class TransportError(Exception):
    """A message that a network did not take, or may not have taken.

    `permanent` tells that sending again can't help. `may_have_arrived` tells that the network may have taken
    it all the same: the acknowledgement was lost. `retry_after_seconds` is the network's own word. Its text has the
    network's words, which may repeat the message: a delivery has them, and no log.
    """

    quotes_others = True

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        may_have_arrived: bool = False,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.may_have_arrived = may_have_arrived
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, kw_only=True)
class ConnectionView:
    """A connection as a transport sees it: no model, no database."""

    id: UUID
    agent_id: UUID
    platform: str
    external_id: str = ""
    secrets: Mapping[str, Any] = field(default_factory=dict, repr=False)
    settings: Mapping[str, Any] = field(default_factory=dict)


class Transport(Protocol):
    """A network. `supports_idempotency_key`: the same nonce is never shown twice there.

    `idempotency_key_lasts_seconds` is for how long the network surely remembers a nonce, None for ever: what may
    have arrived longer ago is not repeated under its key, but waits as uncertain.
    """

    name: ClassVar[str]
    supports_streaming: ClassVar[bool]
    supports_idempotency_key: ClassVar[bool]
    idempotency_key_lasts_seconds: ClassVar[float | None]

    def deliver(self, connection: ConnectionView, outgoing: Outgoing) -> Acknowledgement:
        """Send one message and return what the network said.

        Called on a thread of its own without a database connection. Its own limits must end it within
        `agents.outbox.send_timeout_seconds()`: what takes longer is left behind, and counts as something that may
        have arrived.
        Raises: TransportError. Any other exception counts as one after which the message may have arrived.
        """
