"""The fault proxy fails as told: the fault tests are worth no more than that."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.chaos.proxy import FaultProxy, Mode


@pytest.fixture
def database() -> Iterator[FaultProxy]:
    """A proxy before PostgreSQL."""
    with FaultProxy(os.environ["DATABASE_URL"]) as proxy:
        yield proxy


def connect(proxy: FaultProxy) -> psycopg.Connection[tuple[int]]:
    return psycopg.connect(proxy.url, autocommit=True, connect_timeout=5)  # type: ignore[return-value]


def test_it_passes_what_it_is_not_told_to_harm(database: FaultProxy) -> None:
    with connect(database) as session:
        assert session.execute("SELECT 1").fetchone() == (1,)


def test_a_reset_ends_what_is_open_and_what_comes(database: FaultProxy) -> None:
    with connect(database) as session:
        database.set(Mode.RESET)
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        connect(database)
    database.set(Mode.PASS)
    with connect(database) as session:
        assert session.execute("SELECT 1").fetchone() == (1,)


def test_the_answer_to_a_commit_is_cut_and_what_it_did_stands(database: FaultProxy) -> None:
    with connect(database) as session, connect(database) as other:
        session.execute("DROP TABLE IF EXISTS cut_by_the_proxy")
        session.execute("CREATE TABLE cut_by_the_proxy (number int)")
        session.execute("BEGIN")
        session.execute("INSERT INTO cut_by_the_proxy VALUES (7)")
        database.set(Mode.CUT_AFTER_COMMIT)
        with pytest.raises(psycopg.OperationalError):
            session.execute("COMMIT")
        assert database.cuts == 1
        assert other.execute("SELECT number FROM cut_by_the_proxy").fetchall() == [(7,)]
        other.execute("DROP TABLE cut_by_the_proxy")


def test_a_hole_swallows_and_gives_back() -> None:
    with FaultProxy(os.environ["REDIS_URL"]) as proxy:
        client = redis.Redis.from_url(proxy.url, socket_timeout=0.3, retry=Retry(NoBackoff(), 0))
        assert client.ping()
        proxy.set(Mode.HOLE)
        with pytest.raises(redis.TimeoutError):
            client.ping()
        proxy.set(Mode.PASS)
        assert client.ping()
        client.close()
