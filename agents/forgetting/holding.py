"""The right to work one forgetting: a lease that each batch renews under its token, and what was done so far."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from django.db import connection, transaction

from agents.crashpoints import reach
from agents.models import Forgetting

LEASE_SECONDS = 30.0


class Lost(Exception):
    """Somebody else works this forgetting now, or it has ended."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a forgetting has come: its stage, and how many rows of which kind went or were cut."""

    stage: str
    counts: dict[str, int]


CLAIM = """
UPDATE agents_forgetting
SET lease_token = lease_token + 1, lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE id = %(id)s AND (lease_until IS NULL OR lease_until < clock_timestamp())
RETURNING lease_token
"""

RENEW = """
UPDATE agents_forgetting
SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s), counts = %(counts)s::jsonb
WHERE id = %(id)s AND lease_token = %(token)s
"""

RELEASE = "UPDATE agents_forgetting SET lease_until = NULL WHERE id = %(id)s AND lease_token = %(token)s"

FIND_DUE = """
SELECT id FROM agents_forgetting
WHERE (lease_until IS NULL OR lease_until < clock_timestamp())
  AND began_at < clock_timestamp() - make_interval(secs => %(patience)s)
ORDER BY id LIMIT %(limit)s
"""


class Hold:
    """A claimed forgetting. `tell` hears of each batch."""

    def __init__(self, forgetting: Forgetting, token: int, tell: Callable[[Progress], None]) -> None:
        self.id: UUID = forgetting.pk
        self.counts: dict[str, int] = dict(forgetting.counts)
        self.stage: str = forgetting.stage
        self._token = token
        self._tell = tell
        self._renewed_at = time.monotonic()

    def count(self, **more: int) -> None:
        """Count rows that went or were cut, by their kind; written with the next renewal."""
        for kind, number in more.items():
            if number:
                self.counts[kind] = self.counts.get(kind, 0) + number

    def renew(self) -> None:
        """Renew the lease, and write down what was counted.

        Raises: Lost.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                RENEW,
                {
                    "id": self.id,
                    "token": self._token,
                    "lease": LEASE_SECONDS,
                    "counts": json.dumps(self.counts),
                },
            )
            if cursor.rowcount != 1:
                raise Lost(f"Forgetting {self.id} is no longer held by token {self._token}.")
        self._renewed_at = time.monotonic()

    def tick(self) -> None:
        """Renew the lease if it is time to: for what reads for long and writes nothing.

        Raises: Lost.
        """
        if time.monotonic() - self._renewed_at > LEASE_SECONDS / 3:
            self.renew()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Run the block in a transaction of its own, if the lease still stands.

        Raises: Lost.
        """
        before = dict(self.counts)
        try:
            with transaction.atomic():
                # First, so that two who both believe to hold it come one after the other.
                self.renew()
                yield
        except BaseException:
            self.counts = before
            raise
        reach("forgetting.batch_done")
        self._tell(Progress(stage=self.stage, counts=self.counts))

    def release(self) -> None:
        """Give it up; whoever finds it goes on."""
        with connection.cursor() as cursor:
            cursor.execute(RELEASE, {"id": self.id, "token": self._token})


def claim(forgetting_id: UUID, tell: Callable[[Progress], None]) -> tuple[Forgetting, Hold] | None:
    """Take the forgetting, if it is there and nobody works it."""
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, {"id": forgetting_id, "lease": LEASE_SECONDS})
        row = cursor.fetchone()
    if row is None:
        return None
    forgetting = Forgetting.objects.get(pk=forgetting_id)
    return forgetting, Hold(forgetting, row[0], tell)


def find_due(limit: int, *, patience_seconds: float) -> list[UUID]:
    """Return the forgettings that nobody works, and that began longer ago than the patience."""
    with connection.cursor() as cursor:
        cursor.execute(FIND_DUE, {"limit": limit, "patience": patience_seconds})
        return [row[0] for row in cursor.fetchall()]
