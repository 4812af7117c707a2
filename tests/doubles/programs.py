"""The project's programs, run as somebody at a terminal runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

ROOT = Path(__file__).resolve().parents[2]


def run_python(
    *argv: str, input: str = "", timeout_seconds: float = 60, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments in the project's folder, and keep what it says."""
    return subprocess.run(
        [sys.executable, *argv],
        cwd=ROOT,
        env={**os.environ, **environment},
        input=input,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_seconds,
    )


def own_database_url() -> str:
    """Return the address of the tests' own database, for a program beside them."""
    from django.db import connection

    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))
