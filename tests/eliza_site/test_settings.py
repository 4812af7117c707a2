from __future__ import annotations

import os
import re
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import celery.app.defaults
import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.conf import settings as site_settings
from django.core.cache.backends.redis import RedisCache
from kombu import Connection

from eliza_site import settings as settings_module
from eliza_site.celery import app
from tests.doubles.programs import run_python

ROOT = Path(__file__).resolve().parents[2]
PRODUCTION = {
    "DEBUG": "",
    "BEHIND_TLS_PROXY": "true",
    "SECRET_KEY": "a-key-of-the-test-with-more-than-fifty-characters-0123456789",
    "ALLOWED_HOSTS": "example.org",
}


def test_celery_knows_every_setting_that_is_meant_for_it() -> None:
    known = {name.upper() for name in celery.app.defaults.SETTING_KEYS}
    meant = {name.removeprefix("CELERY_") for name in dir(site_settings) if name.startswith("CELERY_")}
    assert meant - known == set()
    assert app.conf.task_acks_late


def test_celery_takes_the_broker_from_the_settings_and_not_past_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "rediss://whose-certificate-nobody-checks/0")
    for link in (app.connection_for_read(), app.connection_for_write()):
        assert "certificate" not in link.as_uri()


def test_celery_waits_for_threads_and_not_for_a_soft_shutdown() -> None:
    """A soft shutdown sleeps before `worker_shutting_down` is told; with threads nothing is won by it."""
    assert app.conf.worker_soft_shutdown_timeout == 0
    assert not app.conf.worker_enable_soft_shutdown_on_idle
    assert "REMAP_SIGTERM" not in (ROOT / "Procfile").read_text()
    assert "--pool=threads" in (ROOT / "Procfile").read_text()


@pytest.mark.parametrize(
    ("broker", "is_redis", "is_cache"),
    [
        ("", True, True),
        ("redis://127.0.0.1:1/1", True, False),
        ("amqp://guest:guest@127.0.0.1//", False, False),
    ],
)
def test_settings_follow_the_broker_that_was_chosen(broker: str, is_redis: bool, is_cache: bool) -> None:
    show = (
        "from eliza_site import settings as s; print(s.BROKER_IS_REDIS, s.BROKER_IS_CACHE,"
        " s.CELERY_WORKER_DISABLE_PREFETCH, hasattr(s, 'CELERY_BROKER_TRANSPORT_OPTIONS'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", show],
        cwd=ROOT,
        env={**os.environ, "CELERY_BROKER_URL": broker},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == [str(is_redis), str(is_cache), str(is_redis), str(is_redis)], done.stderr


@pytest.mark.parametrize(
    ("environment", "tokens"),
    [
        ({}, "120"),
        ({"MODEL_MAX_TOKENS": "300"}, "300"),
        ({"OPENAI_API_KEY": "k"}, "512"),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}, "512"),
    ],
)
def test_the_local_model_is_brief_unless_something_else_is_set(
    environment: dict[str, str], tokens: str
) -> None:
    nothing = {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": "", "MODEL_MAX_TOKENS": ""}
    show = "from eliza_site import settings; print(settings.MODEL_MAX_TOKENS)"
    done = run_python("-c", show, **{**nothing, **environment})
    assert done.stdout.strip() == tokens, done.stderr


def test_every_variable_stands_in_the_example_with_a_comment() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    named = {
        match[1]: lines[number - 1]
        for number, line in enumerate(lines)
        if (match := re.fullmatch(r"# ([A-Z0-9_]+)=.*", line))
    }
    assert set(named) == set(settings_module.env.scheme)
    assert all(re.fullmatch(r"# [A-Z].*|# [a-z].*", comment) for comment in named.values())
    assert not [name for name, comment in named.items() if re.fullmatch(r"# [A-Z0-9_]+=.*", comment)]


def test_the_examples_values_are_the_defaults() -> None:
    text = (ROOT / ".env.example").read_text()
    for name, value in re.findall(r"^# ([A-Z0-9_]+)=(.*)$", text, re.MULTILINE):
        kind, default = settings_module.env.scheme[name]
        if name == "RUN_DIR":
            default = Path(default).name
        elif kind is list:
            default = ",".join(default)
        written = kind(value) if kind in (int, float) else value
        assert written == (str(default).lower() if kind is bool else default), name


def manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_production_settings_pass_djangos_checks() -> None:
    done = manage("check", "--deploy", "--fail-level", "WARNING", **PRODUCTION)
    assert done.returncode == 0, done.stderr
    assert "0 silenced" in done.stdout + done.stderr


# A Valkey behind a certificate that nobody signed --------------------------------------------------------


class _Relay(socketserver.ThreadingTCPServer):
    """Ends TLS, and hands what comes on to the tests' own server."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, context: ssl.SSLContext, connect: Any) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.context, self.connect = context, connect


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        """Carry bytes both ways until one side ends."""
        try:
            with (
                self.server.context.wrap_socket(self.request, server_side=True) as near,  # type: ignore[attr-defined]
                self.server.connect() as far,  # type: ignore[attr-defined]
            ):
                threading.Thread(target=_carry, args=(far, near), daemon=True).start()
                _carry(near, far)
        except OSError:
            return


def _carry(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
    except OSError:
        return


@pytest.fixture
def self_signed(tmp_path: Path) -> Iterator[str]:
    """A `rediss://` address of the tests' server, with a self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "elsewhere")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = tmp_path / "server.pem"
    file.write_bytes(secret + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    pool = redis.ConnectionPool.from_url(site_settings.REDIS_URL)
    where = pool.connection_kwargs

    def connect() -> socket.socket:
        if "path" in where:
            far = socket.socket(socket.AF_UNIX)
            far.connect(where["path"])
            return far
        return socket.create_connection((where["host"], where["port"]))

    with _Relay(context, connect) as relay:
        threading.Thread(target=relay.serve_forever, daemon=True).start()
        password = f":{where['password']}@" if where.get("password") else ""
        yield f"rediss://{password}127.0.0.1:{relay.server_address[1]}/{where.get('db', 0)}"
        relay.shutdown()


@pytest.mark.parametrize("choice", ["none", "required"])
def test_a_self_signed_server_is_used_only_where_that_was_chosen(
    self_signed: str, monkeypatch: pytest.MonkeyPatch, choice: str
) -> None:
    monkeypatch.setitem(settings_module.env.ENVIRON, "REDIS_SSL_CERT_REQS", choice)
    url = settings_module.with_certificate_choice(self_signed)
    cache = RedisCache(url, {"OPTIONS": {"socket_timeout": 5.0}})
    broker = Connection(url, transport_options={"socket_timeout": 5.0, "max_retries": 0})
    if choice == "none":
        cache.set("tls", 1, timeout=5)
        assert cache.get("tls") == 1
        broker.ensure_connection(max_retries=1, timeout=5)
        with broker.SimpleQueue("tests-tls") as queue:
            queue.put({"a": 1})
            message = queue.get(timeout=5)
            message.ack()
            assert message.payload == {"a": 1}
            queue.queue.delete()
    else:
        with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            cache.set("tls", 1)
    cache.close()
    broker.release()


def test_addresses_without_tls_and_those_that_chose_stay_as_they_are() -> None:
    for url in ("redis://h:6379/0", "unix:///run/v.sock?db=1", "rediss://h/0?ssl_cert_reqs=none", ""):
        assert settings_module.with_certificate_choice(url) == url
    assert urlsplit(settings_module.with_certificate_choice("rediss://h/0")).query == "ssl_cert_reqs=required"
