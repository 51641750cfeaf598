"""Grid, Hyperband, early stopping, completion and several definitions, over the wire."""

from __future__ import annotations

import itertools
from typing import Any

from matinee.sagemaker.tuning_jobs.ranges import space
from matinee.sagemaker.tuning_jobs.search import Trial, propose
from tests.sagemaker.jobs.conftest import Jobs, refusal
from tests.sagemaker.jobs.test_tuning_jobs import (
    RANGES,
    completed,
    create,
    grid,
    limits,
    objectives,
    printing,
    statuses,
    tuned_values,
)


def test_a_grid_is_searched_whole(jobs: Jobs) -> None:
    ranges = {
        "CategoricalParameterRanges": [
            {"Name": "print", "Values": ["loss=1;", "loss=2;"]},
            {"Name": "color", "Values": ["red", "blue"]},
        ]
    }
    name = create(jobs, **grid(parallel=4, ParameterRanges=ranges))
    described = completed(jobs, name)
    assert described["TrainingJobStatusCounters"]["Completed"] == 4
    assert described["HyperParameterTuningJobConfig"]["ResourceLimits"] == {
        "MaxParallelTrainingJobs": 4
    }
    assert [tuple(values.items()) for values in tuned_values(jobs, name)] == [
        (("color", color), ("print", text))
        for color, text in itertools.product(("red", "blue"), ("loss=1;", "loss=2;"))
    ]


def test_a_trial_worse_than_the_median_is_stopped(jobs: Jobs) -> None:
    good = ["|".join([f"loss={value};"] * 3) for value in (1, 2, 3)]
    texts = (*good, "loss=1;|loss=7;|pause")
    name = create(jobs, **grid(*texts, TrainingJobEarlyStoppingType="Auto"))
    described = completed(jobs, name)
    assert statuses(jobs, name) == ["Completed"] * 3 + ["Stopped"]
    assert objectives(jobs, name) == [1.0, 2.0, 3.0, 7.0]
    assert described["TrainingJobStatusCounters"]["Stopped"] == 1
    assert described["ObjectiveStatusCounters"]["Succeeded"] == 4
    assert described["BestTrainingJob"]["TunedHyperParameters"] == {"print": good[0]}


def test_hyperband_stops_who_does_not_pass_a_rung_and_who_has_had_all(jobs: Jobs) -> None:
    slow, bad = "loss=3;|loss=2;|loss=1;|pause", "loss=9;|pause"
    texts = (slow, "loss=4;", bad)
    # The seed that draws them in this order: a rung of fewer than three trials lets all pass.
    seed = next(seed for seed in itertools.count() if order(seed, *texts) == list(texts))
    config = {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 3}}
    name = create(
        jobs,
        {"save_on_stop": "yes"},
        Strategy="Hyperband",
        StrategyConfig=config,
        RandomSeed=seed,
        ParameterRanges=printing(*texts),
        ResourceLimits=limits(3, 1),
    )
    described = completed(jobs, name)
    assert tuned_values(jobs, name) == [{"print": text} for text in texts]
    assert statuses(jobs, name) == ["Stopped", "Completed", "Stopped"]
    assert objectives(jobs, name) == [1.0, 4.0, 9.0]
    best = described["BestTrainingJob"]
    assert best["TunedHyperParameters"] == {"print": slow}
    # What a stopped trial saved is a model.
    assert jobs.model(jobs.describe(best["TrainingJobName"]))["hyperparameters"]["print"] == slow


def order(seed: int, *texts: str) -> list[str]:
    trials: list[Trial] = []
    for _ in texts:
        drawn = propose(
            space(printing(*texts)),
            strategy="Hyperband",
            direction="Minimize",
            seed=f"{seed}/0",
            trials=trials,
        )
        trials.append(Trial(drawn, None))
    return [trial.parameters["print"] for trial in trials]


def test_the_target_completes_the_job_and_stops_the_rest(jobs: Jobs) -> None:
    name = create(
        jobs,
        **grid(
            "loss=9;|pause",
            "loss=1;",
            "loss=0;",
            parallel=2,
            TuningJobCompletionCriteria={"TargetObjectiveMetricValue": 2.0},
        ),
    )
    described = completed(jobs, name)
    assert statuses(jobs, name)[:2] == ["Stopped", "Completed"]
    assert described["TrainingJobStatusCounters"]["Stopped"] >= 1
    assert described["BestTrainingJob"] == jobs.children(name)[1]
    assert described["ConsumedResources"]["RuntimeInSeconds"] >= 0


