"""Figures as people read them, and the tables of them in the documentation."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Spread:
    """A median between the smallest and the largest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        if self.low == self.high:
            return short(self.median)
        return f"{short(self.median)} ({short(self.low)} to {short(self.high)})"


def short(value: float) -> str:
    """Write a number with three digits that count."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table."""
    rule = f"|{'---|' * len(header)}"
    first, *others = (f"| {' | '.join(line)} |" for line in (header, *rows))
    return "\n".join([first, rule, *others])


def rewrite(page: Path, name: str, text: str) -> None:
    """Put text between ``<!-- bench: NAME -->`` and ``<!-- end -->`` of a page.

    Raises
    ------
    ValueError
        If the page does not have both.
    """
    begin, end = f"<!-- bench: {name} -->", "<!-- end -->"
    before, found, rest = page.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{page} has no {begin} with an {end} after it")
    page.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}")
