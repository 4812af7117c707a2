"""The project's programs, run as somebody at a terminal runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
