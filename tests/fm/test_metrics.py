"""Metrics by their definitions, on records few enough to count by hand."""

import math

import numpy as np
import pytest

from matinee.fm.metrics import METRICS, Totals


def floats(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(values, dtype=np.float32)


def test_regressor() -> None:
    totals = Totals("regressor")
    totals.add(floats(1, 2, 3), floats(1, 4, 2))

    assert totals.metrics() == {
        "rmse": math.sqrt(5 / 3),
        "mse": 5 / 3,
        "absolute_loss": 1.0,
    }


def test_binary_classifier() -> None:
    totals = Totals("binary_classifier")
    # Found; missed; falsely found (0.5 is class 1); rightly not found.
    totals.add(floats(0.75, 0.25, 0.5, 0.25), floats(1, 1, 0, 0))

    metrics = totals.metrics()

    assert metrics["binary_classification_accuracy"] == 0.5
    assert metrics["binary_f_1.000"] == 0.5
    entropy = -(math.log(0.75) + math.log(0.25) + math.log(0.5) + math.log(0.75)) / 4
    assert metrics["binary_classification_cross_entropy"] == pytest.approx(entropy)


def test_a_saturated_mistake_costs_the_logarithm_of_a_hundred_millionth() -> None:
    totals = Totals("binary_classifier")
    totals.add(floats(0, 1), floats(1, 0))

    entropy = totals.metrics()["binary_classification_cross_entropy"]
    assert entropy == pytest.approx(-math.log(1e-8))


def test_f1_without_a_positive_is_0() -> None:
    totals = Totals("binary_classifier")
    totals.add(floats(0.1), floats(0))

    assert totals.metrics()["binary_f_1.000"] == 0


@pytest.mark.parametrize("predictor_type", METRICS)
def test_parts_add_up_to_the_whole(predictor_type: str) -> None:
    scores, labels = floats(0.9, 0.2, 0.6, 0.1, 0.1), floats(1, 1, 0, 0, 0)
    whole, parts = (Totals(predictor_type) for _ in range(2))  # type: ignore[arg-type]  # METRICS' keys
    whole.add(scores, labels)
    parts.add(scores[:3], labels[:3])
    parts.add(scores[3:4], labels[3:4], times=2)

    assert parts.metrics() == pytest.approx(whole.metrics())
    assert list(whole.metrics()) == [metric.name for metric in METRICS[predictor_type]]  # type: ignore[index]
