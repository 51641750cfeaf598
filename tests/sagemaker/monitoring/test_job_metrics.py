"""The metrics of a training job."""

from __future__ import annotations

from matinee.sagemaker.monitoring.job_metrics import last, of_job
from matinee.sagemaker.monitoring.metric_search import MetricPoint
from tests.sagemaker.conftest import Front

LOSS = {"Name": "loss", "Regex": "loss=([^;]+);"}


def test_a_job_has_the_metrics_of_its_definitions(front: Front) -> None:
    document = {"AlgorithmSpecification": {"MetricDefinitions": [LOSS]}}
    front.add_job("TrainingJob", "job", [(1, "loss=0.5;"), (2, "loss=0.25;")], document)
    job = front.context.store.get("TrainingJob", "job")
    assert job is not None
    found = of_job(front.context, job)
    assert found == [MetricPoint("loss", 1, 0.5), MetricPoint("loss", 2, 0.25)]
    assert last(found) == [MetricPoint("loss", 2, 0.25)]


def test_a_job_without_definitions_has_none(front: Front) -> None:
    front.add_job("TrainingJob", "job", [(1, "loss=0.5;")], {"AlgorithmSpecification": {}})
    job = front.context.store.get("TrainingJob", "job")
    assert job is not None
    assert of_job(front.context, job) == []
