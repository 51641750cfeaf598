"""What earlier tuning jobs found, beside a job's own trials."""

from __future__ import annotations

from matinee.sagemaker.tuning_jobs.search import Trial
from matinee.sagemaker.tuning_jobs.warm_start import Past

PARENT = (Trial({"x": "1"}, 10.0), Trial({"x": "2"}, 30.0))
OWN = [Trial({"x": "3"}, 1.0), Trial({"x": "4"}, None), Trial({"x": "5"}, 3.0)]


def test_objectives_of_the_same_data_are_compared() -> None:
    assert Past(True, (PARENT,), None).join(OWN) == (list(PARENT), OWN)


def test_objectives_of_other_data_are_counted_from_their_mean() -> None:
    earlier, own = Past(False, (PARENT,), None).join(OWN)
    assert [trial.value for trial in earlier] == [-1.0, 1.0]
    assert [trial.value for trial in own] == [-1.0, None, 1.0]
    assert [trial.parameters for trial in own] == [trial.parameters for trial in OWN]


def test_without_parents_nothing_changes() -> None:
    assert Past(False, (), None).join(OWN) == ([], OWN)
