"""Only as many threads as there are cores."""

import os

import pytest

from matinee.fm.errors import HyperparameterError
from matinee.fm.threads import check_threads

CORES = len(os.sched_getaffinity(0))


def test_up_to_the_number_of_cores_is_allowed() -> None:
    assert check_threads(1) == 1
    assert check_threads(CORES) == CORES


@pytest.mark.parametrize("threads", [0, -1, CORES + 1])
def test_other_numbers_are_refused(threads: int) -> None:
    with pytest.raises(HyperparameterError, match=f"threads is {threads}: .* at most {CORES},"):
        check_threads(threads)
