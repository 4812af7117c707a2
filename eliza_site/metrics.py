"""What Prometheus reads: `/metrics` of the web, and a port of each worker where WORKER_METRICS_PORT is set.

Where PROMETHEUS_MULTIPROC_DIR is set, all processes of the machine count into files there, and whichever is
asked answers for all of them; otherwise each process answers for itself. See docs/operations.md.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from django.conf import settings
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from agents.gauges import read_gauges

log = structlog.get_logger(__name__)

KEPT_SECONDS = 5.0
REFUSAL = (
    "Metrics are shown on this machine only: ask without a proxy between, or set METRICS_TOKEN and send it as"
    " `Authorization: Bearer …`.\n"
)


def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with every metric, if whoever asks may know."""
    if not may_read(request.META):
        return HttpResponse(REFUSAL, status=403, content_type="text/plain; charset=utf-8")
    return HttpResponse(scrape(), content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})


def may_read(environ: Mapping[str, Any]) -> bool:
    """Tell whether a request brings the token, or comes from this machine by no proxy."""
    scheme, _, token = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
    if settings.METRICS_TOKEN and scheme.lower() == "bearer":
        return constant_time_compare(token.strip(), settings.METRICS_TOKEN)
    # Behind a proxy on this machine everybody seems to come from here.
    if settings.BEHIND_TLS_PROXY or any(
        name in environ for name in ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP")
    ):
        return False
    try:
        return ipaddress.ip_address(str(environ.get("REMOTE_ADDR", ""))).is_loopback
    except ValueError:
        return False


def scrape() -> bytes:
    """Return all metrics as Prometheus reads them: what was counted, and what the database says."""
    counted: CollectorRegistry = REGISTRY
    if settings.PROMETHEUS_MULTIPROC_DIR:
        counted = CollectorRegistry()
        MultiProcessCollector(counted, path=settings.PROMETHEUS_MULTIPROC_DIR)  # type: ignore[no-untyped-call]
    return generate_latest(counted) + generate_latest(_FROM_DATABASE)


class DatabaseGauges(Collector):
    """The gauges that the database knows: asked at most every KEPT_SECONDS, and absent while it is away."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[GaugeMetricFamily] = []
        self._asked_at = float("-inf")

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return the gauges, asking anew where those that are kept are old."""
        with self._lock:
            if time.monotonic() - self._asked_at >= KEPT_SECONDS:
                self._asked_at = time.monotonic()
                self._kept = self._ask()
            return self._kept

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return nothing: registering asks here, and must not ask the database."""
        return []

    def _ask(self) -> list[GaugeMetricFamily]:
        try:
            gauges = read_gauges()
        except Error as error:
            log.warning("gauges_not_read", error=error)
            return []
        return [
            GaugeMetricFamily(
                "eliza_active_users", "People heard from in the last 15 minutes.", gauges.active_users
            ),
            GaugeMetricFamily(
                "eliza_lanes_waiting", "Lanes with work that no worker holds.", gauges.lanes_waiting
            ),
            GaugeMetricFamily("eliza_dead_letters", "Turns that were given up.", gauges.dead_letters),
            GaugeMetricFamily(
                "eliza_approvals_pending", "Actions that wait for a person.", gauges.approvals_pending
            ),
        ]


_FROM_DATABASE = CollectorRegistry()
_FROM_DATABASE.register(DatabaseGauges())


# The port of a worker ----------------------------------------------------------------------------------------


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing: scrapes are many."""


def serve(host: str, port: int) -> _Server | None:
    """Serve this process' metrics on a port of its own; where that is taken, say so and go on without."""
    try:
        server = make_server(host, port, _application, server_class=_Server, handler_class=_Handler)
    except OSError as error:
        log.warning("metrics_not_served", host=host, port=port, error=error)
        return None
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server


def _application(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    if not may_read(environ):
        start("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [REFUSAL.encode()]
    try:
        body = scrape()
    finally:
        connection.close()
    start("200 OK", [("Content-Type", CONTENT_TYPE_LATEST)])
    return [body]
