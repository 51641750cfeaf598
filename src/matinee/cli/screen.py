"""What users read: whole lines, never broken by us nor coloured by guesses."""

from __future__ import annotations

from rich.console import Console


def console() -> Console:
    """Return the console of a command."""
    return Console(highlight=False)


def say(screen: Console, line: str = "") -> None:
    """Print a line as it is, however long; paths and addresses in it can be copied."""
    screen.print(line, markup=False, soft_wrap=True)
