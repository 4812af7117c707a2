"""The sample conversation of the first start: a few messages on the way that every message takes."""

import json
import secrets
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eliza_site.embedded.processes import Child, Command, tail
from eliza_site.fleet.errors import FleetError
from eliza_site.fleet.preparation import Site

PATIENCE_SECONDS = 240.0
SAMPLE = (
    ("discord", "Ada", "Hello Eliza! My name is Ada, and I build small robots."),
    ("telegram", "Ben", "Hi, who are you?"),
    ("twitter", "Chloe", "What time is it where you are?"),
    ("discord", "Ada", "I can't decide what my next robot should do. Any idea?"),
    ("telegram", "Ben", "I slept badly and have an exam tomorrow."),
    ("discord", "Ada", "Do you remember my name?"),
)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What the conversation measured; the times are seconds from receipt to reply."""

    messages: int
    replies: int
    p50_seconds: float | None
    p95_seconds: float | None
    models: tuple[str, ...]


def hold_conversation(
    site: Site, *, run_dir: Path, show: Callable[[str, str, str], None], look_after: Callable[[], None]
) -> Figures:
    """Send the sample through the fleet, show each reply as it comes, and return the figures.

    Raises: FleetError where the messages could not be sent, or no reply came.
    """
    inbound, outbound = run_dir / "conversation.jsonl", run_dir / "replies.jsonl"
    sent = _write_sample(inbound)
    outbound.unlink(missing_ok=True)
    child = Child(
        Command(
            name="conversation",
            argv=(
                *(sys.executable, "manage.py", "ingest", str(inbound)),
                *("--wait", "--replies", str(outbound)),
            ),
            folder=site.folder,
            log=run_dir / "logs" / "conversation.log",
            environment=site.environment,
        )
    )
    child.start()
    replies: dict[str, dict[str, Any]] = {}
    try:
        for reply in _follow(outbound, child, look_after):
            if message := sent.get(str(reply.get("in_reply_to"))):
                replies[str(reply["in_reply_to"])] = reply
                show(str(message["person"]), str(message["text"]), str(reply.get("text", "")))
    finally:
        child.kill()
    if not replies:
        raise FleetError(f"No reply came. {child.command.log} ends with:\n{tail(child.command.log)}")
    return _measure(site, len(sent), list(replies.values()))


def room_of(person: str) -> str:
    """Return the room in which the person of the sample speaks."""
    return f"sample-{person}"


def _write_sample(path: Path) -> dict[str, dict[str, str]]:
    """Write the sample with ids of this start: a message that is known already is not answered again."""
    start = secrets.token_hex(4)
    at = datetime.now(UTC).isoformat()
    messages = [
        {
            "id": f"sample-{start}-{number}",
            "platform": platform,
            "room": room_of(person),
            "person": person,
            "text": text,
            "at": at,
        }
        for number, (platform, person, text) in enumerate(SAMPLE, start=1)
    ]
    path.write_text("".join(f"{json.dumps(message)}\n" for message in messages))
    return {message["id"]: message for message in messages}


def _follow(path: Path, child: Child, look_after: Callable[[], None]) -> Iterator[dict[str, Any]]:
    """Read a file's whole lines as they are written, until its writer has ended."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    read = 0
    while True:
        is_last_look = not child.is_running() or time.monotonic() > deadline
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        for line in lines[read:]:
            if not line.endswith("\n"):
                break
            read += 1
            with suppress(ValueError):
                yield json.loads(line)
        if is_last_look:
            return
        look_after()
        time.sleep(0.1)


def _measure(site: Site, messages: int, replies: list[dict[str, Any]]) -> Figures:
    seconds = sorted(_find_seconds(replies))
    return Figures(
        messages=messages,
        replies=len(replies),
        p50_seconds=statistics.median(seconds) if seconds else None,
        p95_seconds=seconds[min(round(0.95 * (len(seconds) - 1)), len(seconds) - 1)] if seconds else None,
        models=_find_models(site, replies),
    )


def _find_seconds(replies: list[dict[str, Any]]) -> Iterator[float]:
    for reply in replies:
        received, replied = reply.get("received_at"), reply.get("replied_at")
        if received and replied:
            yield (datetime.fromisoformat(replied) - datetime.fromisoformat(received)).total_seconds()


def _find_models(site: Site, replies: list[dict[str, Any]]) -> tuple[str, ...]:
    """Ask the turns themselves which models answered: settings say only which should."""
    models: set[str] = set()
    with suppress(FleetError, ValueError):
        for turn in {str(reply["turn"]) for reply in replies[:1] if reply.get("turn")}:
            models |= set(_find_values(json.loads(site.manage("show_turn", turn, "--json")), "model"))
    return tuple(sorted(models))


def _find_values(found: Any, key: str) -> Iterator[str]:
    if isinstance(found, Mapping):
        for name, value in found.items():
            if name == key and isinstance(value, str) and value:
                yield value
            yield from _find_values(value, key)
    elif isinstance(found, list):
        for value in found:
            yield from _find_values(value, key)
