"""The chat page's shell: what it forbids, whom it introduces, and that its files are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.test import Client

pytestmark = pytest.mark.django_db


def test_the_page_allows_scripts_from_here_alone():
    response = Client().get("/")
    policy = response["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    page = response.content.decode()
    assert not re.search(r"<script(?![^>]*src=)", page)
    assert " style=" not in page
    assert not re.search(r"\son\w+=", page)
    assert "//" not in re.sub(r"http://www\.w3\.org", "", page)


def test_a_visitor_keeps_their_id():
    client = Client()
    client.get("/")
    visitor = client.session["visitor"]
    client.get("/c/00000000-0000-7000-8000-000000000000")
    assert len(visitor) == 32
    assert client.session["visitor"] == visitor


def test_a_signed_in_user_is_named_and_gets_no_visitors_id():
    client = Client()
    client.force_login(User.objects.create_user("ada", is_staff=True))
    page = client.get("/").content.decode()
    assert "Signed in as ada" in page
    assert "/admin/" in page
    assert "visitor" not in client.session


def test_every_file_that_the_page_names_is_there():
    page = Client().get("/").content.decode()
    names = re.findall(r'(?:src|href)="/static/([^"]+)"', page)
    assert "web/chat.js" in names
    for name in names:
        found = finders.find(name)
        assert found, name
        for imported in re.findall(r'from "\./([^"]+)"', Path(found).read_text()):
            assert finders.find(f"web/{imported}"), imported


def test_no_script_builds_markup_from_text():
    for name in ("chat.js", "conversation.js", "markdown.js", "api.js"):
        text = Path(finders.find(f"web/{name}")).read_text()
        assert "innerHTML" not in text
        assert "insertAdjacentHTML" not in text
        assert "eval(" not in text
