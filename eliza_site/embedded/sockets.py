"""Finds the private folder in which the embedded servers put their sockets."""

import os
import socket
import stat
import tempfile
from pathlib import Path

# Linux takes 107 bytes for a socket's path, macOS 103.
MAX_PATH_BYTES = 103
LONGEST_NAME = ".s.PGSQL.5432.lock"


def find_socket_folder(run_dir: Path) -> Path:
    """Find a folder of mode 700 whose path is short enough for sockets, and make it if there is none.

    It lies in the run directory; where that path is too long, or its file system takes no sockets, it is a
    folder in the system's temporary directory, whose name is kept in the run directory.
    """
    inside = run_dir / "sockets"
    if len(os.fsencode(inside / LONGEST_NAME)) <= MAX_PATH_BYTES:
        inside.mkdir(mode=0o700, exist_ok=True)
        inside.chmod(0o700)
        if _takes_sockets(inside):
            return inside
    note = run_dir / "sockets.path"
    if note.exists() and _is_private(kept := Path(note.read_text().strip())):
        return kept
    folder = Path(tempfile.mkdtemp(prefix="eliza-"))
    note.write_text(f"{folder}\n")
    return folder


def _is_private(folder: Path) -> bool:
    """Tell whether this is a folder that nobody else may enter: a name in /tmp may be anybody's by now."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return (
        stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) == 0o700
    )


def _takes_sockets(folder: Path) -> bool:
    path = folder / "probe"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.bind(str(path))
        except OSError:
            return False
    path.unlink(missing_ok=True)
    return True
