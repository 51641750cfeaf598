"""Publishing on the real servers: registered, compared, put into service, and taken back."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from scipy.sparse import csr_matrix

from matinee import recordio
from matinee.workflow.clean_up import clean_up
from matinee.workflow.deploy import deploy, reject
from matinee.workflow.errors import PublishError
from matinee.workflow.gate import gate
from matinee.workflow.objects import Objects
from matinee.workflow.register import register
from matinee.workflow.requests import RECORDIO
from matinee.workflow.rollback import rollback
from matinee.workflow.settings import Settings
from tests.conftest import AWS, find_by
from tests.workflow.conftest import as_csv
from tests.workflow.publishing import BAD, GOOD, ROLE, Publisher, tastes

Put = Callable[[str, bytes | str], str]


@pytest.fixture
def publisher(
    aws: AWS, monkeypatch: pytest.MonkeyPatch, put: Put, bucket: str
) -> Iterator[Publisher]:
    find_by(aws.environment, monkeypatch)
    client = aws.client("sagemaker")
    publisher = Publisher(client, put("ratings.csv", as_csv(tastes(30, 20))), bucket)
    yield publisher
    publisher.close()
    client.close()


def publish(settings: Settings, inputs: dict[str, Any]) -> dict[str, Any]:
    """Do what the DAG does after the evaluation; return the decision."""
    inputs["registered"] = register(settings, inputs)
    inputs["gated"] = gate(settings, inputs)
    gated = inputs["gated"]
    done = deploy(settings, inputs) if gated["verdict"] == "approved" else reject(gated, None)
    decision: dict[str, Any] = Objects().read_json(done["decision"])
    return decision


def ask(aws: AWS, endpoint: str, width: int) -> int:
    """Ask the endpoint for one rating; return the HTTP status."""
    rating = recordio.encode(csr_matrix(([1, 1], [0, width - 1], [0, 2]), (1, width), dtype="f4"))
    runtime = aws.session.client("sagemaker-runtime", endpoint_url=aws.sagemaker_endpoint)
    try:
        answer = runtime.invoke_endpoint(EndpointName=endpoint, ContentType=RECORDIO, Body=rating)
        answer["Body"].read()
        status: int = answer["ResponseMetadata"]["HTTPStatusCode"]
        return status
    finally:
        runtime.close()


def test_under_load_a_worse_model_is_rejected_and_a_better_one_replaces_the_old(
    publisher: Publisher, aws: AWS
) -> None:
    first = publisher.settings(**{**GOOD, "epochs": 20})
    decision = publish(first, inputs := publisher.run(first))
    assert decision["decision"] == "approved", decision["reason"]
    assert "no model is in service; RMSE" in decision["reason"]
    assert decision["endpoint"] == publisher.name
    serving = publisher.serves()
    assert serving == decision["model_package"]

    width = inputs["prepared"]["feature_dim"]
    over = threading.Event()
    statuses: list[int] = []

    def load() -> None:
        while not over.is_set():
            statuses.append(ask(aws, publisher.name, width))

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(load) for _ in range(2)]
        try:
            worse = publisher.settings(**BAD)
            decision = publish(worse, publisher.run(worse))
            assert decision["decision"] == "rejected", decision["reason"]
            assert "reaches above the tolerance of 0.01" in decision["reason"]
            assert decision["in_service"]["model_package"] == serving
            assert decision["difference"]["interval"][0] > 0
            assert publisher.serves() == serving
            rejected = publisher.package(decision["model_package"])
            assert rejected["ModelApprovalStatus"] == "Rejected"
            assert rejected["ApprovalDescription"] == decision["reason"]

            better = publisher.settings(**GOOD)
            decision = publish(better, publisher.run(better))
            assert decision["decision"] == "approved", decision["reason"]
            assert "stays within the tolerance" in decision["reason"]
            assert publisher.serves() == decision["model_package"] != serving
            answered = len(statuses)
            deadline = time.monotonic() + 60
            while len(statuses) < answered + 20:
                assert time.monotonic() < deadline, "nobody is asking any more"
        finally:
            over.set()
        for task in asking:
            task.result()
    assert set(statuses) == {200}
    assert len(statuses) > 50


def test_the_version_tells_where_the_model_comes_from(publisher: Publisher) -> None:
    settings = publisher.settings(**GOOD)
    inputs = publisher.run(settings)
    inputs["trained"]["hyperparameters"]["field_dims"] = "30,20"  # as a run with features has
    arn = register(settings, inputs)["model_package"]
    assert arn == register(settings, inputs)["model_package"], "a try again makes no second version"
    package = publisher.package(arn)
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    metadata = package["CustomerMetadataProperties"]
    run = inputs["preprocessed"]["run"]
    assert metadata["run"] == run
    assert metadata["folder"] == settings.folder(run)
    assert metadata["summary"] == inputs["evaluated"]["summary"]
    assert metadata["hyperparameter.epochs"] == "60"
    assert metadata["hyperparameter.field_dims"] == "30 20"
    quality = package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]
    assert quality == inputs["evaluated"]["metrics"]
    assert f"{Objects().read_json(quality)['model']['rmse']:.6f}" == metadata["rmse"]
    hashes = {name for name in metadata if name.endswith("_sha256")}
    assert hashes == {
        f"{name}_sha256"
        for name in ("source", "model", "customers", "videos", "train", "validate", "test")
    }
    assert {len(metadata[name]) for name in hashes} == {64}


def test_a_first_model_must_beat_the_baseline_that_is_asked_for(publisher: Publisher) -> None:
    settings = publisher.settings(**BAD)
    decision = publish(settings, inputs := publisher.run(settings))
    assert decision["decision"] == "rejected"
    assert decision["reason"].endswith("that of the biases of customers and videos (gate_baseline)")
    assert publisher.sagemaker.list_endpoints(NameContains=publisher.name)["Endpoints"] == []

    lenient = publisher.settings(**BAD, gate_baseline="none")
    decision = publish(lenient, inputs)
    assert decision["decision"] == "approved"
    assert publisher.serves() == decision["model_package"]


def test_data_that_changed_are_compared_by_ids_without_what_was_learned(
    publisher: Publisher, put: Put
) -> None:
    first = publisher.settings(**GOOD)
    publish(first, publisher.run(first))
    # A customer has another name, there are more, and more videos: all indexes moved.
    changed = [("new" if name == "c0" else name, *rest) for name, *rest in tastes(31, 21)]
    moved = put("moved.csv", as_csv(changed))
    second = publisher.settings(**GOOD, ratings=moved, seed=2, gate_tolerance=5)
    decision = publish(second, inputs := publisher.run(second))
    rows = inputs["preprocessed"]["rating_counts"]["test"]
    assert 0 < decision["test_rows"] < rows
    assert f"{decision['test_rows']} test ratings of {rows}, without those" in decision["reason"]
    # It knows nearly all of them, so it still tells what is liked.
    assert decision["in_service"]["rmse"] < 1.2


def test_models_of_other_features_are_compared(publisher: Publisher) -> None:
    plain = publisher.settings(**GOOD, gate_tolerance=5)
    publish(plain, publisher.run(plain))
    histories = publisher.settings(**GOOD, gate_tolerance=5, features=["history"])
    decision = publish(histories, inputs := publisher.run(histories))
    assert decision["decision"] == "approved", decision["reason"]
    metrics = Objects().read_json(inputs["evaluated"]["metrics"])
    # The same ratings, by the same model that is in service now.
    decision = publish(plain, publisher.run(plain))
    assert decision["in_service"]["rmse"] == pytest.approx(metrics["model"]["rmse"], rel=1e-5)


def test_a_model_in_service_whose_run_is_gone_cannot_be_compared(publisher: Publisher) -> None:
    first = publisher.settings(**GOOD)
    inputs = publisher.run(first)
    serving = publish(first, inputs)["model_package"]
    Objects().delete(inputs["evaluated"]["summary"])
    decision = publish(first, publisher.run(first))
    assert decision["decision"] == "rejected"
    assert "cannot be compared: cannot read s3://" in decision["reason"]
    assert decision["in_service"] is None
    assert decision["replaces"] == serving


def test_a_person_decides_instead_of_the_gate(publisher: Publisher) -> None:
    settings = publisher.settings(**BAD, approval="person")
    inputs = publisher.run(settings)
    inputs["registered"] = register(settings, inputs)
    inputs["gated"] = gate(settings, inputs)
    assert inputs["gated"]["verdict"] == "asked"
    arn = inputs["registered"]["model_package"]
    assert publisher.package(arn)["ModelApprovalStatus"] == "PendingManualApproval"
    inputs["answer"] = {"approved": True, "by": "Admin", "comment": "a try"}
    no = reject(inputs["gated"], {"approved": False, "by": "Admin", "comment": ""})
    assert no["reason"].startswith("rejected by Admin; the gate would have rejected it:")
    assert publisher.package(arn)["ModelApprovalStatus"] == "Rejected"
    done = deploy(settings, inputs)
    assert done["reason"].startswith("approved by Admin (a try); the gate would have rejected it:")
    assert publisher.package(arn)["ApprovalDescription"] == done["reason"]
    assert publisher.serves() == arn


def falsified(put: Put, bucket: str, inputs: dict[str, Any]) -> None:
    """Replace the batch predictions by others: what the endpoint answers is wrong then."""
    [uri] = Objects().list(inputs["predictions"])
    lines = [json.dumps({"score": 9.0})] * inputs["prepared"]["test_chunks"][0]
    put(uri.removeprefix(f"s3://{bucket}/"), "\n".join(lines))


def test_an_endpoint_that_answers_wrongly_goes_back(
    publisher: Publisher, put: Put, bucket: str
) -> None:
    first = publisher.settings(**GOOD, gate_baseline="none")
    inputs = publisher.run(first)
    inputs["registered"] = register(first, inputs)
    inputs["gated"] = gate(first, inputs)
    good = inputs["predictions"]
    saved = Objects().read(Objects().list(good)[0])
    falsified(put, bucket, inputs)
    with pytest.raises(PublishError, match="as before, no model is in service"):
        deploy(first, inputs)
    assert publisher.sagemaker.list_endpoints(NameContains=publisher.name)["Endpoints"] == []

    put(Objects().list(good)[0].removeprefix(f"s3://{bucket}/"), saved)
    serving = publish(first, inputs)["model_package"]
    other = publisher.settings(**BAD, gate_tolerance=5)
    inputs = publisher.run(other)
    inputs["registered"] = register(other, inputs)
    inputs["gated"] = gate(other, inputs)
    assert inputs["gated"]["verdict"] == "approved"
    falsified(put, bucket, inputs)
    rows = min(100, inputs["prepared"]["test_chunks"][0])
    with pytest.raises(PublishError, match=rf"wrongly: {rows} of {rows} test ratings") as caught:
        deploy(other, inputs)
    assert f"the endpoint went back to {serving}" in str(caught.value)
    assert publisher.serves() == serving
    rejected = publisher.package(inputs["registered"]["model_package"])
    assert rejected["ModelApprovalStatus"] == "Rejected"
    assert rejected["ApprovalDescription"] == str(caught.value)
    decision = Objects().read_json(inputs["gated"]["decision"])
    assert (decision["decision"], decision["endpoint"]) == ("rejected", None)


def test_rolling_back_goes_version_by_version_and_clean_up_leaves_the_way(
    publisher: Publisher,
) -> None:
    settings = publisher.settings(**GOOD, gate_tolerance=5)
    with pytest.raises(PublishError, match=f"there is no endpoint {publisher.name}"):
        rollback(publisher.name, publisher.sagemaker, check_s=0.1)
    runs = []
    for seed in (1, 2, 3):
        of_seed = publisher.settings(**GOOD, gate_tolerance=5, seed=seed)
        inputs = publisher.run(of_seed)
        inputs["arn"] = publish(of_seed, inputs)["model_package"]
        runs.append(inputs)
    first, second, third = (inputs["arn"] for inputs in runs)
    configs = publisher.configs()
    assert [name.split("-v")[1][0] for name in configs] == ["1", "2", "3"]

    # A try again finds the model in service and changes nothing.
    deploy(publisher.settings(**GOOD, gate_tolerance=5, seed=3), runs[2])
    assert publisher.configs() == configs

    cleaned = clean_up(settings, {"run": runs[2]["preprocessed"]["run"]})
    assert cleaned["deleted_endpoint_configs"] == configs[:1]
    assert publisher.configs() == configs[1:]
    assert clean_up(settings, {"run": "matinee-0"})["deleted_endpoint_configs"] == []

    assert rollback(publisher.name, publisher.sagemaker, check_s=0.1) == {
        "endpoint": publisher.name,
        "left": third,
        "serves": second,
    }
    assert publisher.serves() == second
    assert publisher.package(third)["ModelApprovalStatus"] == "Rejected"
    assert publisher.package(third)["ApprovalDescription"].startswith("rolled back")
    # Its model and configuration are deleted, so they are made anew.
    assert rollback(publisher.name, publisher.sagemaker, check_s=0.1)["serves"] == first
    assert publisher.serves() == first
    with pytest.raises(PublishError, match="no version before it is approved"):
        rollback(publisher.name, publisher.sagemaker, check_s=0.1)


def test_an_endpoint_that_changed_since_the_gate_looked_is_left_alone(
    publisher: Publisher,
) -> None:
    settings = publisher.settings(**GOOD, gate_tolerance=5)
    slow = publisher.run(settings)
    slow["registered"] = register(settings, slow)
    slow["gated"] = gate(settings, slow)
    serving = publish(settings, publisher.run(settings))["model_package"]
    with pytest.raises(PublishError, match=f"serves {serving} now, but nothing when the gate"):
        deploy(settings, slow)
    assert publisher.serves() == serving


def test_an_endpoint_of_somebody_elses_is_refused(publisher: Publisher) -> None:
    settings = publisher.settings(**GOOD)
    inputs = publisher.run(settings)
    name, sagemaker = publisher.name, publisher.sagemaker
    container = {"Image": inputs["image"], "ModelDataUrl": inputs["trained"]["model"]}
    sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
    variant = {"VariantName": "v", "ModelName": name, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=[{**variant, "InitialInstanceCount": 1}]
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    inputs["registered"] = register(settings, inputs)
    with pytest.raises(PublishError, match="the workflow publishes to an endpoint of its own"):
        gate(settings, inputs)
    assert clean_up(settings, {"run": "matinee-0"})["deleted_endpoint_configs"] == []
