"""Tuning jobs over the wire: their trials, what is learned from them, and how they end."""

from __future__ import annotations

import dataclasses
import re
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from matinee.sagemaker.store import Store
from tests.sagemaker.jobs.conftest import LOSS, RESOURCES, Jobs, refusal, until

RANGES = {"ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1"}]}


def limits(jobs: int, parallel: int) -> dict[str, int]:
    return {"MaxNumberOfTrainingJobs": jobs, "MaxParallelTrainingJobs": parallel}


def create(jobs: Jobs, hyperparameters: dict[str, str] | None = None, /, **changes: Any) -> str:
    name = jobs.new_name("tune")
    request = jobs.tuning_request(name, **changes)
    request["TrainingJobDefinition"]["StaticHyperParameters"] = hyperparameters or {}
    jobs.sagemaker.create_hyper_parameter_tuning_job(**request)
    return name


def grid(*printed: str, parallel: int = 1, **changes: Any) -> dict[str, Any]:
    """Return a config that prints these texts, one a trial, in this order."""
    return {
        "Strategy": "Grid",
        "ParameterRanges": printing(*printed),
        "ResourceLimits": {"MaxParallelTrainingJobs": parallel},
        **changes,
    }


def printing(*printed: str) -> dict[str, Any]:
    return {"CategoricalParameterRanges": [{"Name": "print", "Values": list(printed)}]}


def statuses(jobs: Jobs, name: str) -> list[str]:
    return [child["TrainingJobStatus"] for child in jobs.children(name)]


def completed(jobs: Jobs, name: str) -> dict[str, Any]:
    """Return the description of a tuning job that must complete."""
    described = jobs.tuned(name)
    assert described["HyperParameterTuningJobStatus"] == "Completed", described.get("FailureReason")
    return described


