"""The broker's client, against the tests' own server."""

from __future__ import annotations

import pytest
from django.conf import settings

from eliza_site.broker import Channel
from eliza_site.celery import app

pytestmark = pytest.mark.skipif(
    not settings.BROKER_IS_REDIS, reason="CELERY_BROKER_URL names another broker than Redis"
)


def test_celerys_channels_keep_their_client_as_long_as_its_pool() -> None:
    with app.connection_for_write() as link:
        channel = link.default_channel
        assert isinstance(channel, Channel)
        with channel.conn_or_acquire() as client, channel.conn_or_acquire() as again:
            assert client is again
        channel._disconnect_pools()
        with channel.conn_or_acquire() as other:
            assert other is not client
            assert other.ping()


def test_a_client_that_is_kept_outlives_the_end_of_its_connection() -> None:
    with app.connection_for_write() as link, link.SimpleQueue("tests-broker") as queue:
        queue.put({"a": 1})
        channel = queue.channel
        with channel.conn_or_acquire() as client:
            client.connection_pool.disconnect()
            queue.put({"a": 2})
        assert [queue.get(timeout=5).payload["a"] for _ in range(2)] == [1, 2]
        queue.clear()
        queue.queue.delete()
