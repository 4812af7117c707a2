"""Tables for whoever reads what a command reports: at a terminal with lines, elsewhere as plain columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

FOLDED_CHARACTERS = 160
"""Who asks for more than the beginning of a text gets it; columns are no wider than that."""
Row = tuple[str, ...]


def print_table(console: Console, title: str, columns: Row, rows: Sequence[Row]) -> None:
    """Print a table at a terminal, and plain columns elsewhere; those without values are left out.

    A column whose name begins with ">" stands at the right.
    """
    used = [place for place in range(len(columns)) if any(row[place] for row in rows)]
    if not used:
        return
    if not console.is_terminal:
        console.print(f"\n{title}", soft_wrap=True)
        _print_lines(console, *([row[place] for place in used] for row in (columns, *rows)))
        return
    table = Table(title=title, title_justify="left")
    for place in used:
        justify: Literal["right", "left"] = "right" if columns[place].startswith(">") else "left"
        table.add_column(columns[place].lstrip(">"), justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[place]) for place in used))
    console.print(table)


def _print_lines(console: Console, columns: list[str], *rows: list[str]) -> None:
    names = [name.lstrip(">") for name in columns]
    lines = [[" ".join(cell.split()) for cell in row] for row in (names, *rows)]
    widths = [min(FOLDED_CHARACTERS, max(map(cell_len, cells))) for cells in zip(*lines, strict=True)]
    for line in lines:
        padded = []
        for column, cell, width in zip(columns, line, widths, strict=True):
            blanks = " " * (width - cell_len(cell))
            padded.append(blanks + cell if column.startswith(">") else cell + blanks)
        console.print(Text("  ".join(padded).rstrip()), soft_wrap=True)
