"""Under which user PostgreSQL runs: it refuses root, and initdb refuses a user without a name."""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from eliza_site.embedded.errors import EmbeddedServerError


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Either a prefix that maps this user to another one in a user namespace, or a user to become."""

    prefix: tuple[str, ...] = ()
    user: str | None = None

    @property
    def owner(self) -> tuple[int, int]:
        """Tell who must own the files, seen from outside a namespace."""
        if self.user is None:
            return os.geteuid(), os.getegid()
        entry = pwd.getpwnam(self.user)
        return entry.pw_uid, entry.pw_gid


@cache
def find_identity() -> Identity:
    """Find a way to run a server that refuses root; an ordinary user with a name needs none.

    Raises: EmbeddedServerError where there is none.
    """
    if os.geteuid() != 0 and _has_name(os.geteuid()):
        return Identity()
    if prefix := _find_namespace_prefix():
        return Identity(prefix=prefix)
    if os.geteuid() == 0 and any(entry.pw_name == "nobody" for entry in pwd.getpwall()):
        return Identity(user="nobody")
    raise EmbeddedServerError(
        f"PostgreSQL cannot run as user id {os.geteuid()}: the user has no name, and user namespaces are "
        "closed here. Run this as an ordinary user, or set DATABASE_URL to a PostgreSQL that runs elsewhere."
    )


def _has_name(user_id: int) -> bool:
    try:
        pwd.getpwuid(user_id)
    except KeyError:
        return False
    return True


def _find_namespace_prefix() -> tuple[str, ...]:
    """Try a user namespace that maps this user to an ordinary one that has a name."""
    unshare = shutil.which("unshare")
    ordinary = next((entry for entry in pwd.getpwall() if entry.pw_uid != 0), None)
    if unshare is None or ordinary is None:
        return ()
    prefix = (
        unshare,
        "--user",
        f"--map-user={ordinary.pw_uid}",
        f"--map-group={ordinary.pw_gid}",
        "--",
    )
    probe = subprocess.run([*prefix, "true"], capture_output=True, check=False)  # noqa: S603
    return prefix if probe.returncode == 0 else ()


def own_folder(folder: Path, identity: Identity) -> None:
    """Make `folder` and what is in it the identity's, where root may and it isn't yet."""
    owner = identity.owner
    if os.geteuid() != 0 or (folder.stat().st_uid, folder.stat().st_gid) == owner:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, *owner, follow_symlinks=False)


def require_reach(identity: Identity, *, binary: Path, folder: Path) -> None:
    """Make sure that the identity can run `binary` and write into `folder`.

    Raises: EmbeddedServerError that names the folder.
    """
    if identity.user is None:
        return
    for test, path in (("-x", binary), ("-w", folder)):
        found = subprocess.run(  # noqa: S603
            ["/usr/bin/test", test, str(path)], user=identity.user, extra_groups=[], cwd="/", check=False
        )
        if found.returncode != 0:
            raise EmbeddedServerError(
                "PostgreSQL refuses root, user namespaces are closed here, and the user "
                f"{identity.user} cannot reach {path}. Run this as an ordinary user, or move the project to "
                "a folder that every user may enter, or set DATABASE_URL to a PostgreSQL that runs elsewhere."
            )
