"""What `make run` shows: one line a step with its time, plain where the output is no terminal."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console

console = Console(highlight=False, soft_wrap=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Show a step while it runs and how long it took."""
    started_at = time.monotonic()
    with console.status(f"{what} …") if console.is_terminal else nullcontext():
        yield
    console.print(f"[green]✓[/] {what} [dim]{time.monotonic() - started_at:.1f} s[/]")


def say(text: str) -> None:
    """Show a line as it is."""
    console.print(text, markup=False)


def warn(text: str) -> None:
    """Show a line that asks for attention."""
    console.print(text, style="yellow", markup=False)


def fail(text: str) -> None:
    """Show why the fleet does not run."""
    console.print(text, style="bold red", markup=False)
