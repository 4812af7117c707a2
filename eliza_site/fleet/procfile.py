"""Reads the Procfile that production uses too."""

from pathlib import Path

from honcho.environ import parse_procfile

from eliza_site.fleet.errors import FleetError

NEEDED = ("release", "web", "worker", "beat", "flower")


def read_procfile(path: Path) -> dict[str, str]:
    """Read the lines of a Procfile by their names.

    Raises: FleetError where a line that the fleet needs is missing.
    """
    lines = dict(parse_procfile(path.read_text()).processes)
    if missing := [name for name in NEEDED if name not in lines]:
        raise FleetError(f"{path} has no line for {', '.join(missing)}: write it as `{missing[0]}: command`.")
    return lines
