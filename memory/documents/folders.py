"""Finds the files that are to become documents, and keeps within a folder where nothing may leave it.

`add_documents` and the knowledge of characters call it. Nothing is opened here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from memory.documents.formats import ENDINGS


@dataclass(frozen=True, kw_only=True)
class FoundFile:
    """A file to read: `shown` as whoever asked wrote it. One with a `refusal` can't be, and the text says why."""

    path: Path
    shown: str
    refusal: str = ""


@dataclass(frozen=True, kw_only=True)
class FoundFiles:
    """What was found, in the order of the names. `skipped` are those of folders that are no documents."""

    files: tuple[FoundFile, ...]
    skipped: tuple[str, ...]


def find_files(paths: Sequence[str | Path], *, within: Path | None = None) -> FoundFiles:
    """Find the named files, and in named folders those with a known ending, at any depth.

    Names that begin with a dot and links to folders are passed over. A link in a folder may lead to a file of that
    folder only; with `within`, nothing may lead out of that folder, by `..` or by a link.
    """
    files: list[FoundFile] = []
    skipped: list[str] = []
    for given in paths:
        path = Path(given) if within is None else within / given
        if within is not None and not _is_inside(path, within):
            files.append(_refused(path, str(given), f"it leads out of {within}"))
        elif path.is_dir():
            _walk(path, Path(given), files, skipped)
        else:
            files.append(_file(path, str(given)))
    return FoundFiles(files=tuple(files), skipped=tuple(skipped))


def _walk(folder: Path, shown: Path, files: list[FoundFile], skipped: list[str]) -> None:
    def refuse(error: OSError) -> None:
        files.append(_refused(folder, str(error.filename), f"it can't be opened: {error.strerror}"))

    for above, folders, names in os.walk(folder, onerror=refuse):
        # In place: `os.walk` goes where this list says, in its order.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(above) / name
            told = str(shown / path.relative_to(folder))
            if name.startswith("."):
                continue
            if path.suffix.lower() not in ENDINGS:
                skipped.append(told)
            elif not _is_inside(path, folder):
                files.append(_refused(path, told, "it is a link that leads out of its folder"))
            else:
                files.append(_file(path, told))


def _file(path: Path, shown: str) -> FoundFile:
    # A pipe or a device would never come to an end.
    if path.is_file():
        return FoundFile(path=path, shown=shown)
    return _refused(path, shown, "it is no file" if path.exists() else "there is no such file")


def _refused(path: Path, shown: str, refusal: str) -> FoundFile:
    return FoundFile(path=path, shown=shown, refusal=refusal)


def _is_inside(path: Path, folder: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # links that lead in a circle
        return False
