"""Numbers in log lines."""

from __future__ import annotations

import pytest

from matinee.sagemaker.algorithms import FACTORIZATION_MACHINES
from matinee.sagemaker.job_metrics import MetricPoint, last, points

LOSS = {"Name": "loss", "Regex": "loss=([^;]+);"}


def test_lines_become_points_in_their_order() -> None:
    events = [(1, "loss=0.5; more"), (2, "nothing"), (3, "loss=-1e-3;")]
    found = points(events, [LOSS])
    assert found == [MetricPoint("loss", 1, 0.5), MetricPoint("loss", 3, -0.001)]
    assert last(found) == [MetricPoint("loss", 3, -0.001)]


@pytest.mark.parametrize("text", ["loss=nan;", "loss=inf;", "loss=high;", "loss=;"])
def test_what_is_no_finite_number_is_no_point(text: str) -> None:
    assert points([(1, text)], [LOSS]) == []


def test_an_unmatched_group_is_no_point() -> None:
    assert points([(1, "b")], [{"Name": "x", "Regex": "(1)?b"}]) == []


PREFIX = "[11/23/2026 12:00:00 INFO 140276281280320] "


@pytest.mark.parametrize(
    ("line", "names"),
    [
        (
            "#quality_metric: host=algo-1, epoch=0, batch=0 train rmse <loss>=2.5",
            {"train:rmse:batch"},
        ),
        ("#quality_metric: host=algo-1, epoch=0, train rmse <loss>=2.5", {"train:rmse:epoch"}),
        ("#quality_metric: host=algo-1, train rmse <loss>=2.5", {"train:rmse"}),
        ("#quality_metric: host=algo-1, test mse <loss>=2.5", {"test:mse"}),
        (
            "#quality_metric: host=algo-1, test binary_f_1.000 <score>=2.5",
            {"test:binary_f_beta"},
        ),
        (
            "#quality_metric: host=algo-1, train binary_classification_accuracy <score>=2.5",
            {"train:binary_classification_accuracy"},
        ),
        (
            "#quality_metric: host=algo-1, train binary_classification_cross_entropy <loss>=2.5",
            {"train:binary_classification_cross_entropy"},
        ),
        ("#progress_metric: host=algo-1, completed 2.5 % of epochs", {"train:progress"}),
        (
            "#throughput_metric: host=algo-1, train throughput=2.5 records/second",
            {"train:throughput"},
        ),
    ],
)
def test_each_line_of_factorization_machines_is_one_metric(line: str, names: set[str]) -> None:
    found = points([(1, PREFIX + line)], FACTORIZATION_MACHINES.metric_definitions)
    assert {point.name for point in found} == names
    assert {point.value for point in found} == {2.5}
