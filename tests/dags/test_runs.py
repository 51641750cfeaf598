"""Whole runs of the DAG with Airflow's own operators, against the local SageMaker."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from matinee.workflow.requests import job_name
from matinee.workflow.settings import run_name
from tests.conftest import AWS, ObjectStore
from tests.dags.conftest import Drive
from tests.stepfunctions import machine
from tests.workflow.conftest import as_csv, grid

Runs = dict[str, dict[str, Any]]

# The first run is of this day, the second of the next, and so on: it decides their ids.
START = datetime(2026, 1, 1, tzinfo=UTC)
CONSOLE = "http://127.0.0.1:1/console"
ROLE = "arn:aws:iam::000000000000:role/matinee-sagemaker"

SMALL = {"num_factors": 2, "epochs": 2, "check_interval": 0.2}
# What each run differs in. The first is rejected, the second published.
RUNS: Runs = {
    "train": {"seed": 3},
    # Each split is prepared by an instance of its own; jobs are waited for in the triggerer.
    "tune": {
        "group_rows": 1,
        "deferrable": True,
        "gate_baseline": "none",
        "tune": True,
        "tuning_jobs": 2,
        "tuning_ranges": {"factors_lr": [0.001, 0.1]},
    },
    # As the first, so that its model is there already.
    "not published": {"publish": False, "seed": 3},
    "not drifted": {"retrain": "drift"},
    # Trains two configurations, and averages them.
    "drifted": {
        "ratings": "shifted.csv",
        "retrain": "drift",
        "publish": False,
        "recommendations": 0,
        "configurations": [{"factors_lr": 0.01}, {"factors_lr": 0.05, "num_factors": 3}],
        "ensemble_size": 2,
    },
    "bad ratings": {"ratings": "bad.csv"},
    "bad parameters": {"train_fraction": 0.5},
    "diverging": {"factors_init_method": "constant", "factors_init_value": 1e38},
    "too long": {"epochs": 1_000_000_000, "training_max_seconds": 1},
}


@pytest.fixture(scope="module")
def bucket(object_store: ObjectStore) -> str:
    """A bucket with good and bad ratings for all runs; it goes with the object store."""
    name = f"test-{secrets.token_hex(8)}"
    client = object_store.client()
    client.create_bucket(Bucket=name)
    client.put_object(Bucket=name, Key="good.csv", Body=as_csv(grid(12, 12)).encode())
    shifted = [(who, what, str(max(4, int(stars)))) for who, what, stars in grid(12, 12)]
    client.put_object(Bucket=name, Key="shifted.csv", Body=as_csv(shifted).encode())
    client.put_object(Bucket=name, Key="bad.csv", Body=as_csv([("c", "v", "five")]).encode())
    client.close()
    return name


@pytest.fixture(scope="module")
def left_running(aws: AWS, bucket: str) -> str:
    """A job without end, as a killed try of the first run would leave it; return its name."""
    name = job_name(run_name(f"manual__{START.isoformat()}"), "train", 0)
    sagemaker = aws.client("sagemaker")
    sagemaker.create_training_job(
        TrainingJobName=name,
        RoleArn=ROLE,
        AlgorithmSpecification={
            "TrainingImage": "matinee-python",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["sleep", "infinity"],
        },
        OutputDataConfig={"S3OutputPath": f"s3://{bucket}/left/"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 3600},
    )
    sagemaker.close()
    return name


def conf(name: str, bucket: str) -> dict[str, Any]:
    """Return the parameters of one of `RUNS`."""
    values = {"ratings": "good.csv", "output": f"s3://{bucket}/runs", **SMALL, **RUNS[name]}
    values |= {"endpoint": bucket, "model_package_group": bucket}
    return values | {"ratings": f"s3://{bucket}/{values['ratings']}"}


@pytest.fixture(scope="module")
def runs(drive: Drive, aws: AWS, bucket: str, left_running: str) -> Runs:
    """Do all of `RUNS`."""
    del left_running
    confs = [
        json.dumps(
            {**conf(name, bucket), "run_after": (START + timedelta(days=number)).isoformat()}
        )
        for number, name in enumerate(RUNS)
    ]
    console = {"AIRFLOW__MATINEE__CONSOLE": CONSOLE}
    answers = drive("run", *confs, more={**aws.environment, **console})
    return dict(zip(RUNS, answers, strict=True))


@pytest.fixture
def sagemaker(aws: AWS) -> Iterator[Any]:
    client = aws.client("sagemaker")
    yield client
    client.close()


def written(aws: AWS, bucket: str, run: str) -> dict[str, bytes]:
    """Return the objects in the run's folder, by their keys in it."""
    client = aws.client("s3")
    folder = f"runs/{run}/"
    found = client.list_objects_v2(Bucket=bucket, Prefix=folder).get("Contents", [])
    objects = {
        item["Key"].removeprefix(folder): client.get_object(Bucket=bucket, Key=item["Key"])[
            "Body"
        ].read()
        for item in found
    }
    client.close()
    return objects


