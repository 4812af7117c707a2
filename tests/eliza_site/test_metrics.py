from __future__ import annotations

import contextlib
import datetime as dt
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError

from agents import gauges
from agents.inbox import receive
from agents.metrics import PLUGIN_EXECUTIONS, counted
from agents.models import Lane, Message, Turn
from eliza_site import metrics
from eliza_site.fleet.measures import empty_metrics_folder
from plugins.time_limits import TimeLimitExceeded, call_within

ROOT = Path(__file__).resolve().parents[2]
NAMES = """
eliza_message_processing_seconds eliza_ai_response_seconds eliza_memory_operation_seconds eliza_step_seconds
eliza_queue_wait_seconds eliza_messages_processed_total eliza_plugin_executions_total eliza_errors_total
eliza_ai_failures_total eliza_active_users eliza_lanes_waiting eliza_dead_letters
eliza_approvals_pending
"""


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask the database anew in each test."""
    registry = metrics.CollectorRegistry()
    registry.register(metrics.DatabaseGauges())
    monkeypatch.setattr(metrics, "_FROM_DATABASE", registry)


@pytest.mark.django_db
def test_all_promised_names_are_there(client: Any) -> None:
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain")
    named = {line.split()[2] for line in response.content.decode().splitlines() if line.startswith("# TYPE")}
    assert set(NAMES.split()) <= named


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("headers", "settings_", "status"),
    [
        ({"REMOTE_ADDR": "127.0.0.1"}, {}, 200),
        ({"REMOTE_ADDR": "::1"}, {}, 200),
        ({"REMOTE_ADDR": "10.0.0.5"}, {}, 403),
        ({"REMOTE_ADDR": ""}, {}, 403),
        ({"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "203.0.113.9"}, {}, 403),
        ({"REMOTE_ADDR": "127.0.0.1"}, {"BEHIND_TLS_PROXY": True}, 403),
        ({"REMOTE_ADDR": "10.0.0.5", "HTTP_AUTHORIZATION": "Bearer "}, {}, 403),
        ({"REMOTE_ADDR": "10.0.0.5", "HTTP_AUTHORIZATION": "Bearer right"}, {"METRICS_TOKEN": "right"}, 200),
        ({"REMOTE_ADDR": "10.0.0.5", "HTTP_AUTHORIZATION": "Bearer wrong"}, {"METRICS_TOKEN": "right"}, 403),
    ],
)
def test_only_this_machine_or_the_token_reads_them(
    client: Any, settings: Any, headers: dict[str, str], settings_: dict[str, Any], status: int
) -> None:
    for name, value in settings_.items():
        setattr(settings, name, value)
    assert client.get("/metrics", **headers).status_code == status


@pytest.mark.django_db
def test_gauges_come_from_the_database(incoming: Any, django_assert_num_queries: Any) -> None:
    receive(incoming(person="ann"))
    receive(incoming(person="ann"))
    receive(incoming(person="bob"))
    receive(incoming(person="cat"))
    Lane.objects.filter(person__name="Cat").update(
        lease_until=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    )
    Turn.objects.filter(person__name="Bob").update(state=Turn.State.DEAD)
    with django_assert_num_queries(1):
        assert gauges.read_gauges() == gauges.Gauges(
            active_users=3, lanes_waiting=1, dead_letters=1, approvals_pending=0
        )
    with django_assert_num_queries(1):
        assert b"eliza_active_users 3.0" in metrics.scrape()
        assert b"eliza_active_users 3.0" in metrics.scrape()


@pytest.mark.django_db
def test_people_of_an_hour_ago_are_not_active(incoming: Any) -> None:
    receive(incoming())
    (said,) = Message.objects.all()
    old = gauges._first_key_of(dt.datetime.now(dt.UTC) - dt.timedelta(hours=1))
    assert gauges._first_key_of(dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)) < said.pk
    Turn.objects.all().delete()
    Message.objects.filter(pk=said.pk).update(id=old)
    assert gauges.read_gauges().active_users == 0


def test_what_was_counted_is_told_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise OperationalError("away")

    monkeypatch.setattr(metrics, "read_gauges", away)
    text = metrics.scrape().decode()
    assert "eliza_queue_wait_seconds_count" in text
    assert "eliza_active_users" not in text


def test_plugins_executions_are_counted_by_how_they_ended() -> None:
    def hang() -> None:
        import time

        time.sleep(0.2)

    plugin = uuid4().hex
    for function, raised in (
        (lambda: None, None),
        (lambda: 1 / 0, ZeroDivisionError),
        (hang, TimeLimitExceeded),
    ):
        expected = pytest.raises(raised) if raised else contextlib.nullcontext()
        with expected, counted(plugin, "C"):
            call_within(0.05, function)
    for outcome in ("ok", "failed", "time_limit"):
        assert PLUGIN_EXECUTIONS.labels(plugin, "C", outcome)._value.get() == 1


def test_processes_of_a_machine_count_together(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "counter_1.db").write_bytes(b"old")
    empty_metrics_folder(folder)
    code = (
        "import django; django.setup(); from agents.metrics import ERRORS; ERRORS.labels('x').inc();"
        "from unittest import mock; from eliza_site import metrics;"
        "metrics.read_gauges = mock.Mock(side_effect=metrics.Error('away')); print(metrics.scrape().decode())"
    )
    environment = {
        **os.environ,
        "PROMETHEUS_MULTIPROC_DIR": str(folder),
        "DJANGO_SETTINGS_MODULE": "eliza_site.settings",
    }
    for expected in ("1.0", "2.0"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert f'eliza_errors_total{{where="x"}} {expected}' in done.stdout


@pytest.mark.django_db
def test_a_worker_serves_its_own_port_and_goes_on_where_it_is_taken(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        metrics,
        "read_gauges",
        lambda: gauges.Gauges(active_users=1, lanes_waiting=2, dead_letters=3, approvals_pending=0),
    )
    server = metrics.serve("127.0.0.1", 0)
    assert server is not None
    try:
        assert metrics.serve("127.0.0.1", server.server_port) is None
        url = f"http://127.0.0.1:{server.server_port}/metrics"
        with urllib.request.urlopen(url, timeout=5) as response:
            assert b"eliza_lanes_waiting 2.0" in response.read()
        settings.BEHIND_TLS_PROXY = True
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(url, timeout=5)
    finally:
        server.shutdown()
        server.server_close()
