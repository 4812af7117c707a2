"""What is read before and after each run: CPU of every part, SQL statements, memory; and how it is shown.

`turns.py` reads and shows. CPU comes from the processes' own accounts. PostgreSQL is its postmaster with all
sessions, those that ended included; Valkey tells its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis
from rich.console import Console
from rich.table import Table

from tests_benchmarks_fleet import Fleet

STATEMENTS = """
SELECT /* benchmark */
       coalesce(sum(calls) FILTER (WHERE NOT is_control), 0)::bigint,
       coalesce(sum(calls) FILTER (WHERE is_control), 0)::bigint
FROM (SELECT calls, query ~* '^(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|START)' AS is_control
      FROM pg_stat_statements
      WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND query NOT LIKE '%/* benchmark */%') AS counted
"""
