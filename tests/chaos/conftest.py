"""One fleet for all fault tests that need no other; each test begins without a plan and with sound networks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.harness import KEYED, KEYLESS, Fleet, fleet_running
from tests.chaos.site import Site


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder."""
    for item in items:
        if "tests/chaos/" in item.path.as_posix():
            item.add_marker(pytest.mark.chaos)


@pytest.fixture(scope="session")
def session_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet that runs for the whole session of tests."""
    with fleet_running(tmp_path_factory.mktemp("chaos")) as running:
        yield running


@pytest.fixture
def fleet(session_fleet: Fleet) -> Iterator[Fleet]:
    """The fleet at full strength, and whole again after the test."""
    session_fleet.plan()
    session_fleet.await_quiet()
    session_fleet.await_workers()
    yield session_fleet
    session_fleet.plan()
    session_fleet.model.control({"latency_ms": 0.0, "gap_ms": 0.0, "fault": ""})
    for network in (KEYED, KEYLESS):
        session_fleet.set_network(network)


@pytest.fixture(scope="session")
def session_site(session_fleet: Fleet) -> Iterator[Site]:
    """The web process of the fleet that runs for the whole session."""
    site = Site(session_fleet)
    yield site
    site.end()


@pytest.fixture
def site(fleet: Fleet, session_site: Site) -> Site:
    """The fleet's web process, running."""
    if not session_site.is_running():
        session_site.start()
    return session_site
