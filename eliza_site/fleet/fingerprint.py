"""Tells whether anything changed since the last start: what was prepared then need not be prepared again."""

import hashlib
import json
import sys
from pathlib import Path

from eliza_site.embedded.keys import write_private
from eliza_site.fleet.preparation import Admin, Prepared

FOLDERS = ("agents", "characters", "eliza_site", "memory", "plugins", "transports")
STAMPS = (".venv/local.stamp", "Procfile", ".env")


def take_fingerprint(folder: Path, *besides: Path, database: str) -> str:
    """Take the fingerprint of the project's files and some besides, by names, sizes and times of change.

    `database` tells which one they are prepared in.
    """
    digest = hashlib.sha256(f"{sys.version}\n{database}\n".encode())
    paths = [
        path for name in FOLDERS for path in (folder / name).rglob("*") if "__pycache__" not in path.parts
    ]
    for path in sorted([*paths, *(folder / name for name in STAMPS), *besides]):
        if path.is_file():
            found = path.stat()
            digest.update(f"{path} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def find_prepared(run_dir: Path, fingerprint: str) -> Prepared | None:
    """Find what an earlier start prepared of the very same files; the sample conversation was held there."""
    try:
        kept = json.loads((run_dir / "prepared.json").read_text())
    except (OSError, ValueError):
        return None
    if kept["fingerprint"] != fingerprint:
        return None
    return Prepared(admin=Admin(username=kept["admin"], password=None), fault="", has_conversed=True)


def keep_prepared(run_dir: Path, fingerprint: str, admin: Admin) -> None:
    """Keep for the next start that there is nothing to prepare, and the sample conversation was held."""
    write_private(
        run_dir / "prepared.json", json.dumps({"fingerprint": fingerprint, "admin": admin.username}) + "\n"
    )
