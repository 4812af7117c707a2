"""PostgreSQL loses its sessions, stops at once, and does what it never says that it did: nothing is lost or doubled."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from tests.chaos.errands import NOTE
from tests.chaos.harness import Fleet, fleet_running
from tests.chaos.proxy import Mode
from tests.chaos.site import Crowd, Site

pytestmark = pytest.mark.fleet

ROUNDS = 6
ONE_EACH = """
SELECT message.external_id FROM agents_message AS message LEFT JOIN agents_turn AS turn ON turn.message_id = message.id
WHERE message.direction = 'in' GROUP BY message.connection_id, message.external_id
HAVING count(DISTINCT message.id) <> 1 OR count(turn.id) <> 1
"""
"""Messages that are stored twice, or half: without their turn, or with two."""
END_SOME = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND random() < 0.5
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet with a PostgreSQL of its own, behind a proxy."""
    with fleet_running(
        tmp_path_factory.mktemp("postgres"), has_own_postgres=True, has_proxies=True
    ) as running:
        yield running


@pytest.fixture(scope="module")
def own_site(own: Fleet) -> Iterator[Site]:
    """That fleet's web process."""
    site = Site(own)
    yield site
    site.end()


def assert_clean(fleet: Fleet, crowd: Crowd) -> None:
    """Nothing is lost, doubled or half stored, and no message was blamed for the database."""
    fleet.wait_until_over(crowd.spoken)
    assert crowd.spoken
    verdict = fleet.verdict(crowd.spoken)
    assert verdict.is_clean, verdict
    assert not verdict.uncertain, verdict
    assert verdict.answered == len(crowd.spoken)
    assert fleet.sql(ONE_EACH) == []
    assert not fleet.asked_again(crowd.spoken)
    assert fleet.noted(crowd.spoken) == [1] * len(crowd.spoken)


def test_sessions_that_are_ended_at_random_lose_and_double_nothing(fleet: Fleet, site: Site) -> None:
    with Crowd(site, kind=NOTE) as crowd:
        ended = 0
        for _round in range(ROUNDS):
            time.sleep(0.3)
            ended += fleet.sql(END_SOME)[0][0]
    assert ended >= ROUNDS
    assert_clean(fleet, crowd)


@pytest.mark.long
def test_a_server_that_stops_at_once_and_comes_back_lost_nothing_that_was_taken(
    own: Fleet, own_site: Site
) -> None:
    assert own.postgres is not None
    with Crowd(own_site, kind=NOTE) as crowd:
        for seconds in (0.0, 1.0, 3.0):
            time.sleep(1.0)
            own.postgres.stop_immediately()
            time.sleep(seconds)
            own.postgres.start()
    assert any(posted.status != 202 for posted in crowd.posted), "no request met the outage"
    assert_clean(own, crowd)


@pytest.mark.long
@pytest.mark.parametrize("mode", [Mode.CUT_AFTER_COMMIT, Mode.CUT_ANSWER])
def test_a_commit_whose_answer_is_cut_is_done_once(own: Fleet, own_site: Site, mode: Mode) -> None:
    assert own.proxies is not None
    proxy, chance = own.proxies.database, random.Random(1)
    cuts_before = proxy.cuts
    with Crowd(own_site, kind=NOTE) as crowd:
        for number in range(1, 4 * ROUNDS + 1):
            proxy.set(mode)
            own.wait(lambda count=number: proxy.cuts >= cuts_before + count, "an answer that is cut")  # type: ignore[misc]
            time.sleep(chance.uniform(0.0, 0.2))
    assert proxy.cuts - cuts_before == 4 * ROUNDS
    assert_clean(own, crowd)


@pytest.mark.long
def test_a_server_that_hangs_for_a_while_costs_time_alone(own: Fleet, own_site: Site) -> None:
    assert own.postgres is not None
    with Crowd(own_site, kind=NOTE) as crowd:
        own.postgres.hang()
        time.sleep(5.0)
        own.postgres.resume()
    assert_clean(own, crowd)
