"""The addresses by which the suite's processes keep apart."""

import pytest

from tests.parallel import on_database


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("unix:///run/valkey.sock", "unix:///run/valkey.sock?db=3"),
        ("unix://:word@/run/valkey.sock?db=0&timeout=1", "unix://:word@/run/valkey.sock?timeout=1&db=3"),
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/3"),
        ("redis://h?db=2&x=1", "redis://h/3?x=1"),
        ("rediss://:word@h:6380/1?ssl_cert_reqs=none", "rediss://:word@h:6380/3?ssl_cert_reqs=none"),
        ("amqp://h/vhost", "amqp://h/vhost"),
        ("", ""),
    ],
)
def test_an_address_gets_another_database_and_stays_what_it_was(url: str, expected: str) -> None:
    assert on_database(url, 3) == expected