def skipped(done: dict[str, Any]) -> set[str]:
    """Return the tasks that were left out; all others must have succeeded."""
    left_out = {name for name, state in done["tasks"].items() if state == "skipped"}
    assert {state for name, state in done["tasks"].items() if name not in left_out} == {"success"}
    return left_out


def training_jobs(sagemaker: Any, run: str) -> dict[str, str]:
    summaries = sagemaker.list_training_jobs(NameContains=f"{run}-")["TrainingJobSummaries"]
    return {job["TrainingJobName"]: job["TrainingJobStatus"] for job in summaries}


def test_a_run_trains_predicts_evaluates_and_cleans_up(
    runs: Runs, aws: AWS, sagemaker: Any, bucket: str
) -> None:
    done = runs["train"]
    assert done["state"] == "success"
    assert skipped(done) == {"tune", "configure", "train_each", "ask", "deploy"}
    name = run_name(done["run_id"])
    objects = written(aws, bucket, name)
    assert sorted(objects) == [
        "checks.json",
        "decision.json",
        "metrics.json",
        f"predict/{name}-predict-1/test_0.protobuf.out",
        "preprocess/customers.parquet",
        "preprocess/ratings/test/part-00000.parquet",
        "preprocess/ratings/train/part-00000.parquet",
        "preprocess/ratings/validate/part-00000.parquet",
        "preprocess/report.json",
        "preprocess/videos.parquet",
        "profile.json",
        "recommendations.parquet",
        "report.html",
        "summary.json",
        f"train/{name}-train-1/output/model.tar.gz",
    ]
    assert done["results"]["evaluate"]["summary"] == f"s3://{bucket}/runs/{name}/summary.json"
    assert done["results"]["clean_up"]["deleted_models"] == [f"{name}-predict-1"]
    summary = json.loads(objects["summary.json"])
    assert summary["training"]["job"] == f"{name}-train-1"
    assert summary["training"]["hyperparameters"]["epochs"] == "2"
    assert summary["metrics"]["rows"] == len(
        objects[f"predict/{name}-predict-1/test_0.protobuf.out"].splitlines()
    )
    job = sagemaker.describe_training_job(TrainingJobName=f"{name}-train-1")
    assert job["Environment"] == {"MATINEE_SEED": "3"}
    tags = sagemaker.list_tags(ResourceArn=job["TrainingJobArn"])["Tags"]
    assert tags == [{"Key": "airflow-run", "Value": done["run_id"]}]
    assert {metric["MetricName"] for metric in job["FinalMetricDataList"]} >= {"test:rmse"}


def test_a_job_that_an_earlier_try_left_running_is_stopped_first(
    runs: Runs, sagemaker: Any, left_running: str
) -> None:
    job = sagemaker.describe_training_job(TrainingJobName=left_running)
    assert job["TrainingJobStatus"] == "Stopped"
    # By the task that trains, that is, and not by the one that cleans up.
    assert runs["train"]["results"]["clean_up"]["stopped_jobs"] == []


def test_many_ratings_are_prepared_by_several_instances_of_a_task(runs: Runs) -> None:
    assert runs["train"]["instances"]["prepare"] == 1
    assert runs["tune"]["instances"]["prepare"] == 3


def test_a_run_tunes_and_goes_on_with_the_best_model(
    runs: Runs, aws: AWS, sagemaker: Any, bucket: str
) -> None:
    done = runs["tune"]
    assert done["state"] == "success"
    assert skipped(done) == {"train", "configure", "train_each", "ask", "reject"}
    name = run_name(done["run_id"])
    tuning = sagemaker.describe_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=f"{name}-tune-1"
    )
    best = tuning["BestTrainingJob"]
    objects = written(aws, bucket, name)
    summary = json.loads(objects["summary.json"])
    assert summary["training"]["tuned"] is True
    assert summary["training"]["tuning_job"] == f"{name}-tune-1"
    assert summary["training"]["job"] == best["TrainingJobName"]
    assert (
        summary["training"]["hyperparameters"]["factors_lr"]
        == (best["TunedHyperParameters"]["factors_lr"])
    )
    model = f"tune/{best['TrainingJobName']}/output/model.tar.gz"
    assert summary["artifacts"]["model"] == f"s3://{bucket}/runs/{name}/{model}"
    assert model in objects


