"""What lanes and deliveries promise, in plain Python: the short reference that the SQL is compared with.

A lane's queue and a room's deliveries are lists; position is order. A lease is `free`, `held` or `over`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

OPEN = ("waiting", "running")


@dataclass
class TurnRow:
    """A message's turn."""

    state: str = "waiting"
    errors: int = 0
    deaths: int = 0


@dataclass
class LaneRow:
    """A person's queue: one live token, one turn at a time, in the order of arrival."""

    turns: list[TurnRow] = field(default_factory=list)
    token: int = 0
    lease: str = "free"
    is_delayed: bool = False

    def head(self) -> TurnRow | None:
        return next((turn for turn in self.turns if turn.state in OPEN), None)

    def is_due(self) -> bool:
        return self.head() is not None and self.lease != "held" and not self.is_delayed

    def claim(self) -> TurnRow | None:
        if not self.is_due():
            return None
        self.token, self.lease = self.token + 1, "held"
        return self.take()

    def take(self) -> TurnRow | None:
        turn = None if self.is_delayed else self.head()
        if turn is not None:
            turn.deaths += turn.state == "running"
            turn.state = "running"
        return turn

    def is_held_by(self, token: int) -> bool:
        return token == self.token and self.lease != "free"

    def end(self, turn: TurnRow) -> bool:
        turn.state = "done"
        return self.release_if_empty()

    def release_if_empty(self) -> bool:
        if self.head() is None:
            self.lease = "free"
        return self.lease == "free"

    def put_back(self, turn: TurnRow, *, is_counted: bool, is_delayed: bool) -> None:
        turn.state, turn.errors = "waiting", turn.errors + is_counted
        self.lease, self.is_delayed = "free", is_delayed


@dataclass
class DeliveryRow:
    """A reply on its way: only a room's first open one may be sent."""

    state: str = "pending"
    token: int = 0
    attempts: int = 0
    lease: str = "free"
    is_delayed: bool = False


def first_open(room: list[DeliveryRow]) -> DeliveryRow | None:
    return next((delivery for delivery in room if delivery.state in ("pending", "sending")), None)


def claim_delivery(room: list[DeliveryRow]) -> DeliveryRow | None:
    head = first_open(room)
    if head is None or head.lease == "held" or head.is_delayed:
        return None
    head.state, head.lease = "sending", "held"
    head.token, head.attempts = head.token + 1, head.attempts + 1
    return head


def record(room: list[DeliveryRow], row: DeliveryRow, token: int, state: str, *, is_delayed: bool) -> bool:
    """Record what became of a delivery; tell whether others wait behind it. A stale token changes nothing."""
    if row.token != token or row.state != "sending":
        return False
    row.state, row.lease, row.is_delayed = state, "free", is_delayed
    return any(other is not row and other.state in ("pending", "sending") for other in room)


@dataclass
class World:
    """All lanes by person and all deliveries by room."""

    lanes: dict[str, LaneRow] = field(default_factory=lambda: defaultdict(LaneRow))
    rooms: dict[str, list[DeliveryRow]] = field(default_factory=lambda: defaultdict(list))