def test_no_improvement_completes_the_job(jobs: Jobs) -> None:
    criteria = {
        "BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3},
        "ConvergenceDetected": {"CompleteOnConvergence": "Enabled"},
    }
    texts = [f"loss={value};" for value in (2, 1, 3, 4, 0.995, 7, 8)]
    name = create(jobs, **grid(*texts, TuningJobCompletionCriteria=criteria))
    described = completed(jobs, name)
    assert objectives(jobs, name) == [2.0, 1.0, 3.0, 4.0, 0.995]
    assert described["TuningJobCompletionDetails"] == {
        "NumberOfTrainingJobsObjectiveNotImproving": 3
    }
    assert described["BestTrainingJob"]["TunedHyperParameters"] == {"print": "loss=0.995;"}


def several(jobs: Jobs, **changes: Any) -> dict[str, Any]:
    """Return a request with two definitions: one by a number, one by a text."""
    name = jobs.new_name("tune")
    config = {"ResourceLimits": limits(5, 2), "Strategy": "Random", **changes}
    request = jobs.tuning_request(name, **config)
    definition = request.pop("TrainingJobDefinition")
    objective = request["HyperParameterTuningJobConfig"].pop("HyperParameterTuningJobObjective")
    del request["HyperParameterTuningJobConfig"]["ParameterRanges"]
    del definition["StaticHyperParameters"]
    request["TrainingJobDefinitions"] = [
        {
            **definition,
            "DefinitionName": label,
            "TuningObjective": objective,
            "HyperParameterRanges": ranges,
        }
        for label, ranges in (("by-x", RANGES), ("by-text", printing("loss=0;", "loss=2;")))
    ]
    return request


def test_several_definitions_take_turns(jobs: Jobs) -> None:
    request = several(jobs)
    name = request["HyperParameterTuningJobName"]
    jobs.sagemaker.create_hyper_parameter_tuning_job(**request)
    described = completed(jobs, name)
    children = jobs.children(name)
    labels = [child["TrainingJobDefinitionName"] for child in children]
    assert labels == ["by-x", "by-text", "by-x", "by-text", "by-x"]
    texts = sorted(child["TunedHyperParameters"]["print"] for child in children[1::2])
    assert texts == ["loss=0;", "loss=2;"]
    assert described["BestTrainingJob"]["TrainingJobDefinitionName"] == "by-text"
    for shown, sent in zip(
        described["TrainingJobDefinitions"], request["TrainingJobDefinitions"], strict=True
    ):
        for member in ("DefinitionName", "TuningObjective", "HyperParameterRanges"):
            assert shown[member] == sent[member]


def refused(jobs: Jobs, request: dict[str, Any]) -> str:
    code, message = refusal(jobs.sagemaker.create_hyper_parameter_tuning_job, **request)
    assert code == "ValidationException"
    return message


def test_definitions_that_do_not_fit_are_refused(jobs: Jobs) -> None:
    request = several(jobs)
    first, second = request["TrainingJobDefinitions"]
    wanted = "The request must have a TrainingJobDefinition or TrainingJobDefinitions"
    name = {"HyperParameterTuningJobName": request["HyperParameterTuningJobName"]}
    config = {"HyperParameterTuningJobConfig": request["HyperParameterTuningJobConfig"]}
    assert refused(jobs, {**name, **config}) == wanted
    assert "not both" in refused(jobs, {**request, "TrainingJobDefinition": first})
    assert "must have HyperParameterTuningJobObjective" in refused(
        jobs, {**name, **config, "TrainingJobDefinition": first}
    )
    autotune = {"Autotune": {"Mode": "Enabled"}}
    assert "a tuning job with Autotune" in refused(jobs, {**request, **autotune})
    shared = several(jobs)
    shared["HyperParameterTuningJobConfig"]["ParameterRanges"] = RANGES
    assert "does not belong to HyperParameterTuningJobConfig" in refused(jobs, shared)
    early = several(jobs, TrainingJobEarlyStoppingType="Auto")
    assert "Auto is for tuning jobs with one training job definition" in refused(jobs, early)
    maximized = {**second, "TuningObjective": {"Type": "Maximize", "MetricName": "loss"}}
    for changed, said in (
        ({**second, "DefinitionName": "by-x"}, "DefinitionName must be unique"),
        (maximized, "must have one Type"),
    ):
        changed_request = {**request, "TrainingJobDefinitions": [first, changed]}
        assert said in refused(jobs, changed_request)
    both = {**first, "HyperParameterTuningResourceConfig": {"InstanceType": "ml.m5.large"}}
    assert "not both" in refused(jobs, {**request, "TrainingJobDefinitions": [both]})


def test_a_grid_counts_its_combinations(jobs: Jobs) -> None:
    request = jobs.tuning_request(
        jobs.new_name("refused"), **grid("a", "b", ResourceLimits=limits(3, 1))
    )
    request["TrainingJobDefinition"]["StaticHyperParameters"] = {}
    assert "MaxNumberOfTrainingJobs, [3], must be the number of combinations" in refused(
        jobs, request
    )
