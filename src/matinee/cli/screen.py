"""What users read: whole lines, never broken by us nor coloured by guesses."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text


def console() -> Console:
    """Return the console of a command."""
    return Console(highlight=False)


def say(screen: Console, line: str = "") -> None:
    """Print a line as it is, however long; paths and addresses in it can be copied."""
    screen.print(line, markup=False, soft_wrap=True)


def printable(text: str) -> str:
    """Return text of others with what a terminal would obey, or not show, replaced."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def headed(title: str, *columns: str) -> Table:
    """Make a table; a column whose name starts with > is aligned to the right."""
    table = Table(title=Text(title), title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(
            column.removeprefix(">"), justify="right" if column.startswith(">") else "left"
        )
    return table
