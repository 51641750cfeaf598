"""Tables and sentences from measurements: medians, their spread, and ratios in the same run."""

import statistics
from collections.abc import Mapping, Sequence

from benchmarks.fm.suite import Row
from benchmarks.tables import Spread, markdown, short

Measured = Mapping[tuple[str, int], Sequence[float]]
"""(A row's label, number of factors) -> one figure a round."""


def speed_table(rows: Sequence[Row], measured: Measured, *, spread: bool) -> str:
    """Return rows by numbers of factors: million ratings a second."""
    factors = sorted({num_factors for _, num_factors in measured})

    def cell(label: str, num_factors: int) -> str:
        rates = measured.get((label, num_factors))
        if not rates:
            return ""
        found = Spread.of(rates)
        return str(found) if spread else short(found.median)

    return markdown(
        ["million ratings a second", *(f"k={num_factors}" for num_factors in factors)],
        [
            [row.label, *(cell(row.label, num_factors) for num_factors in factors)]
            for row in rows
            if any(label == row.label for label, _ in measured)
        ],
    )


def ratios(rows: Sequence[Row], measured: Measured) -> list[str]:
    """Return a sentence a row: how many times as fast as others, median by median."""
    sentences = []
    for row in rows:
        for other in row.against:
            parts = [
                f"{_share(measured[row.label, k], measured[other, k])} (k={k})"
                for k in row.epochs
                if measured.get((row.label, k)) and measured.get((other, k))
            ]
            if parts:
                sentences.append(f"{row.label} to {other}: {', '.join(parts)}")
    return sentences


def accuracy_table(
    rows: Sequence[Row],
    rmse: Mapping[str, Sequence[float]],
    seconds: Mapping[str, Sequence[float]],
) -> str:
    """Return a line a system: mean RMSE over the splits with its spread, and seconds to train."""
    return markdown(
        ["system", "k", "test RMSE (lowest to highest split)", "seconds to train"],
        [
            [
                row.label,
                ", ".join(str(k) for k in row.epochs),
                f"{statistics.fmean(found):.4f} ({min(found):.4f} to {max(found):.4f})",
                short(statistics.median(seconds[row.label])),
            ]
            for row in rows
            if (found := rmse.get(row.label))
        ],
    )


def _share(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Write a ratio of medians: 24x as fast, 91 % as fast."""
    ratio = statistics.median(ours) / statistics.median(theirs)
    return f"{short(ratio)}x" if ratio >= 1 else f"{ratio:.0%}"
