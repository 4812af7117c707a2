"""The doctor's looks at the site itself: its settings and its static files."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import find as find_static
from django.core.checks import ERROR, run_checks

from eliza_site.doctor.findings import Finding, note, ok, wrong

A_STATIC_FILE = "admin/css/base.css"


def look_at_settings() -> list[Finding]:
    """Ask every system check that needs no database."""
    found = [
        (wrong if check.level >= ERROR else note)(f"{check.msg} ({check.id})", check.hint or "")
        for check in run_checks()
        if not check.is_silenced()
    ]
    if settings.DEBUG:
        found.append(note("DEBUG is on: errors show their insides.", "Leave DEBUG unset where others come."))
    return found or [ok("The system checks find nothing.")]


def look_at_static_files() -> list[Finding]:
    """Look whether the pages' styles and scripts were collected, and none is older than its source."""
    collected = Path(settings.STATIC_ROOT) / A_STATIC_FILE
    if settings.DEBUG:
        return [ok("They come from the apps, as DEBUG is on.")]
    cure = "Run: python manage.py collectstatic --noinput"
    if not collected.is_file():
        return [wrong(f"There are none in {settings.STATIC_ROOT}, so the pages have no looks.", cure)]
    source = find_static(A_STATIC_FILE)
    if source and Path(source).read_bytes() != collected.read_bytes():
        return [note("They were collected from another version.", cure)]
    return [ok(f"They are collected in {settings.STATIC_ROOT}.")]
