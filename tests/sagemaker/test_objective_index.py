"""The order of objectives."""

from __future__ import annotations

import math

from matinee.sagemaker.objective_index import sortable


def test_numbers_sort_as_text() -> None:
    numbers = [-math.inf, -1e300, -2.5, -1e-300, 0.0, 5e-324, 1.0, 1.5, 10.0, math.inf]
    texts = [sortable(number) for number in numbers]
    assert texts == sorted(texts)
    assert len(set(map(len, texts))) == 1
    assert sortable(-0.0) == sortable(0.0)
