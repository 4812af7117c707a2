"""These tests need SQLite: `tests/memory/stores/test_other_stores.py` runs them in a process that has it."""

from django.db import connection

if connection.vendor != "sqlite":
    collect_ignore_glob = ["test_*.py"]
