"""Only as many threads as there are cores, and they share out work."""

import os
import threading

import pytest

from matinee.fm.errors import HyperparameterError
from matinee.fm.threads import Team, check_threads

CORES = len(os.sched_getaffinity(0))


def test_up_to_the_number_of_cores_is_allowed() -> None:
    assert check_threads(1) == 1
    assert check_threads(CORES) == CORES


@pytest.mark.parametrize("threads", [0, -1, CORES + 1])
def test_other_numbers_are_refused(threads: int) -> None:
    with pytest.raises(HyperparameterError, match=f"threads is {threads}: .* at most {CORES},"):
        check_threads(threads)


@pytest.mark.parametrize("threads", range(1, CORES + 1))
def test_a_team_does_everything_once_and_answers_in_order(threads: int) -> None:
    done: list[int] = []

    def negate(item: int) -> int:
        done.append(item)
        return -item

    with Team(threads) as team:
        assert team.map(negate, range(100)) == [-item for item in range(100)]
        assert team.map(str, []) == []
    assert sorted(done) == list(range(100))


@pytest.mark.skipif(CORES < 2, reason="one core")
def test_threads_of_a_team_work_at_the_same_time() -> None:
    both_are_here = threading.Barrier(2, timeout=30)
    with Team(2) as team:
        assert sorted(team.map(lambda _: both_are_here.wait(), range(2))) == [0, 1]


@pytest.mark.parametrize("threads", range(1, CORES + 1))
def test_an_error_of_any_thread_is_raised(threads: int) -> None:
    def fail(item: int) -> None:
        raise KeyError(item)

    with Team(threads) as team, pytest.raises(KeyError):
        team.map(fail, range(3))
