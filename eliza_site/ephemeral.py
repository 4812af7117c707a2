"""The settings of a process that talks with itself: no server, and nothing kept. `manage.py` calls it."""

from __future__ import annotations

import secrets
import socket
from collections.abc import MutableMapping, Sequence


def is_ephemeral(arguments: Sequence[str]) -> bool:
    """Tell whether this is `manage.py talk --ephemeral …`."""
    return list(arguments[1:2]) == ["talk"] and "--ephemeral" in arguments


def prepare(environment: MutableMapping[str, str]) -> None:
    """Set what the settings are to read; a running fleet's addresses count for nothing then.

    Which model answers is said as everywhere else. The demonstration model, should it be that, gets a free port.
    """
    # Set to nothing, it would be the current folder to prometheus_client.
    environment.pop("PROMETHEUS_MULTIPROC_DIR", None)
    log_level = environment.get("LOG_LEVEL") or "error"
    environment.update(
        EPHEMERAL="true",
        DATABASE_URL="sqlite://:memory:",
        REDIS_URL="",
        CELERY_BROKER_URL="memory://",
        SECRET_KEY=secrets.token_urlsafe(50),
        FIELD_ENCRYPTION_KEY=_encryption_key(),
        MODEL_PORT=str(_free_port()),
        WORKER_METRICS_PORT="0",
        DISPATCH_PERIOD_SECONDS="1",
        LOG_LEVEL=log_level,
    )


def _encryption_key() -> str:
    from cryptography.fernet import Fernet

    return Fernet.generate_key().decode()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
