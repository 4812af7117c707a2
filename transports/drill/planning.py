"""What a drill is made of, chosen by a seed: who speaks when, and which fault comes after which message."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

KEYED, KEYLESS = "fake", "fake-keyless"


class Fault(StrEnum):
    """What a drill does to a fleet."""

    KILL_WORKER = "kill a worker"
    FLUSH_BROKER = "flush the broker"
    CUT_DATABASE = "cut the database's sessions"


@dataclass(frozen=True, kw_only=True)
class Order:
    """What was asked for. Unit: `patience_seconds` from the last fault and message to the last final state."""

    seed: int
    messages: int = 200
    per_second: float = 10.0
    people: int = 20
    is_half_keyless: bool = False
    kills: int = 0
    flushes: int = 0
    cuts: int = 0
    patience_seconds: float = 240.0

    @property
    def has_faults(self) -> bool:
        """Tell whether anything is to be harmed."""
        return bool(self.kills or self.flushes or self.cuts)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One message: the number of who says it, and the faults that come right after it."""

    person: int
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A drill before it happens: the network of each person, and the moments in their order."""

    order: Order
    networks: tuple[str, ...]
    moments: tuple[Moment, ...]


def make_plan(order: Order) -> Plan:
    """Choose by the seed who speaks when, and spread the faults; the same order makes the same plan.

    No fault comes before the first message, and none after the last where there is more than one.
    """
    chance = random.Random(order.seed)  # noqa: S311 - has to be repeatable, not secret
    speakers = [chance.randrange(order.people) for _message in range(order.messages)]
    wanted = [
        *[Fault.KILL_WORKER] * order.kills,
        *[Fault.FLUSH_BROKER] * order.flushes,
        *[Fault.CUT_DATABASE] * order.cuts,
    ]
    faults: dict[int, list[Fault]] = {}
    for fault in wanted:
        faults.setdefault(chance.randrange(max(1, order.messages - 1)), []).append(fault)
    return Plan(
        order=order,
        networks=tuple(_network_of(number, order) for number in range(order.people)),
        moments=tuple(
            Moment(person=person, faults=tuple(faults.get(number, ())))
            for number, person in enumerate(speakers)
        ),
    )


def _network_of(person: int, order: Order) -> str:
    return KEYLESS if order.is_half_keyless and person % 2 else KEYED
