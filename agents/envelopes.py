"""The envelopes that cross the border between a network and the runtime, in plain Python.

`transports/<net>/payloads` makes an `Incoming` from foreign JSON and foreign JSON from an `Outgoing`;
`agents.inbox` and `agents.outbox` know nothing of any network.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from plugins.api import Attachment


@dataclass(frozen=True, kw_only=True)
class IncomingRoom:
    """Where a message was said. `type` is elizaOS' channel type: DM, GROUP, THREAD, FEED, API, …"""

    external_id: str
    type: str = "DM"
    name: str = ""
    world_external_id: str = ""
    world_name: str = ""


@dataclass(frozen=True, kw_only=True)
class IncomingPerson:
    """Who said it, as the network names them."""

    external_id: str
    name: str = ""
    username: str = ""
    is_bot: bool = False


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """One message from a network, normalised.

    `external_id` is the network's own id, the key against doubles. `is_addressed` is True where the agent
    was mentioned or answered to, False where it certainly was not, None where the network can't tell.
    `is_verified` is True where the network's signature or a login vouches for the sender. `control` says that
    the network itself means this as a command (a button, a slash command): it is obeyed, and never answered.
    """

    connection_id: UUID
    external_id: str
    room: IncomingRoom
    person: IncomingPerson
    text: str
    said_at: dt.datetime
    attachments: tuple[Attachment, ...] = ()
    reply_to_external_id: str = ""
    is_addressed: bool | None = None
    is_verified: bool = True
    control: Literal["", "stop"] = ""
    platform_data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What `inbox.receive` answers. `is_new` is False for the second copy of the same message.

    `is_obeyed` tells that it was a "stop" which ended another turn: its own turn is over, without an answer.
    """

    message_id: UUID
    turn_id: UUID | None
    lane_id: UUID | None
    room_id: UUID
    person_id: UUID
    is_new: bool
    is_obeyed: bool = False


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """One message on its way to a network. `nonce` is stable over attempts, for networks that take a key."""

    delivery_id: int
    message_id: UUID
    room_id: UUID
    room_external_id: str
    room_type: str
    text: str
    nonce: str
    turn_id: UUID | None = None
    attachments: tuple[Attachment, ...] = ()
    reply_to_external_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Acknowledgement:
    """What a network said of a message that it took."""

    external_id: str
    acknowledged_at: dt.datetime
    platform_data: Mapping[str, Any] = field(default_factory=dict)