def test_configurations_are_trained_side_by_side_and_averaged_where_asked(
    runs: Runs, aws: AWS, sagemaker: Any, bucket: str
) -> None:
    done = runs["drifted"]
    assert skipped(done) >= {"train", "tune", "recommend"}
    assert done["instances"]["train_each"] == 2
    name = run_name(done["run_id"])
    assert training_jobs(sagemaker, name) == {
        f"{name}-train-{number}-1": "Completed" for number in (0, 1)
    }
    summary = json.loads(written(aws, bucket, name)["summary.json"])
    assert summary["artifacts"]["model"] == f"s3://{bucket}/runs/{name}/ensemble/model.tar.gz"
    members = summary["training"]["members"]
    assert sorted(member["job"] for member in members) == sorted(training_jobs(sagemaker, name))
    assert {member["hyperparameters"]["num_factors"] for member in members} == {"2", "3"}


def test_a_model_that_does_not_beat_the_biases_is_put_aside(
    runs: Runs, aws: AWS, sagemaker: Any, bucket: str
) -> None:
    done = runs["train"]
    decision = json.loads(written(aws, bucket, run_name(done["run_id"]))["decision.json"])
    assert decision["decision"] == "rejected"
    assert decision["endpoint"] is None
    assert done["results"]["reject"]["reason"] == decision["reason"]
    package = sagemaker.describe_model_package(ModelPackageName=decision["model_package"])
    assert package["ModelApprovalStatus"] == "Rejected"
    assert package["ApprovalDescription"] == decision["reason"]


def test_a_model_that_passes_the_gate_is_in_service_after_the_clean_up(
    runs: Runs, aws: AWS, sagemaker: Any, bucket: str
) -> None:
    done = runs["tune"]
    decision = json.loads(written(aws, bucket, run_name(done["run_id"]))["decision.json"])
    assert decision["decision"] == "approved"
    assert decision["endpoint"] == bucket
    endpoint = sagemaker.describe_endpoint(EndpointName=bucket)
    assert endpoint["EndpointStatus"] == "InService"
    config = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    model = sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    assert model["PrimaryContainer"] == {"ModelPackageName": decision["model_package"]}
    assert done["results"]["clean_up"]["deleted_endpoint_configs"] == []


def test_the_report_shows_the_decision_and_what_each_step_took(
    runs: Runs, aws: AWS, bucket: str
) -> None:
    for run, verdict in (("train", "rejected"), ("tune", "approved")):
        name = run_name(runs[run]["run_id"])
        page = written(aws, bucket, name)["report.html"].decode()
        assert f"Decision: {verdict}" in page
        for step in ("preprocess", "prepare", run, "gate"):
            assert f">{step}<" in page
    without = written(aws, bucket, run_name(runs["not published"]["run_id"]))["report.html"]
    assert b"Decision: none was recorded" in without


def test_events_of_assets_tell_where_they_lie(runs: Runs, bucket: str) -> None:
    name = run_name(runs["tune"]["run_id"])
    folder = f"s3://{bucket}/runs/{name}"
    events = runs["tune"]["events"]
    assert events.pop("deploy")["uri"].endswith(f":model-package/{bucket}/2")
    assert events == {
        "preprocess": {"run": name, "uri": f"{folder}/preprocess"},
        "predict": {"run": name, "uri": f"{folder}/predict/{name}-predict-1"},
    }
    assert set(runs["train"]["events"]) == {"preprocess", "predict"}


def test_tasks_link_to_their_pages_in_the_console(runs: Runs, bucket: str) -> None:
    name = run_name(runs["tune"]["run_id"])
    assert runs["tune"]["pages"] == {
        "tune": f"{CONSOLE}/tuning-jobs/{name}-tune-1",
        "predict": f"{CONSOLE}/transform-jobs/{name}-predict-1",
        "deploy": f"{CONSOLE}/endpoints/{bucket}",
    }


def test_jobs_are_waited_for_in_the_triggerer_where_asked(runs: Runs) -> None:
    assert "running trigger in line" in runs["tune"]["log"]
    assert "running trigger in line" not in runs["train"]["log"]


def test_without_publishing_nothing_is_registered(runs: Runs, aws: AWS, bucket: str) -> None:
    done = runs["not published"]
    assert done["state"] == "success"
    assert skipped(done) >= {"register", "gate", "ask", "deploy", "reject"}
    assert "decision.json" not in written(aws, bucket, run_name(done["run_id"]))


def test_what_an_earlier_run_has_made_of_the_same_is_not_made_again(
    runs: Runs, aws: AWS, sagemaker: Any, bucket: str
) -> None:
    first, again = runs["train"], runs["not published"]
    earlier = run_name(first["run_id"])
    assert first["results"]["evaluate"]["reused"] == {}
    assert again["results"]["evaluate"]["reused"] == {"preprocess": earlier, "train": earlier}
    assert {"train", "tune", "configure", "choose"} <= skipped(again)
    name = run_name(again["run_id"])
    assert training_jobs(sagemaker, name) == {}
    metrics = [json.loads(written(aws, bucket, run)["metrics.json"]) for run in (earlier, name)]
    assert metrics[0] == metrics[1]


