"""One simulation: its files, made while they are read, and the truth of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

from matinee.datasets.movielens import DatasetError
from matinee.datasets.simulated import LEAST_SCALE, census, files
from matinee.datasets.simulated.population import Population
from matinee.datasets.simulated.text import Writer
from matinee.workflow.parameters import PARAMETERS

BUFFER_BYTES: Final = 2**20


class Simulation:
    """Simulated reviews of a scale and seed.

    Parameters
    ----------
    scale : float
        1 for 4.07 million rows; at least `LEAST_SCALE`.
    seed : int
        From 0.
    threads : int
        To work with; they change nothing of what is made.

    Raises
    ------
    DatasetError
        If there is no such scale or seed.
    """

    def __init__(self, scale: float, seed: int, threads: int) -> None:
        if not scale >= LEAST_SCALE:
            raise DatasetError(f"scale {scale}: the least is {LEAST_SCALE}")
        if seed < 0:
            raise DatasetError(f"seed {seed}: the least is 0")
        self._scale = scale
        self._seed = seed
        self._threads = threads
        self._population = Population(scale, seed)

    @property
    def name(self) -> str:
        """How files of it are called, without an ending."""
        return f"simulated-{self._scale:g}x-seed-{self._seed}"

    @property
    def rows(self) -> int:
        """How many rows there are, malformed ones and duplicates among them."""
        return self._population.rows

    @cached_property
    def _writer(self) -> Writer:
        return Writer(self._population)

    def file(
        self, number: int, of: int, *, compressed: bool, progress: Callable[[int], None]
    ) -> io.BufferedReader:
        """Return one of several files of about equal size, made while it is read.

        Without their headers and one after the other, the files are the same text however many
        there are.

        Parameters
        ----------
        number : int
            From 0.
        of : int
            How many files there are.
        compressed : bool
            By gzip.
        progress : callable
            Told how many rows more are made.
        """
        rows = (self.rows * number // of, self.rows * (number + 1) // of)
        return io.BufferedReader(
            files.read(self._population, self._writer, rows, compressed, self._threads, progress),
            BUFFER_BYTES,
        )

    def truth(self, progress: Callable[[int], None]) -> dict[str, Any]:
        """Count what a reader of the files must find: see `census.take`.

        The filters are the workflow's defaults.

        Parameters
        ----------
        progress : callable
            Told how many rows more are counted.
        """
        least_of_customer, least_of_video = (
            int(PARAMETERS[name].default)
            for name in ("min_ratings_per_customer", "min_ratings_per_video")
        )
        counted = census.take(
            self._population, least_of_customer, least_of_video, self._threads, progress
        )
        return {"simulated": {"scale": self._scale, "seed": self._seed}, **counted}
