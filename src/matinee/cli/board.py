"""Live progress of several things at once: rows with spinners in a terminal, else plain lines."""

from __future__ import annotations

from enum import StrEnum
from types import TracebackType
from typing import NamedTuple, Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from matinee.cli.screen import say


class Mark(StrEnum):
    """How a row stands; the value is the style of what a terminal shows before it."""

    IDLE = "dim"
    BUSY = "cyan"
    DONE = "green"
    SKIPPED = "bright_black"
    FAILED = "red"


SIGNS = {Mark.IDLE: " ", Mark.DONE: "✓", Mark.SKIPPED: "-", Mark.FAILED: "✗"}


class _Row(NamedTuple):
    mark: Mark
    clock: str
    text: str


class Board:
    """Rows that change; a context manager.

    Parameters
    ----------
    console
        Where to write. If that is no terminal, each change of a row's text is a line.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rows: dict[str, _Row] = {}
        self._spinner = Spinner("dots", style=Mark.BUSY.value)
        self._live = Live(self, console=console, refresh_per_second=8)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def __rich__(self) -> Table:
        """Draw the rows as they are now, for the terminal."""
        grid = Table.grid(padding=(0, 2, 0, 0))
        for name, row in self._rows.items():
            sign = self._spinner if row.mark is Mark.BUSY else Text(SIGNS[row.mark], row.mark.value)
            grid.add_row(sign, Text(name), Text(row.clock, justify="right"), Text(row.text))
        return grid

    def show(self, name: str, mark: Mark, text: str, seconds: float | None = None) -> None:
        """Show how a row stands; its first showing makes it.

        Parameters
        ----------
        name
            Of the row.
        mark
            Idle rows are for terminals only.
        text
            What to say of it.
        seconds
            How long it has been at it; a plain line has it only when the row is done.
        """
        before = self._rows.get(name)
        clock = "" if seconds is None else f"{seconds:.1f} s"
        self._rows[name] = _Row(mark, clock, text)
        changed = before is None or before.text != text
        if not self._console.is_terminal and changed and mark is not Mark.IDLE:
            after = f" ({clock})" if clock and mark is not Mark.BUSY else ""
            say(self._console, f"{name:<12} {text}{after}")
