"""Whom a forgetting is about, read from its row: ids as ids, times as times."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from agents.models import Forgetting


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The person with those merged into them, the rooms they were in, and the agents that heard of them.

    `ghosts` are the nameless people that their lanes stand under. `since` has the rooms that stay, each with when the
    person was first heard there, None where they said nothing.
    """

    people: list[UUID]
    ghosts: list[UUID]
    private_rooms: list[UUID]
    since: Mapping[UUID, dt.datetime | None]
    agents: list[UUID]
    names: list[str]
    marks: list[str]
    accounts: list[list[str]]

    @property
    def shared_rooms(self) -> list[UUID]:
        """The rooms that others are in too."""
        return list(self.since)


def subject_of(forgetting: Forgetting) -> Subject:
    """Read the row."""
    return Subject(
        people=[UUID(id) for id in forgetting.people],
        ghosts=[UUID(id) for id in forgetting.ghosts],
        private_rooms=[UUID(id) for id in forgetting.private_rooms],
        since={
            UUID(id): dt.datetime.fromisoformat(first) if first else None
            for id, first in forgetting.shared_rooms.items()
        },
        agents=[UUID(id) for id in forgetting.agents],
        names=forgetting.names,
        marks=forgetting.marks,
        accounts=forgetting.accounts,
    )
