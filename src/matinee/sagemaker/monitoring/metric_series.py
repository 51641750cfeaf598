"""CloudWatch's arithmetic: from what was measured to one value for each period.

Percentiles are the least value that so many percent of the values do not exceed; CloudWatch has
none where a value is negative, or where only a summary of several different values was put.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from matinee.sagemaker.errors import InvalidParameterValueException
from matinee.sagemaker.store import MetricDatum

SHORT_PERIODS_S = (1, 5, 10, 20, 30)
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,10})?|100(?:\.0{1,10})?)")

_STATISTICS: Mapping[str, Callable[[Sequence[MetricDatum]], float]] = {
    "SampleCount": lambda data: math.fsum(datum.count for datum in data),
    "Average": lambda data: (
        math.fsum(datum.total for datum in data) / math.fsum(datum.count for datum in data)
    ),
    "Sum": lambda data: math.fsum(datum.total for datum in data),
    "Minimum": lambda data: min(datum.minimum for datum in data),
    "Maximum": lambda data: max(datum.maximum for datum in data),
}


@dataclass(frozen=True, slots=True)
class Periods:
    """A range of time cut into periods.

    Attributes
    ----------
    first
        Where the first period begins: seconds since 1970.
    end
        Where the range ends, excluded.
    seconds
        The length of a period.
    """

    first: float
    end: float
    seconds: int

    @classmethod
    def of(cls, start: datetime, end: datetime, seconds: int) -> Periods:
        """Cut a range; it begins at ``start`` rounded down to a minute, or to a shorter period.

        Raises
        ------
        InvalidParameterValueException
            The range is empty, or CloudWatch has no such period.
        """
        if start >= end:
            raise InvalidParameterValueException(
                "The parameter StartTime must be less than the parameter EndTime."
            )
        if seconds % 60 and seconds not in SHORT_PERIODS_S:
            raise InvalidParameterValueException(
                f"The parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60, not {seconds}."
            )
        grid = min(60, seconds)
        return cls(math.floor(start.timestamp() / grid) * grid, end.timestamp(), seconds)

    @property
    def count(self) -> int:
        """How many periods there are."""
        return math.ceil((self.end - self.first) / self.seconds)

    @property
    def begin(self) -> datetime:
        """Where the first period begins."""
        return datetime.fromtimestamp(self.first, UTC)

    @property
    def stop(self) -> datetime:
        """Where the range ends."""
        return datetime.fromtimestamp(self.end, UTC)

    def number(self, moment: datetime) -> int:
        """Return the number of the period a moment is in."""
        return int((moment.timestamp() - self.first) // self.seconds)

    def moment(self, number: int) -> datetime:
        """Return where a period begins."""
        return datetime.fromtimestamp(self.first + number * self.seconds, UTC)


def by_period(
    data: Iterable[MetricDatum], periods: Periods
) -> dict[tuple[int, str], list[MetricDatum]]:
    """Return the data by number of their period and unit, sorted."""
    found: dict[tuple[int, str], list[MetricDatum]] = {}
    for datum in data:
        found.setdefault((periods.number(datum.timestamp), datum.unit), []).append(datum)
    return dict(sorted(found.items()))


def check_statistic(name: str) -> None:
    """Refuse the name of a statistic that is not computed here.

    Raises
    ------
    InvalidParameterValueException
    """
    if name not in _STATISTICS and not _PERCENTILE.fullmatch(name):
        raise InvalidParameterValueException(
            f"The statistic {name!r} is none of {', '.join(_STATISTICS)} and p0 to p100; matinee "
            "computes no others."
        )


def statistic(name: str, data: Sequence[MetricDatum]) -> float | None:
    """Return a statistic of some data; None where CloudWatch has none.

    Parameters
    ----------
    name
        One that `check_statistic` lets pass.
    data
        At least one datum.
    """
    if name in _STATISTICS:
        return _STATISTICS[name](data)
    percent = float(name[1:])
    if any(datum.minimum < 0 or datum.minimum != datum.maximum for datum in data):
        return None
    values = sorted((datum.minimum, datum.count) for datum in data)
    wanted = percent / 100 * math.fsum(count for _, count in values)
    reached = 0.0
    for value, count in values:
        reached += count
        # Sums of counts are exact as long as the counts are whole.
        if reached >= wanted:
            return value
    return values[-1][0]
