"""The rows that could not be used: counted exactly by cause, with a few samples of each.

A few malformed rows are reported and the run goes on; more than the run parameter
`max_malformed_fraction` allows are refused.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from matinee.workflow.errors import RatingsError

SAMPLES_PER_CAUSE = 3
_SAMPLE_LENGTH = 200

WRONG_FIELD_COUNT = "wrong number of fields"
NOT_JSON = "not a JSON object"
NOT_UTF8 = "ids that are not UTF-8"
NUL_BYTE = "ids with a NUL byte"
BLANK_CUSTOMER = "blank customer"
BLANK_VIDEO = "blank video"
STARS_NOT_A_NUMBER = "stars not a number"
STARS_OUT_OF_RANGE = "stars outside 1 to 5"


class MalformedRows:
    """A tally of malformed rows over all objects of the ratings."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._samples: dict[str, list[dict[str, str]]] = {}

    def add(self, cause: str, source: str, row: str, count: int = 1) -> None:
        """Count rows of a cause, and keep `row` as a sample if there are few so far.

        Parameters
        ----------
        cause : str
            One of this module's causes.
        source : str
            The URI of the object that holds the row.
        row : str
            The row, or what was read of it; cut to 200 characters.
        count : int
            How many rows this one stands for.
        """
        self.counts[cause] += count
        samples = self._samples.setdefault(cause, [])
        if len(samples) < SAMPLES_PER_CAUSE:
            samples.append({"object": source, "row": row[:_SAMPLE_LENGTH]})

    @property
    def total(self) -> int:
        """How many rows are malformed."""
        return self.counts.total()

    def refuse_above(self, fraction: float, usable: int, ratings: str) -> None:
        """Refuse ratings of which too many rows are malformed.

        Parameters
        ----------
        fraction : float
            The largest share of all rows that may be.
        usable : int
            How many rows are not.
        ratings : str
            The URI, for the message.

        Raises
        ------
        RatingsError
            With the counts and a sample of each cause.
        """
        rows = self.total + usable
        if not rows:
            raise RatingsError(f"{ratings} holds no ratings: it is empty")
        if not usable:
            raise RatingsError(
                f"none of the {rows} rows of {ratings} is a usable rating: {self.describe()}"
            )
        if self.total > fraction * rows:
            raise RatingsError(
                f"{self.total} of the {rows} rows of {ratings} are malformed"
                f" ({self.total / rows:.2%}), and max_malformed_fraction is {fraction}:"
                f" {self.describe()}"
            )

    def report(self) -> dict[str, Any]:
        """Return the tally as JSON: the total, the counts and the samples, each by cause."""
        causes = sorted(self.counts)
        return {
            "total": self.total,
            "causes": {cause: self.counts[cause] for cause in causes},
            "samples": {cause: self._samples[cause] for cause in causes},
        }

    def describe(self) -> str:
        """Return the counts and one sample of each cause as a phrase."""
        return "; ".join(
            f"{self.counts[cause]} {cause} (for example {self._samples[cause][0]['row']!r})"
            for cause in sorted(self.counts)
        )
