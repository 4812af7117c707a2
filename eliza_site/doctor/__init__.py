"""The doctor: looks at every part of an installation, and says what is wrong with it and what cures it.

The command `doctor` calls `examine`. The list below is the order; a look that needs another part is left out
where that part is ill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from eliza_site.doctor import fleet, models, plugins, site, stores
from eliza_site.doctor.findings import Finding, Level, wrong

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look at one part; `needs` names the part without which it would only repeat what is known."""

    part: str
    look: Callable[[], list[Finding]]
    needs: str = ""


LOOKS = (
    Look(part="settings", look=site.look_at_settings),
    Look(part="static files", look=site.look_at_static_files),
    Look(part="plugins", look=plugins.look_at_plugins),
    Look(part="database", look=stores.look_at_database),
    Look(part="vector extension", look=stores.look_at_vector_extension, needs="database"),
    Look(part="migrations", look=stores.look_at_migrations, needs="database"),
    Look(part="vectors", look=stores.look_at_vectors, needs="migrations"),
    Look(part="second wall", look=stores.look_at_wall, needs="migrations"),
    Look(part="secrets", look=stores.look_at_secrets, needs="migrations"),
    Look(part="cache", look=stores.look_at_cache),
    Look(part="broker", look=fleet.look_at_broker),
    Look(part="workers", look=fleet.look_at_workers, needs="broker"),
    Look(part="dispatcher", look=fleet.look_at_dispatcher, needs="cache"),
    Look(part="turns", look=fleet.look_at_turns, needs="migrations"),
    Look(part="deliveries", look=fleet.look_at_deliveries, needs="migrations"),
    Look(part="agents", look=plugins.look_at_agents, needs="migrations"),
    Look(part="connections", look=plugins.look_at_connections, needs="migrations"),
    Look(part="models", look=models.look_at_models),
    Look(part="embeddings", look=models.look_at_embeddings, needs="migrations"),
)


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What was found at one part; `is_skipped` where a part that it needs is ill."""

    part: str
    findings: tuple[Finding, ...]
    is_skipped: bool = False

    @property
    def is_ill(self) -> bool:
        """Tell whether something is wrong with the part, or may be."""
        return self.is_skipped or any(finding.level is Level.WRONG for finding in self.findings)


def examine(looks: tuple[Look, ...] = LOOKS) -> Iterator[Examined]:
    """Look at one part after the other."""
    ill: set[str] = set()
    for look in looks:
        if look.needs in ill:
            examined = Examined(part=look.part, findings=(), is_skipped=True)
        else:
            examined = Examined(part=look.part, findings=tuple(_look(look)))
        if examined.is_ill:
            ill.add(look.part)
        yield examined


def _look(look: Look) -> list[Finding]:
    try:
        return look.look()
    except Exception as error:  # the door of a look: what fails in an unforeseen way is a finding too
        log.debug("doctor_look_failed", part=look.part, exc_info=True)
        cure = "Set LOG_LEVEL=debug and ask again: the log then has the whole error."
        return [wrong(f"It can't be looked at: {type(error).__name__}: {error}", cure)]
