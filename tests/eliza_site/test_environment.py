"""Settings that nothing can be made of: refused in one line, by every door, without their password."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from eliza_site.environment import (
    SQLITE_ENGINE,
    SQLITE_IN_MEMORY,
    Environment,
    check_broker_url,
    check_redis_url,
    hide_password,
    read_database_url,
)
from tests.doubles.programs import run_python


@pytest.mark.parametrize(
    ("door", "variable", "value", "said"),
    [
        (("manage.py", "list_plugins"), "DATABASE_URL", "garbage", "DATABASE_URL=garbage is no address"),
        (("manage.py", "migrate"), "DATABASE_URL", "mysql://a:secret@b/c", "mysql://a:***@b/c is no address"),
        (("-m", "eliza_site.fleet"), "DATABASE_URL", "garbage", "postgres://user:password@host:5432/name"),
        (("-m", "eliza_site.fleet"), "PORT", "abc", "PORT=abc is not a port, 1 to 65535."),
        (("-m", "celery", "-A", "eliza_site", "report"), "REDIS_URL", "http://u:secret@h", "http://u:***@h"),
        (("-m", "uvicorn", "eliza_site.asgi:application"), "LOG_LEVEL", "loud", "LOG_LEVEL='loud' is none"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(
    door: tuple[str, ...], variable: str, value: str, said: str
) -> None:
    done = run_python(*door, **{variable: value})

    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "secret" not in done.stderr


def test_the_stack_is_shown_to_whoever_asks() -> None:
    assert "Traceback" in run_python("manage.py", "migrate", "--traceback", DATABASE_URL="garbage").stderr


@pytest.mark.parametrize(
    "url",
    ["garbage", "mysql://a/b", "postgres://host", "postgres://h:port/name", "://", "a:b@c"],
)
def test_what_is_no_address_of_postgresql_is_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"DATABASE_URL=.*postgres://user:password@host:5432/name"):
        read_database_url(url)


@pytest.mark.parametrize(
    ("url", "host", "name", "port"),
    [
        ("postgres://u:p@h:5433/n", "h", "n", 5433),
        ("postgresql:///n", "", "n", ""),
        ("postgres://u@%2Frun%2Fpg/n", "/run/pg", "n", ""),
        ("postgres://u:p@a:1,b:2/n", "a,b", "n", "1,2"),
    ],
)
def test_addresses_of_postgresql_are_read(url: str, host: str, name: str, port: object) -> None:
    found = read_database_url(url)
    assert (found["HOST"], found["NAME"], found["PORT"]) == (host, name, port)


@pytest.mark.parametrize(
    "url", ["http://nope", "localhost:6379", "redis:/h", "redis://h:port/0", "amqp://h//"]
)
def test_what_is_no_address_of_redis_is_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"REDIS_URL=.*redis://.*rediss://.*unix://"):
        check_redis_url(url)


@pytest.mark.parametrize("url", ["http://nope", "kafka://h", "amqp://a//;http://b", "amqp://h:port//"])
def test_what_is_no_address_of_a_broker_is_refused(url: str) -> None:
    with pytest.raises(
        ImproperlyConfigured, match=r"CELERY_BROKER_URL=.*redis://.*unix://.*amqp://.*amqps://"
    ):
        check_broker_url(url)


def test_known_addresses_stay_as_they_are() -> None:
    for url in ("", "redis://:p@h:6379/0", "rediss://h", "unix:///run/v.sock?db=1"):
        assert check_redis_url(url) == check_broker_url(url) == url
    for url in ("amqp://g:g@127.0.0.1//", "amqps://a//;amqps://b//", "memory://"):
        assert check_broker_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "postgres://user:secret@h/n",
        "postgres://user:sec/secret#@h/n",
        "postgres://user:secret/n",
        "user:secret@h/n",
        "postgres:/user:secret@h/n",
        "redis://:secret@h",
        "postgres://h/n?user=u&password=secret&sslmode=require",
    ],
)
def test_no_password_is_shown(url: str) -> None:
    assert "secret" not in hide_password(url)
    assert "***" in hide_password(url)


def test_what_has_no_password_is_shown_as_it_is() -> None:
    for url in ("garbage", "http://nope", "postgres://host:5432/name", "unix:///run/v.sock?db=1"):
        assert hide_password(url) == url


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "abc", "PORT=abc is not a port, 1 to 65535"),
        ("PORT", "0", "PORT=0 is not a port"),
        ("FLOWER_PORT", "99999", "FLOWER_PORT=99999 is not a port"),
        ("WORKERS", "two", "WORKERS=two is not a whole number"),
        ("WORKERS", "-1", "WORKERS=-1 is not a whole number, 0 or more"),
        ("PAUSE_SECONDS", "nan", "PAUSE_SECONDS=nan is not a number"),
    ],
)
def test_a_number_is_refused_by_its_variables_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    env = Environment(PORT=(int, 1), FLOWER_PORT=(int, 2), WORKERS=(int, 2), PAUSE_SECONDS=(float, 1.0))
    monkeypatch.setitem(Environment.ENVIRON, name, value)
    with pytest.raises(ImproperlyConfigured, match=said):
        env(name)


def test_numbers_are_read_and_an_empty_one_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    env = Environment(PORT=(int, 1), WORKER_METRICS_PORT=(int, 0), PAUSE_SECONDS=(float, 1.0))
    for name, value in (("PORT", ""), ("WORKER_METRICS_PORT", "0"), ("PAUSE_SECONDS", "0.5")):
        monkeypatch.setitem(Environment.ENVIRON, name, value)
    assert (env("PORT"), env("WORKER_METRICS_PORT"), env("PAUSE_SECONDS")) == (1, 0, 0.5)


def test_a_file_of_sqlite_is_found_from_here_or_from_the_root(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    found = [read_database_url(url) for url in ("sqlite:///a.sqlite3", f"sqlite:///{tmp_path}/a.sqlite3")]
    assert found[0] == found[1]
    assert found[0]["NAME"] == str(tmp_path / "a.sqlite3")
    assert found[0]["ENGINE"] == SQLITE_ENGINE
    assert read_database_url("sqlite://:memory:")["NAME"] == SQLITE_IN_MEMORY


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite://a.sqlite3", "sqlite:a", "sqlite:////tmp"]
)
def test_what_names_no_file_of_sqlite_is_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"DATABASE_URL={url} names no file: sqlite:///folder/"):
        read_database_url(url)


def test_a_file_of_sqlite_needs_its_folder(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"there is no folder .*/nowhere\. Make it\."):
        read_database_url(f"sqlite:///{tmp_path}/nowhere/a.sqlite3")


def test_sqlite_needs_its_translator(monkeypatch: Any) -> None:
    monkeypatch.setattr("eliza_site.environment.find_spec", lambda name: None)
    with pytest.raises(ImproperlyConfigured, match=r"needs what requirements-local\.txt installs"):
        read_database_url("sqlite:///a.sqlite3")
