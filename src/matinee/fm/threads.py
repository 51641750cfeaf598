"""How many threads a training run may use: no more than the cores this process may run on.

More threads than cores would only wait for each other, so they are refused.
"""

import os

from matinee.fm.errors import HyperparameterError


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
