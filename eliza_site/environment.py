"""How `settings` reads the environment: a value that nothing can be made of is refused with its variable's name."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

LAST_PORT = 65535
POSTGRES_SCHEMES = ("postgres", "postgresql", "psql", "pgsql")
POSTGRES_FORM = "postgres://user:password@host:5432/name"
SQLITE_FORM = "sqlite:///folder/name.sqlite3"
SQLITE_ENGINE = "eliza_site.sqlite"
SQLITE_IN_MEMORY = "file:/eliza?vfs=memdb"
"""A database that all threads of one process share, and that goes with it."""
REDIS_SCHEMES = ("redis", "rediss", "unix")
BROKER_SCHEMES = (*REDIS_SCHEMES, "redis+socket", "amqp", "amqps", "pyamqp", "memory")
REDIS_FORMS = "redis://:password@host:6379/0, rediss://… with TLS, unix:///path/of/socket?db=0"
BROKER_FORMS = f"{REDIS_FORMS}, amqp://user:password@host:5672/vhost, amqps://… with TLS"


class Environment(environ.Env):  # type: ignore[misc]
    """The environment by its scheme; numbers are none that is negative, and ports are ones that exist."""

    def get_value(self, var: str, cast: Any = None, default: Any = environ.Env.NOTSET, **more: Any) -> Any:
        """Return the variable's value, in its type.

        Raises: ImproperlyConfigured, naming the variable, its value and what may stand there.
        """
        kind, usual = self.scheme.get(var, (cast, default))
        if kind not in (int, float):
            return super().get_value(var, cast, default, **more)
        given = self.ENVIRON.get(var, "")
        if not given:
            return usual
        try:
            value = super().get_value(var, cast, default, **more)
        except ValueError:
            value = -1
        if var.endswith("PORT"):
            is_known, wanted = value == usual or 1 <= value <= LAST_PORT, f"a port, 1 to {LAST_PORT}"
        else:
            is_known = value >= 0
            wanted = "a whole number, 0 or more" if kind is int else "a number, 0 or more"
        if not is_known:
            raise ImproperlyConfigured(f"{var}={given} is not {wanted}.")
        return value


def read_database_url(url: str) -> dict[str, Any]:
    """Build Django's description of the database that `DATABASE_URL` names.

    Raises: ImproperlyConfigured, naming the address without its password and the form that is known.
    """
    if url.startswith("sqlite:"):
        return _read_sqlite_url(url)
    found: dict[str, Any] = {}
    if url.partition("://")[0] in POSTGRES_SCHEMES and "://" in url:
        try:
            with warnings.catch_warnings(action="ignore"):
                found = environ.Env.db_url_config(url)
        except ValueError:  # a port that is no number, brackets that are left open
            found = {}
    if not found.get("NAME") and "service" not in found.get("OPTIONS", {}):
        raise ImproperlyConfigured(
            f"DATABASE_URL={hide_password(url)} is no address of a PostgreSQL database: {POSTGRES_FORM} is one"
            f" ({SQLITE_FORM} will do for development)."
        )
    # A unix socket's folder stands percent-encoded in the host's place, as libpq has it.
    found["HOST"] = unquote(found.get("HOST", ""))
    return found


def session_options(
    given: Mapping[str, Any], *, statement_timeout_seconds: int, prepares_statements: bool
) -> dict[str, Any]:
    """Return what a session with PostgreSQL is opened with: what the address says, and what the product relies on."""
    options = {
        # A server behind a black hole is given up.
        "connect_timeout": 10,
        **given,
        "options": (
            f"-c statement_timeout={statement_timeout_seconds}s"
            " -c lock_timeout=5s -c idle_in_transaction_session_timeout=15s"
            # Where the nearest may not surface here, the index goes on; what it brings is put in order afterwards.
            " -c hnsw.iterative_scan=relaxed_order"
            # From some 200,000 memories on, recall is expected to cost more than `jit_above_cost`, and to compile it
            # would take longer than to run it.
            " -c jit=off"
        ),
    }
    if prepares_statements:
        # Statements of a turn are planned once a connection instead of once a turn. A pooler that shares
        # connections between transactions must know prepared statements, or this is to be switched off.
        options |= {"server_side_binding": True, "prepare_threshold": 3}
    return options


def _read_sqlite_url(url: str) -> dict[str, Any]:
    """Build the description of a file, whose folder must be there, or of a database in memory.

    Three slashes lead to a path from the current folder, four to one from the root.
    """
    if find_spec("sqlglot") is None:
        raise ImproperlyConfigured(
            f"DATABASE_URL={url} needs what requirements-local.txt installs (sqlglot)."
        )
    name = unquote(url.removeprefix("sqlite://"))
    if name in (":memory:", "/:memory:"):
        return {"ENGINE": SQLITE_ENGINE, "NAME": SQLITE_IN_MEMORY, "TEST": {"NAME": SQLITE_IN_MEMORY}}
    path = Path(name.removeprefix("/"))
    if not name.startswith("/") or not path.name or path.is_dir() or "?" in name:
        raise ImproperlyConfigured(
            f"DATABASE_URL={url} names no file: {SQLITE_FORM} does, or sqlite://:memory:."
        )
    if not path.absolute().parent.is_dir():
        raise ImproperlyConfigured(
            f"DATABASE_URL={url}: there is no folder {path.absolute().parent}. Make it."
        )
    file = str(path.absolute())
    return {"ENGINE": SQLITE_ENGINE, "NAME": file, "TEST": {"NAME": f"{file}.test"}}


def sqlite_url(database: str | Path) -> str:
    """Return the address of a database file for any current folder; "" where it is in memory, as nobody shares it."""
    return "" if database == SQLITE_IN_MEMORY else f"sqlite:///{quote(str(Path(database).absolute()))}"


def check_redis_url(url: str) -> str:
    """Return `REDIS_URL` as it is.

    Raises: ImproperlyConfigured, naming the address without its password and the forms that are known.
    """
    return _check_server("REDIS_URL", url, REDIS_SCHEMES, REDIS_FORMS)


def check_broker_url(url: str) -> str:
    """Return `CELERY_BROKER_URL` as it is; several addresses stand between semicolons.

    Raises: ImproperlyConfigured, naming the address without its password and the forms that are known.
    """
    for one in url.split(";"):
        _check_server("CELERY_BROKER_URL", one, BROKER_SCHEMES, BROKER_FORMS)
    return url


def _check_server(variable: str, url: str, schemes: Collection[str], forms: str) -> str:
    scheme, mark, _ = url.partition("://")
    is_known = not url or (mark and scheme in schemes)
    try:
        _ = urlsplit(url).port
    except ValueError:
        is_known = False
    if not is_known:
        raise ImproperlyConfigured(f"{variable}={hide_password(url)} is none of the known forms: {forms}.")
    return url


def hide_password(url: str) -> str:
    """Return an address without its password, however malformed it is."""
    url = re.sub(r"(?s)^([\w+.-]+:/+)?([^:@]*):.*@", r"\1\2:***@", url)
    # Where the host was forgotten, the password stands in the port's place.
    url = re.sub(r"^([\w+.-]+:/+[^:@/]*):(?!\d+(/|$))[^/@]+(?=/|$)", r"\1:***", url)
    return re.sub(r"(?i)(password=)[^&]*", r"\1***", url)
