"""The folder into which all processes of the fleet count their metrics; emptied at each start."""

from pathlib import Path


def empty_metrics_folder(folder: Path) -> None:
    """Make the folder, and delete what an earlier fleet counted there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for counts in folder.glob("*.db"):
        counts.unlink()
