"""The chat page in a real browser against a running fleet: Debian's Chromium by Playwright."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.doubles.browsers import NEEDS_CHROMIUM, browser_running

ANSWER_MILLISECONDS = 60_000

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browser_running() as browser:
        yield browser


@pytest.fixture
def page(browser: Any, fleet: Any) -> Iterator[Any]:
    fleet.model.control({"gap_ms": 60.0})
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = open_page(context, fleet.url)
    yield page
    assert page.faults == []
    context.close()


def open_page(context: Any, address: str) -> Any:
    page = context.new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.set_default_timeout(15_000)
    page.goto(address)
    page.locator(".agent, .bubble").first.wait_for()
    return page


def say(page: Any, text: str) -> None:
    page.locator("#text").fill(text)
    page.keyboard.press("Enter")
    page.locator(".bubble", has_text=text).last.wait_for()


def answers(page: Any) -> Any:
    return page.locator(".answer:has(.tool)")


def wait_for_answers(page: Any, count: int) -> None:
    answers(page).nth(count - 1).wait_for(timeout=ANSWER_MILLISECONDS)


def test_a_question_is_answered_streams_and_survives_a_reload(page):
    page.locator(".example").first.click()
    page.locator(".streaming").wait_for(timeout=ANSWER_MILLISECONDS)
    wait_for_answers(page, 1)
    assert re.search(r"/c/[0-9a-f-]{36}$", page.url)
    question, answer = page.locator(".bubble").inner_text(), page.locator(".answer .words").inner_text()
    assert answer.strip()
    page.reload()
    wait_for_answers(page, 1)
    assert page.locator(".bubble").inner_text() == question
    assert page.locator(".answer .words").inner_text() == answer
    assert page.locator("#rooms a[aria-current=page]").count() == 1


def test_two_tabs_stay_in_step_and_show_each_message_once(page):
    say(page, "Hello from the first tab")
    wait_for_answers(page, 1)
    second = open_page(page.context, page.url)
    say(page, "And once more")
    second.locator(".bubble", has_text="And once more").wait_for()
    wait_for_answers(page, 2)
    wait_for_answers(second, 2)
    assert [tab.locator(".bubble").count() for tab in (page, second)] == [2, 2]
    assert [tab.locator(".answer").count() for tab in (page, second)] == [2, 2]


def test_an_answer_is_asked_for_again(page):
    say(page, "Tell me something small")
    wait_for_answers(page, 1)
    page.get_by_role("button", name="Ask again").click()
    wait_for_answers(page, 2)
    assert page.locator(".bubble").all_inner_texts() == ["Tell me something small"] * 2


def test_a_conversation_is_deleted_after_a_question(page):
    say(page, "Forget this")
    wait_for_answers(page, 1)
    page.locator("#rooms li").first.hover()
    page.get_by_role("button", name="Delete the conversation").first.click()
    page.get_by_role("button", name="Keep it").click()
    assert page.locator(".bubble").count() == 1
    page.get_by_role("button", name="Delete the conversation").first.click()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.locator("#welcome").wait_for()
    page.locator("#rooms li").first.wait_for(state="detached")


def test_the_keyboard_alone_is_enough(page):
    assert page.evaluate("() => document.activeElement.id") == "text"
    page.locator(".brand").focus()
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.type("By keyboard")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("in two lines")
    page.keyboard.press("Enter")
    wait_for_answers(page, 1)
    assert page.locator(".bubble").inner_text() == "By keyboard\nin two lines"
    for _ in range(40):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("() => document.activeElement.id") == "new":
            break
    page.keyboard.press("Enter")
    page.locator("#welcome").wait_for()


def test_a_narrow_page_fits_and_its_drawer_closes_with_escape(browser, fleet):
    context = browser.new_context(
        viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True, color_scheme="dark"
    )
    page = open_page(context, fleet.url)
    say(page, "A word without any space: " + "honeybee" * 20)
    wait_for_answers(page, 1)
    assert page.evaluate("() => document.documentElement.scrollWidth") == 360
    page.locator("#open-sidebar").click()
    page.locator("#close-sidebar").wait_for()
    page.keyboard.press("Escape")
    page.locator("#close-sidebar").wait_for(state="hidden")
    assert page.evaluate("() => document.activeElement.id") == "open-sidebar"
    assert page.faults == []
    context.close()


def test_what_goes_wrong_is_said_and_can_be_tried_again(page):
    say(page, "First")
    wait_for_answers(page, 1)
    page.context.set_offline(True)
    page.locator("#text").fill("While offline")
    page.keyboard.press("Enter")
    page.locator(".asked.failed", has_text="Not sent").wait_for()
    page.locator("#banner", has_text="offline").wait_for()
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").last.click()
    wait_for_answers(page, 2)
    assert page.locator(".asked.failed").count() == 0
    page.locator("#text").fill("x" * 30_000)
    page.keyboard.press("Enter")
    page.locator(".asked.failed", has_text="characters; at most").wait_for()


def test_the_theme_is_chosen_and_remembered(page):
    def ground() -> str:
        return str(page.evaluate("() => getComputedStyle(document.body).backgroundColor"))

    light = ground()
    page.get_by_role("button", name="Change to dark").click()
    dark = ground()
    assert dark != light
    page.reload()
    assert ground() == dark


def test_the_page_says_which_model_answers(page):
    page.locator("#model summary").click()
    assert "Answers come from" in page.locator("#model-sentence").inner_text()