def test_only_drifted_ratings_are_trained_on_where_asked(
    runs: Runs, aws: AWS, sagemaker: Any, bucket: str
) -> None:
    done = runs["not drifted"]
    assert done["state"] == "success"
    name = run_name(done["run_id"])
    found = json.loads(written(aws, bucket, name)["drift.json"])
    served = run_name(runs["tune"]["run_id"])
    assert found["reasons"] == [f"the ratings are like those of run {served}"]
    ran = {"start", "preprocess", "check", "drift", "clean_up"}
    assert skipped(done) == done["tasks"].keys() - ran
    assert training_jobs(sagemaker, name) == {}

    done = runs["drifted"]
    assert done["tasks"]["train_each"] == "success"
    found = json.loads(written(aws, bucket, run_name(done["run_id"]))["drift.json"])
    assert any("mean of the stars" in reason for reason in found["reasons"])


@pytest.mark.parametrize("name", ["train", "drifted"])
def test_the_state_machine_makes_the_same_model_of_the_same_parameters(
    runs: Runs, aws: AWS, bucket: str, name: str
) -> None:
    # Under another folder, where there is nothing to be reused.
    parameters = {**conf(name, bucket), "output": f"s3://{bucket}/machine", "publish": False}
    done = machine.execute(aws, bucket, **parameters)
    assert done.end["status"] == "SUCCEEDED", done.reason
    assert machine.handed_on(aws, bucket, done.run, "published")["evaluated"]["reused"] == {}
    of_dag = written(aws, bucket, run_name(runs[name]["run_id"]))
    of_machine = machine.written(aws, f"s3://{bucket}/machine/{done.run}")
    assert json.loads(of_machine["metrics.json"]) == json.loads(of_dag["metrics.json"])
    models = [
        next(body for key, body in sorted(objects.items()) if key.endswith("model.tar.gz"))
        for objects in (of_machine, of_dag)
    ]
    assert models[0] == models[1]


def test_a_failed_task_tells_its_reason_in_one_line(runs: Runs) -> None:
    run_id = runs["bad ratings"]["run_id"]
    assert (
        f"task preprocess of run {run_id} failed at try 1: AirflowFailException: "
        in runs["bad ratings"]["log"]
    )


def test_refused_ratings_fail_at_once_and_are_cleaned_up_after(
    runs: Runs, aws: AWS, bucket: str
) -> None:
    done = runs["bad ratings"]
    assert done["state"] == "failed"
    states = done["tasks"]
    assert (states["start"], states["preprocess"], states["clean_up"]) == (
        "success",
        "failed",
        "success",
    )
    assert {states[task] for task in ("prepare", "branch", "predict", "evaluate")} == {
        "upstream_failed"
    }
    assert states["report"] == "skipped"
    assert done["tries"]["preprocess"] == 1
    assert "1 stars not a number" in done["log"]
    assert written(aws, bucket, run_name(done["run_id"])) == {}


def test_contradicting_parameters_fail_the_start(runs: Runs) -> None:
    done = runs["bad parameters"]
    assert done["state"] == "failed"
    assert done["tasks"].pop("start") == "failed"
    assert set(done["tasks"].values()) == {"upstream_failed"}
    assert "they must add up to 1" in done["log"]


def test_a_training_that_fails_is_tried_again_under_another_name(
    runs: Runs, aws: AWS, sagemaker: Any, bucket: str
) -> None:
    done = runs["diverging"]
    assert done["state"] == "failed"
    assert done["tasks"]["train"] == "failed"
    assert done["tasks"]["clean_up"] == "success"
    assert done["tries"]["train"] == 2
    name = run_name(done["run_id"])
    assert training_jobs(sagemaker, name) == {f"{name}-train-{n}": "Failed" for n in (1, 2)}
    assert done["results"]["clean_up"]["deleted_objects"] == 3
    assert not any(key.startswith("prepare/") for key in written(aws, bucket, name))


def test_a_training_that_runs_out_of_time_is_not_taken_for_a_success(
    runs: Runs, sagemaker: Any
) -> None:
    done = runs["too long"]
    assert done["state"] == "failed"
    assert (done["tasks"]["train"], done["tries"]["train"]) == ("failed", 1)
    assert "ended as Stopped (MaxRuntimeExceeded), not as Completed" in done["log"]
    name = run_name(done["run_id"])
    assert training_jobs(sagemaker, name) == {f"{name}-train-1": "Stopped"}
