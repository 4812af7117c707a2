"""The secrets of one run directory: made once, kept in a file that only its owner reads."""

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cryptography.fernet import Fernet


def _password() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, kw_only=True)
class Keys:
    """Every secret that an embedded fleet needs; none of them holds a character that a URL would quote."""

    postgres_superuser: str = field(default_factory=_password)
    postgres: str = field(default_factory=_password)
    valkey: str = field(default_factory=_password)
    flower: str = field(default_factory=_password)
    django: str = field(default_factory=lambda: secrets.token_urlsafe(50))
    fields: str = field(default_factory=lambda: Fernet.generate_key().decode())


def keep_keys(run_dir: Path) -> Keys:
    """Read the run directory's secrets, and make them at the first time."""
    path = run_dir / "keys.json"
    if path.exists():
        return Keys(**json.loads(path.read_text()))
    keys = Keys()
    write_private(path, json.dumps(asdict(keys), indent=2) + "\n")
    return keys


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, in one step: nobody sees half of it, or sees it readable."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