def objectives(jobs: Jobs, name: str) -> list[float]:
    return [
        child["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
        for child in jobs.children(name)
    ]


def tuned_values(jobs: Jobs, name: str) -> list[dict[str, str]]:
    return [child["TunedHyperParameters"] for child in jobs.children(name)]


def test_a_tuning_job_finds_its_best_trial(jobs: Jobs) -> None:
    name = create(jobs, {"print": "hello"}, ResourceLimits=limits(4, 2), RandomSeed=1)
    described = jobs.tuned(name)
    assert described["HyperParameterTuningJobStatus"] == "Completed", described.get("FailureReason")
    children = jobs.children(name)
    for number, child in enumerate(children, 1):
        assert re.fullmatch(rf"{name}-{number:03d}-[0-9a-f]{{8}}", child["TrainingJobName"])
        assert child["ObjectiveStatus"] == "Succeeded"
        loss = (float(child["TunedHyperParameters"]["x"]) - 0.25) ** 2
        assert child["FinalHyperParameterTuningJobObjectiveMetric"] == {
            "Type": "Minimize",
            "MetricName": "loss",
            "Value": pytest.approx(loss),
        }
    best = min(
        children, key=lambda child: child["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
    )
    assert described["BestTrainingJob"] == best
    assert described["TrainingJobStatusCounters"] == {
        "Completed": 4,
        "InProgress": 0,
        "RetryableError": 0,
        "NonRetryableError": 0,
        "Stopped": 0,
    }
    assert described["ObjectiveStatusCounters"] == {"Succeeded": 4, "Pending": 0, "Failed": 0}
    assert described["HyperParameterTuningEndTime"] >= best["TrainingEndTime"]
    definition = described["TrainingJobDefinition"]
    assert definition["StaticHyperParameters"] == {
        "print": "hello",
        "_tuning_objective_metric": "loss",
    }
    objective = {"Name": "ObjectiveMetric", "Regex": LOSS["Regex"]}
    assert definition["AlgorithmSpecification"]["MetricDefinitions"] == [LOSS, objective]


def test_a_trial_is_a_training_job_of_its_own(jobs: Jobs) -> None:
    name = jobs.new_name("tune")
    request = jobs.tuning_request(name, ResourceLimits=limits(1, 1))
    tags = [{"Key": "team", "Value": "films"}]
    definition = request["TrainingJobDefinition"]
    definition["StaticHyperParameters"] = {"print": "hello"}
    definition["HyperParameterTuningResourceConfig"] = {
        "InstanceConfigs": [definition.pop("ResourceConfig")],
        "AllocationStrategy": "Prioritized",
    }
    jobs.sagemaker.create_hyper_parameter_tuning_job(**request, Tags=tags)
    arn = jobs.tuned(name)["HyperParameterTuningJobArn"]
    (child,) = jobs.children(name)
    described = jobs.describe(child["TrainingJobName"])
    assert described["ResourceConfig"] == RESOURCES
    assert jobs.sagemaker.list_tags(ResourceArn=described["TrainingJobArn"])["Tags"] == tags
    assert described["TrainingJobStatus"] == "Completed"
    assert described["TuningJobArn"] == arn
    assert described["HyperParameters"] == {
        "print": "hello",
        "_tuning_objective_metric": "loss",
        **child["TunedHyperParameters"],
    }
    assert jobs.model(described)["hyperparameters"] == described["HyperParameters"]
    names = [metric["MetricName"] for metric in described["FinalMetricDataList"]]
    assert names == ["loss", "ObjectiveMetric"]


@pytest.mark.parametrize("strategy", ["Bayesian", "Random"])
def test_the_same_seed_gives_the_same_trials(jobs: Jobs, strategy: str) -> None:
    ranges = {
        **RANGES,
        "IntegerParameterRanges": [{"Name": "n", "MinValue": "1", "MaxValue": "9"}],
        "CategoricalParameterRanges": [{"Name": "kind", "Values": ["a", "b"]}],
    }
    first, second = (
        create(
            jobs,
            Strategy=strategy,
            RandomSeed=7,
            ParameterRanges=ranges,
            ResourceLimits=limits(8, 3),
        )
        for _ in range(2)
    )
    jobs.tuned(first)
    jobs.tuned(second)
    trials = tuned_values(jobs, first)
    assert trials == tuned_values(jobs, second)
    assert len({trial["x"] for trial in trials}) == 8
    assert {trial["n"] for trial in trials} <= set("123456789")


def test_no_more_run_at_a_time_than_allowed(jobs: Jobs, gate: Path) -> None:
    name = create(jobs, {"wait_for": str(gate)}, ResourceLimits=limits(3, 2))
    until(lambda: len(jobs.children(name)) == 2)
    for child in jobs.children(name):
        jobs.wait_until_waiting(child["TrainingJobName"])
    described = jobs.describe_tuning(name)
    assert described["HyperParameterTuningJobStatus"] == "InProgress"
    assert described["TrainingJobStatusCounters"]["InProgress"] == 2
    assert described["ObjectiveStatusCounters"]["Pending"] == 2
    assert "BestTrainingJob" not in described
    gate.touch()
    jobs.tuned(name)
    times = [(child["CreationTime"], child["TrainingEndTime"]) for child in jobs.children(name)]
    assert times[2][0] >= min(end for _, end in times[:2])


def test_children_are_listed_by_objective(jobs: Jobs) -> None:
    name = create(jobs, ResourceLimits=limits(3, 3))
    jobs.tuned(name)
    order = {"SortBy": "FinalObjectiveMetricValue", "SortOrder": "Descending"}
    everything = jobs.children(name, **order)
    values = [child["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for child in everything]
    assert values == sorted(values, reverse=True)
    call = jobs.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job
    request = {"HyperParameterTuningJobName": name, "MaxResults": 2}
    for changes in (order, {"SortBy": "Name"}):
        first = call(**request, **changes)
        rest = call(**request, **changes, NextToken=first["NextToken"])
        shown = first["TrainingJobSummaries"] + rest["TrainingJobSummaries"]
        assert shown == jobs.children(name, **changes)
        assert "NextToken" not in rest
    assert jobs.children(name, StatusEquals="Failed") == []
    assert refusal(call, **request, **order, NextToken="x")[0] == "ValidationException"


def test_stopping_stops_the_children(jobs: Jobs, gate: Path) -> None:
    name = create(jobs, {"wait_for": str(gate)}, ResourceLimits=limits(3, 2))
    until(lambda: len(jobs.children(name)) == 2)
    jobs.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    described = jobs.tuned(name)
    assert described["HyperParameterTuningJobStatus"] == "Stopped"
    assert described["TrainingJobStatusCounters"]["Stopped"] == 2
    assert [child["TrainingJobStatus"] for child in jobs.children(name)] == ["Stopped"] * 2
    call = jobs.sagemaker.stop_hyper_parameter_tuning_job
    assert refusal(call, HyperParameterTuningJobName=name)[0] == "ValidationException"


def test_a_job_whose_trials_all_fail_fails(jobs: Jobs) -> None:
    failing = {"failure": "ClientError: never", "exit": "1"}
    few = jobs.tuned(create(jobs, failing, ResourceLimits=limits(2, 1)))
    assert few["HyperParameterTuningJobStatus"] == "Failed"
    assert few["FailureReason"].startswith(
        "ClientError: No training job succeeded after 2 attempts."
    )
    assert few["FailureReason"].endswith("ClientError: never, exit code: 1")
    assert few["TrainingJobStatusCounters"]["NonRetryableError"] == 2
    many = jobs.tuned(create(jobs, failing, ResourceLimits=limits(50, 1)))
    assert "after 5 attempts" in many["FailureReason"]
    assert many["TrainingJobStatusCounters"]["NonRetryableError"] == 5


def test_an_internal_error_is_tried_again(jobs: Jobs) -> None:
    name = jobs.new_name("tune")
    request = jobs.tuning_request(name, **grid("loss=1;", ResourceLimits=limits(1, 1)))
    definition = request["TrainingJobDefinition"]
    definition["StaticHyperParameters"] = {"failure": "InternalServerError: again", "exit": "1"}
    definition["RetryStrategy"] = {"MaximumRetryAttempts": 1}
    jobs.sagemaker.create_hyper_parameter_tuning_job(**request)
    described = jobs.tuned(name)
    assert described["HyperParameterTuningJobStatus"] == "Failed"
    assert described["TrainingJobStatusCounters"]["RetryableError"] == 1
    assert described["TrainingJobDefinition"]["RetryStrategy"] == {"MaximumRetryAttempts": 1}
    (child,) = jobs.children(name)
    transitions = jobs.describe(child["TrainingJobName"])["SecondaryStatusTransitions"]
    assert [item["Status"] for item in transitions].count("Starting") == 2


def test_a_job_without_any_objective_fails(jobs: Jobs) -> None:
    ranges = {"CategoricalParameterRanges": [{"Name": "print", "Values": ["a", "b"]}]}
    changes = {"ParameterRanges": ranges, "ResourceLimits": limits(2, 1)}
    described = jobs.tuned(create(jobs, **changes))
    assert described["FailureReason"].startswith(
        "ClientError: No objective metrics found after running 2 training jobs."
    )
    assert described["ObjectiveStatusCounters"] == {"Succeeded": 0, "Pending": 0, "Failed": 2}
    assert described["TrainingJobStatusCounters"]["Completed"] == 2


def test_the_next_server_repeats_no_trial(mortal: Jobs, gate: Path) -> None:
    changes = {"ResourceLimits": limits(5, 2), "RandomSeed": 3}
    undisturbed = create(mortal, **changes)
    mortal.tuned(undisturbed)
    name = create(mortal, {"wait_for": str(gate)}, **changes)
    until(lambda: len(mortal.children(name)) == 2)
    mortal.server.end(signal.SIGKILL)
    gate.touch()
    mortal.server.start()
    until(lambda: len(mortal.children(name)) >= 4)
    mortal.server.end(signal.SIGKILL)
    mortal.server.start()
    described = mortal.tuned(name)
    assert described["HyperParameterTuningJobStatus"] == "Completed", described.get("FailureReason")
    assert described["TrainingJobStatusCounters"]["Completed"] == 5
    assert tuned_values(mortal, name) == tuned_values(mortal, undisturbed)


def test_a_job_ends_in_time(mortal: Jobs) -> None:
    limit = {"MaxParallelTrainingJobs": 1, "MaxRuntimeInSeconds": 120}
    name = create(mortal, **grid("loss=1;", "pause", "loss=2;", ResourceLimits=limit))
    until(lambda: len(mortal.children(name)) == 2)
    mortal.server.end(signal.SIGKILL)
    # It was created so much earlier.
    store = Store(f"sqlite:///{mortal.server.state}/sagemaker.sqlite")
    back = timedelta(seconds=121)
    store.update(
        "HyperParameterTuningJob",
        name,
        lambda job: dataclasses.replace(job, created=job.created - back),
    )
    store.close()
    mortal.server.start()
    described = completed(mortal, name)
    assert statuses(mortal, name) == ["Completed", "Stopped"]
    assert described["BestTrainingJob"]["TunedHyperParameters"] == {"print": "loss=1;"}
    assert described["ConsumedResources"]["RuntimeInSeconds"] >= 121


def test_names_are_unique_and_unknown_ones_not_found(jobs: Jobs) -> None:
    name = create(jobs, ResourceLimits=limits(1, 1))
    call = jobs.sagemaker.create_hyper_parameter_tuning_job
    assert refusal(call, **jobs.tuning_request(name)) == (
        "ResourceInUse",
        f"A hyperparameter tuning job with the name, {name}, already exists. "
        "Choose a different name.",
    )
    jobs.tuned(name)
    message = "Amazon SageMaker can't find a tuning job called nobody. Type another name."
    for unknown in (
        jobs.sagemaker.describe_hyper_parameter_tuning_job,
        jobs.sagemaker.stop_hyper_parameter_tuning_job,
        jobs.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job,
    ):
        expected = ("ResourceNotFound", message)
        assert refusal(unknown, HyperParameterTuningJobName="nobody") == expected
    (summary,) = jobs.sagemaker.list_hyper_parameter_tuning_jobs(
        SortBy="CreationTime", SortOrder="Descending", MaxResults=1
    )["HyperParameterTuningJobSummaries"]
    assert summary["HyperParameterTuningJobName"] == name
    assert summary["TrainingJobStatusCounters"]["Completed"] == 1
    assert summary["Strategy"] == "Bayesian"


def continuous(**changes: str) -> dict[str, Any]:
    item = {"Name": "x", "MinValue": "0", "MaxValue": "1", **changes}
    return {"ParameterRanges": {"ContinuousParameterRanges": [item]}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Strategy": "Grid"}, "for categorical hyperparameters only; these are not: x"),
        ({"Strategy": "Hyperband"}, "HyperbandStrategyConfig must have MaxResource"),
        (
            {
                "Strategy": "Hyperband",
                "StrategyConfig": {"HyperbandStrategyConfig": {"MaxResource": 9}},
                "TrainingJobEarlyStoppingType": "Auto",
            },
            "TrainingJobEarlyStoppingType must be Off to use Hyperband",
        ),
        ({"StrategyConfig": {}}, "StrategyConfig is for the Hyperband strategy, not for Bayesian"),
        (
            {"ParameterRanges": {"AutoParameters": [{"Name": "x", "ValueHint": "1"}]}},
            "not implemented by matinee: ParameterRanges with AutoParameters",
        ),
        (
            {"HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "other"}},
            "A metric is required for this hyperparameter tuning job objective.",
        ),
        ({"ParameterRanges": {}}, "ParameterRanges must have a range"),
        (continuous(ScalingType="Logarithmic"), "Logarithmic scaling needs MinValue > 0"),
        (continuous(ScalingType="ReverseLogarithmic"), "within 0 <= x < 1"),
        (continuous(MinValue="2"), "no number lies from 2 to 1"),
        (continuous(MinValue="low"), "must each be a number"),
        (continuous(Name="print"), "hyperparameters ['print'] are both static and have a range"),
        (
            {
                "ParameterRanges": {
                    "IntegerParameterRanges": [{"Name": "n", "MinValue": "1", "MaxValue": "2"}]
                }
            },
            "for the provided ranges [2.0] must be equal or greater than the value of "
            "MaxNumberOfJobs, [3].",
        ),
        ({"ResourceLimits": {"MaxParallelTrainingJobs": 1}}, "must have MaxNumberOfTrainingJobs"),
    ],
)
def test_what_cannot_run_is_refused_at_once(jobs: Jobs, changes: dict[str, Any], said: str) -> None:
    request = jobs.tuning_request(jobs.new_name("refused"), **changes)
    code, message = refusal(jobs.sagemaker.create_hyper_parameter_tuning_job, **request)
    assert code == "ValidationException"
    assert said in message


@pytest.mark.parametrize(
    ("name", "metric", "direction", "said"),
    [
        ("num_factors", "test:rmse", "Minimize", "untunable hyperparameters: [num_factors]"),
        ("epochs", "train:rmse", "Minimize", "metric for the hyperparameter tuning job, [train:rm"),
        ("epochs", "test:rmse", "Maximize", "metric type, [Maximize], that you specified"),
    ],
)
def test_factorization_machines_are_tuned_as_on_aws(
    jobs: Jobs, name: str, metric: str, direction: str, said: str
) -> None:
    ranges = {"IntegerParameterRanges": [{"Name": name, "MinValue": "1", "MaxValue": "9"}]}
    request = jobs.tuning_request(
        jobs.new_name("refused"),
        ParameterRanges=ranges,
        HyperParameterTuningJobObjective={"MetricName": metric, "Type": direction},
    )
    request["TrainingJobDefinition"]["AlgorithmSpecification"] = {
        "TrainingImage": "382416733822.dkr.ecr.us-east-1.amazonaws.com/factorization-machines:1",
        "TrainingInputMode": "File",
    }
    code, message = refusal(jobs.sagemaker.create_hyper_parameter_tuning_job, **request)
    assert code == "ValidationException"
    assert said in message
