"""Threads that share out work, no more of them than the cores this process may run on.

More threads than cores would only wait for each other, so they are refused. Results never depend on
which thread did what.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, Self, TypeVar

from matinee.fm.errors import HyperparameterError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def check_threads(threads: int) -> int:
    """Return ``threads``.

    Raises
    ------
    HyperparameterError
        If there are none, or more than the cores that this process may run on.
    """
    cores = len(os.sched_getaffinity(0))
    if not 1 <= threads <= cores:
        raise HyperparameterError(
            f"threads is {threads}: it must be 1 or more, and at most {cores}, the number of cores"
        )
    return threads


class Team:
    """The caller's thread and its helpers; a context manager.

    The caller works too: were it to sleep instead, the helpers would be woken on each other's cores
    and lose more time than short work takes.

    Parameters
    ----------
    threads
        How many, the caller's included.

    Raises
    ------
    HyperparameterError
        See ``check_threads``.
    """

    def __init__(self, threads: int) -> None:
        self._helpers = check_threads(threads) - 1
        self._pool = ThreadPoolExecutor(self._helpers) if self._helpers else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        type_: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
        """Call a function with each item, at the same time; return the results in order."""
        given = list(items)
        results: list[Any] = [None] * len(given)
        places = iter(range(len(given)))

        def work() -> None:
            # One iterator for all threads: each takes the next item that nobody has taken.
            for place in places:
                results[place] = function(given[place])

        helping: list[Future[None]] = []
        if self._pool is not None:
            helpers = range(min(self._helpers, len(given) - 1))
            helping = [self._pool.submit(work) for _ in helpers]
        try:
            work()
        finally:
            wait(helping)
        for helper in helping:
            helper.result()
        return results
