"""What watches the site asks: alive (`/healthz`), ready (`/readyz`), and each part by its name (`/statusz`).

Ready means that a message can be stored, which needs the database and its migrations alone: a broker or cache
that fails is named there as degraded. Parts are asked side by side, and one that doesn't answer within
`PART_SECONDS` has failed: a black hole behind one of them never hangs a probe.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache as remember
from typing import Any

import structlog
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse

from agents.dispatcher import SEEN_AT_KEY
from eliza_site.celery import app

log = structlog.get_logger(__name__)

PART_SECONDS = 3.0
PING_SECONDS = 1.0


class PartError(Exception):
    """A part of the site is not as it should be; the text is shown to whoever asks."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """How one part of the site is."""

    ok: bool
    milliseconds: float
    detail: str = ""


def healthz(_request: HttpRequest) -> HttpResponse:
    """Answer that the process is alive."""
    return HttpResponse("ok\n", content_type="text/plain")


def readyz(_request: HttpRequest) -> JsonResponse:
    """Answer whether a message can be stored, and name what else is degraded."""
    parts = ask(
        {"database": ask_database, "migrations": ask_migrations, "broker": ask_broker, "cache": ask_cache}
    )
    ready = parts["database"].ok and parts["migrations"].ok
    degraded = [name for name, part in parts.items() if not part.ok]
    return _answer("ready" if ready else "not ready", parts, ok=ready, degraded=degraded)


def statusz(_request: HttpRequest) -> JsonResponse:
    """Answer how each part is, with 503 where one fails."""
    parts = ask(
        {
            "database": ask_database,
            "broker": ask_broker,
            "cache": ask_cache,
            "dispatcher": ask_dispatcher,
        }
        | _ask_nodes()
    )
    ok = all(part.ok for part in parts.values())
    return _answer("ok" if ok else "failing", parts, ok=ok)


def _answer(status: str, parts: Mapping[str, Part], *, ok: bool, **more: list[str]) -> JsonResponse:
    body = {"status": status, "parts": {name: vars(part) for name, part in parts.items()}, **more}
    return JsonResponse(body, status=200 if ok else 503, headers={"Cache-Control": "no-store"})


def ask(questions: Mapping[str, Callable[[], str]]) -> dict[str, Part]:
    """Ask every part at the same time, and give each the same few seconds."""
    started_at = time.monotonic()
    futures = {name: _threads().submit(_ask_one, question) for name, question in questions.items()}
    return {name: _wait(future, started_at) for name, future in futures.items()}


def _wait(future: Future[Part], started_at: float) -> Part:
    try:
        return future.result(timeout=max(started_at + PART_SECONDS - time.monotonic(), 0.0))
    except TimeoutError:
        future.cancel()
        return Part(
            ok=False, milliseconds=PART_SECONDS * 1000, detail=f"no answer in {PART_SECONDS:g} seconds"
        )


def _ask_one(question: Callable[[], str]) -> Part:
    started_at = time.monotonic()
    ok = True
    try:
        detail = question()
    except PartError as error:
        ok, detail = False, str(error)
    except Exception as error:
        # Only the kind of error is told: its text may name addresses.
        log.warning("health.part_failed", part=question.__name__, error=error)
        ok, detail = False, type(error).__name__
    finally:
        connection.close()
    return Part(ok=ok, milliseconds=round((time.monotonic() - started_at) * 1000, 1), detail=detail)


@remember
def _threads() -> ThreadPoolExecutor:
    """Threads for the questions: as many as three probes at once can need."""
    return ThreadPoolExecutor(max_workers=18, thread_name_prefix="health")


def ask_database() -> str:
    """Ask the database for a row."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return ""


@remember
def ask_migrations() -> str:
    """Ask whether every migration of this code is applied; a yes is remembered, as they stay applied."""
    executor = MigrationExecutor(connection)
    if missing := executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise PartError(f"{len(missing)} migrations are not applied: run `manage.py migrate`")
    return ""


def ask_broker() -> str:
    """Ask the broker for a connection, and tell what it is; its address is nobody's business."""
    with app.connection_for_write(
        heartbeat=0,
        connect_timeout=PING_SECONDS,
        transport_options={"socket_connect_timeout": PING_SECONDS, "socket_timeout": PING_SECONDS},
    ) as broker:
        broker.ensure_connection(max_retries=0)
        # RabbitMQ tells its name while it connects.
        told: dict[str, str] = getattr(broker.connection, "server_properties", {})
        return told.get("product", "Valkey or Redis")


def ask_cache() -> str:
    """Ask the cache's server for what was just put there: what was set is no longer near."""
    value = str(time.time_ns())
    if cache.set_many({"health:probe": value}, timeout=60):
        raise PartError("the cache's server does not take what is written")
    if cache.get("health:probe") != value:
        raise PartError("the cache forgot what was just written")
    return ""


def ask_dispatcher() -> str:
    """Ask when a dispatcher last looked for work that was left behind."""
    seen_at = cache.get(SEEN_AT_KEY)
    if seen_at is None:
        raise PartError("no dispatcher was seen: every worker runs one, or `manage.py dispatch`")
    age = time.time() - float(seen_at)
    if age > settings.DISPATCH_PERIOD_SECONDS * 3 + 10:
        raise PartError(f"the last dispatcher was seen {age:.0f} seconds ago")
    return f"seen {max(age, 0):.0f} seconds ago"


def _ask_nodes() -> dict[str, Callable[[], str]]:
    """Ask workers and beat by one broadcast whose answers both parts share."""
    answers: Future[list[str]] = _threads().submit(find_nodes)

    def ask_workers() -> str:
        workers = [name for name in answers.result() if not name.startswith("celerybeat@")]
        if not workers:
            raise PartError("no worker answers")
        return ", ".join(sorted(workers))

    def ask_beat() -> str:
        if not any(name.startswith("celerybeat@") for name in answers.result()):
            raise PartError("beat does not answer")
        return ""

    return {"workers": ask_workers, "beat": ask_beat}


def find_nodes() -> list[str]:
    """List the names of the workers and beats that answer a ping.

    It returns as soon as this machine's number of them has answered, and after `PING_SECONDS` at the latest.
    """
    try:
        replies = _ping()
    except Exception:
        # A connection from before the broker was away: the next one is a fresh one.
        replies = _ping()
    return [name for reply in replies or [] for name in reply]


def _ping() -> list[dict[str, Any]] | None:
    answers: list[dict[str, Any]] | None = app.control.ping(
        timeout=PING_SECONDS, limit=settings.WORKER_PROCESSES + 1
    )
    return answers
