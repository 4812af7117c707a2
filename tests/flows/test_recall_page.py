"""The page "What would this message recall?" in a real browser, against a running fleet that was talked to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher

from tests.doubles.browsers import NEEDS_CHROMIUM, browser_running

pytestmark = NEEDS_CHROMIUM

PASSWORD = "only for this test"
MAKE_ADMIN = """
INSERT INTO auth_user (username, password, is_superuser, is_staff, is_active, first_name, last_name, email, date_joined)
VALUES ('ada', %s, true, true, true, '', '', '', now())
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browser_running() as browser:
        yield browser


@pytest.fixture(scope="module")
def talked(fleet: Any) -> Any:
    """The fleet, where Bea has told Eliza something, and an admin who may see it."""
    told = fleet.manage("talk", "Eliza", "I keep bees behind the house.", "--person", "Bea")
    assert told.returncode == 0, told.stderr
    fleet.sql(MAKE_ADMIN + "RETURNING id", PBKDF2PasswordHasher().encode(PASSWORD, "salt"))
    return fleet


@pytest.fixture
def page(browser: Any, talked: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.set_default_timeout(15_000)
    page.goto(f"{talked.url}/admin/login/?next=/admin/memory/memory/")
    page.locator("input[name=username]").fill("ada")
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("input[name=password]").press("Enter")
    page.get_by_role("link", name="What would a message recall?").click()
    page.locator("#recall").wait_for()
    yield page
    assert faults == []
    context.close()


def ask(page: Any, text: str, **fields: str) -> None:
    page.locator("select[name=agent]").select_option(label="Eliza")
    for name, value in {"text": text, **fields}.items():
        page.locator(f"#recall [name={name}]").fill(value)
    page.locator("#recall").get_by_role("button", name="Recall").click()


def test_a_hit_leads_to_its_memory_its_message_and_the_turn_that_made_it(page: Any) -> None:
    ask(page, "Where do I keep bees?", person="Bea", limit="3")

    page.locator("#recalled").wait_for()
    row = page.locator("#recalled tr", has_text="I keep bees behind the house.").first
    assert "Bea" in row.inner_text()
    assert re.search(r"person", row.inner_text())
    bars = row.locator("meter")
    assert bars.count() >= 3
    assert all(bar.bounding_box()["width"] > 20 for bar in bars.all())
    assert re.search(r"\d ms to search, \d+(\.\d)? m?s for the embedder", page.locator("#cost").inner_text())
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    # What was asked stands in the form still.
    assert page.locator("#recall [name=text]").input_value() == "Where do I keep bees?"

    row.get_by_role("link", name="memory").click()
    page.get_by_role("link", name=re.compile("^message ")).first.wait_for()
    page.get_by_role("link", name="turn", exact=True).click()
    page.wait_for_url(re.compile("/admin/agents/turn/[0-9a-f-]+/change/"))
    assert "I keep bees behind the house." in page.locator("body").inner_text()


def test_nothing_of_it_comes_where_bea_is_not(page: Any) -> None:
    ask(page, "Where do I keep bees?", person="", limit="3")

    page.locator("#recalled").wait_for()
    assert "I keep bees behind the house." not in page.locator("#recalled").inner_text()


def test_what_makes_no_sense_is_said_at_its_field(page: Any) -> None:
    ask(page, "Where do I keep bees?", person="Nobody at all", limit="3")

    page.get_by_text("There is no person 'Nobody at all'").wait_for()
    assert page.locator("#recalled").count() == 0


def test_a_narrow_page_shows_the_same_and_does_not_overflow(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    ask(page, "Where do I keep bees?", person="Bea", limit="3")

    page.locator("#recalled").get_by_text("I keep bees behind the house.").first.wait_for()
    assert page.evaluate("() => document.documentElement.scrollWidth") == 360
    row = page.locator("#recalled tr", has_text="I keep bees behind the house.").first
    assert row.locator(".eliza-signal").count() >= 3
    for told in row.locator(".eliza-signal, td").all():
        assert told.evaluate("(it) => it.scrollWidth <= it.clientWidth && it.scrollHeight <= it.clientHeight")
