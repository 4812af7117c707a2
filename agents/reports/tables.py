"""Tables for whoever reads what a command reports: at a terminal with lines, elsewhere as plain columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDEST_PADDING = 40
Row = tuple[str, ...]


def print_table(console: Console, title: str, columns: Row, rows: Sequence[Row]) -> None:
    """Print a table at a terminal, and plain columns elsewhere; those without values are left out."""
    used = [place for place in range(len(columns)) if any(row[place] for row in rows)]
    if not used:
        return
    if not console.is_terminal:
        console.print(f"\n{title}", soft_wrap=True)
        _print_lines(console, [[row[place] for place in used] for row in (columns, *rows)])
        return
    table = Table(title=title, title_justify="left")
    for place in used:
        justify: Literal["right", "left"] = "right" if columns[place].startswith(">") else "left"
        table.add_column(columns[place].lstrip(">"), justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[place]) for place in used))
    console.print(table)


def _print_lines(console: Console, rows: list[list[str]]) -> None:
    lines = [[" ".join(cell.lstrip(">").split()) for cell in row] for row in rows]
    widths = [min(WIDEST_PADDING, max(map(len, cells))) for cells in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        console.print(Text("  ".join(padded).rstrip()), soft_wrap=True)
