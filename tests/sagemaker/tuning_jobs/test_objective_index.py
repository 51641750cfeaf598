"""The order of objectives."""

from __future__ import annotations

import math
from pathlib import Path

from matinee.sagemaker.store import Resource, Store
from matinee.sagemaker.tuning_jobs import objective_index
from matinee.sagemaker.tuning_jobs.objective_index import sortable
from tests.sagemaker.conftest import NOON


def test_numbers_sort_as_text() -> None:
    numbers = [-math.inf, -1e300, -2.5, -1e-300, 0.0, 5e-324, 1.0, 1.5, 10.0, math.inf]
    texts = [sortable(number) for number in numbers]
    assert texts == sorted(texts)
    assert len(set(map(len, texts))) == 1
    assert sortable(-0.0) == sortable(0.0)


def test_what_a_deleted_tuning_job_had_is_forgotten(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/sagemaker.sqlite")
    for folder in ("one", "other"):
        private = {"tuning_job": folder}
        arn = f"arn:{folder}"
        child = Resource("TrainingJob", folder, arn, "Completed", NOON, NOON, {}, private)
        objective_index.add(store, child, 1.5)
    objective_index.forget(store, "one")
    assert objective_index.known(store, "one") == set()
    assert objective_index.known(store, "other") == {"other"}
    store.close()
