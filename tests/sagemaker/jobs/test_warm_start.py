"""Tuning jobs that start from earlier ones, and what becomes of deleted ones, over the wire."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.sagemaker.jobs.conftest import Jobs, channel, refusal, until
from tests.sagemaker.jobs.test_tuning_jobs import RANGES, create, grid, limits, printing

IDENTICAL, TRANSFER = "IdenticalDataAndAlgorithm", "TransferLearning"


def warm(jobs: Jobs, parent: str, kind: str = IDENTICAL, **changes: Any) -> dict[str, Any]:
    """Return a request for one trial that starts from a tuning job on `print`."""
    config = {
        "Strategy": "Random",
        "ParameterRanges": printing("loss=5;"),
        "ResourceLimits": limits(1, 1),
        **changes,
    }
    request = jobs.tuning_request(jobs.new_name("warm"), **config)
    request["TrainingJobDefinition"]["StaticHyperParameters"] = {}
    request["WarmStartConfig"] = {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": parent}],
        "WarmStartType": kind,
    }
    return request


def tune(jobs: Jobs, request: dict[str, Any]) -> dict[str, Any]:
    jobs.sagemaker.create_hyper_parameter_tuning_job(**request)
    described = jobs.tuned(request["HyperParameterTuningJobName"])
    assert described["HyperParameterTuningJobStatus"] == "Completed", described.get("FailureReason")
    return described


def test_the_best_of_all_is_a_parents(jobs: Jobs) -> None:
    parent = create(jobs, **grid("loss=4;", "loss=6;"))
    jobs.tuned(parent)
    described = tune(jobs, warm(jobs, parent))
    best = jobs.children(parent)[0]
    assert described["OverallBestTrainingJob"] == {**best, "TuningJobName": parent}
    assert described["BestTrainingJob"]["TunedHyperParameters"] == {"print": "loss=5;"}
    # A better one of its own; the parent is gone by now, its training jobs are not.
    delete = jobs.sagemaker.delete_hyper_parameter_tuning_job
    request = warm(jobs, parent, ParameterRanges=printing("loss=3;"))
    described = tune(jobs, request)
    assert described["OverallBestTrainingJob"] == {
        **described["BestTrainingJob"],
        "TuningJobName": request["HyperParameterTuningJobName"],
    }
    delete(HyperParameterTuningJobName=parent)
    code, message = refusal(jobs.sagemaker.create_hyper_parameter_tuning_job, **warm(jobs, parent))
    assert (code, message.split(": ")[-1]) == (
        "ValidationException",
        f"Amazon SageMaker can't find a tuning job called {parent!r}.",
    )


def test_transfer_learning_compares_no_objectives(jobs: Jobs) -> None:
    parent = create(jobs, {"print": "hello"}, ResourceLimits=limits(6, 3))
    jobs.tuned(parent)
    request = warm(
        jobs,
        parent,
        TRANSFER,
        Strategy="Bayesian",
        ParameterRanges=RANGES,
        ResourceLimits=limits(3, 1),
        RandomSeed=1,
    )
    definition = request["TrainingJobDefinition"]
    definition["StaticHyperParameters"] = {"print": "hello"}
    definition["InputDataConfig"] = [channel("train", jobs.put("train/a", b"data"))]
    described = tune(jobs, request)
    assert "OverallBestTrainingJob" not in described
    assert described["WarmStartConfig"] == request["WarmStartConfig"]
    assert described["TrainingJobStatusCounters"]["Completed"] == 3


def continuous(name: str) -> dict[str, Any]:
    return {
        "ContinuousParameterRanges": [{"Name": name, "MinValue": "0.1", "MaxValue": "1"}],
    }


@pytest.mark.parametrize(
    ("changes", "statics", "said"),
    [
        ({"ParameterRanges": continuous("x")}, {}, "names is not the same across current and par"),
        ({"ParameterRanges": continuous("print")}, {}, "its type cannot change to continuous"),
        (
            {
                "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "loss"},
            },
            {},
            "is not that of the parent tuning job",
        ),
        (
            {"ParameterRanges": continuous("x")},
            {"print": "loss=1;"},
            "names is not the same across current and parent tuning jobs. Different in parent",
        ),
        (grid("loss=1;"), {}, "for the strategies Bayesian and Random, not Grid"),
    ],
)
def test_a_parent_that_does_not_fit_is_refused(
    jobs: Jobs, changes: dict[str, Any], statics: dict[str, str], said: str
) -> None:
    parent = create(jobs, **grid("loss=4;"))
    jobs.tuned(parent)
    request = warm(jobs, parent, **changes)
    request["TrainingJobDefinition"]["StaticHyperParameters"] = statics
    code, message = refusal(jobs.sagemaker.create_hyper_parameter_tuning_job, **request)
    assert code == "ValidationException"
    assert said in message


def test_few_statics_may_change(jobs: Jobs) -> None:
    statics = {f"option-{number}": "old" for number in range(6)}
    parent = create(jobs, statics, **grid("loss=4;"))
    jobs.tuned(parent)
    request = warm(jobs, parent)
    request["TrainingJobDefinition"]["StaticHyperParameters"] = dict.fromkeys(statics, "new")
    assert refusal(jobs.sagemaker.create_hyper_parameter_tuning_job, **request) == (
        "ValidationException",
        f"12 changes of static hyperparameters from the parent tuning job {parent} are more "
        "than 10.",
    )


def test_other_data_or_a_running_parent_are_refused(jobs: Jobs, gate: Path) -> None:
    parent = create(jobs, {"wait_for": str(gate)}, **grid("loss=4;"))
    until(lambda: jobs.children(parent))
    request = warm(jobs, parent)
    request["TrainingJobDefinition"]["StaticHyperParameters"] = {"wait_for": str(gate)}
    call = jobs.sagemaker.create_hyper_parameter_tuning_job
    assert refusal(call, **request)[1] == (
        f"The parent tuning job {parent} is in status InProgress. "
        "Parent tuning jobs must be Completed, Stopped or Failed."
    )
    delete = jobs.sagemaker.delete_hyper_parameter_tuning_job
    assert "is in status InProgress" in refusal(delete, HyperParameterTuningJobName=parent)[1]
    gate.touch()
    jobs.tuned(parent)
    data = [channel("train", jobs.put("train/a", b"data"))]
    request["TrainingJobDefinition"]["InputDataConfig"] = data
    assert refusal(call, **request)[1].startswith("InputDataConfig is not that of the parent")


def test_a_deleted_tuning_job_leaves_its_training_jobs(jobs: Jobs) -> None:
    name = create(jobs, **grid("loss=4;"))
    jobs.tuned(name)
    (child,) = jobs.children(name)
    delete = jobs.sagemaker.delete_hyper_parameter_tuning_job
    delete(HyperParameterTuningJobName=name)
    missing = f"Amazon SageMaker can't find a tuning job called {name}. Type another name."
    for call in (delete, jobs.sagemaker.describe_hyper_parameter_tuning_job):
        assert refusal(call, HyperParameterTuningJobName=name) == ("ResourceNotFound", missing)
    assert jobs.describe(child["TrainingJobName"])["TrainingJobStatus"] == "Completed"
    # The next one of this name begins anew.
    request = jobs.tuning_request(name, **grid("loss=5;"))
    request["TrainingJobDefinition"]["StaticHyperParameters"] = {}
    jobs.sagemaker.create_hyper_parameter_tuning_job(**request)
    assert jobs.tuned(name)["TrainingJobStatusCounters"]["Completed"] == 1
    (other,) = jobs.children(name)
    assert other["TunedHyperParameters"] == {"print": "loss=5;"}
    assert other == jobs.children(name, SortBy="FinalObjectiveMetricValue")[0]
