"""Endpoints: model servers that are deployed, asked, replaced and taken away, over the wire."""

from __future__ import annotations

import json
import signal
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from matinee import recordio
from matinee.fm import artifact
from matinee.fm.model import Model
from matinee.sagemaker.errors import ModelError
from tests.sagemaker.jobs.conftest import IMAGE, ROLE, Jobs, processes, refusal, until

ACCOUNT = "000000000000"
ARN = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}"


class Endpoints:
    """A caller who deploys models and asks them."""

    def __init__(self, jobs: Jobs, session: Any) -> None:
        self.jobs = jobs
        self.sagemaker = jobs.sagemaker
        self.runtime = session.client(
            "sagemaker-runtime",
            endpoint_url=jobs.server.endpoint,
            config=Config(retries={"total_max_attempts": 1}),
        )

    def model(self, files: Mapping[str, str] | None = None, **environment: str) -> str:
        """Create a model and return its name."""
        if not environment:
            return self.jobs.put_model(files or {})
        name = self.jobs.new_name("model")
        container = {"Image": IMAGE, "Environment": environment}
        self.sagemaker.create_model(
            ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE
        )
        return name

    def config(self, *models: str, weights: tuple[float, ...] = (), **members: Any) -> str:
        """Create an endpoint configuration of variants A, B .. and return its name."""
        name = self.jobs.new_name("config")
        variants = [
            {
                "VariantName": letter,
                "ModelName": model,
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
                "InitialVariantWeight": weight,
            }
            for letter, model, weight in zip(
                "ABCD", models, weights or (1.0,) * len(models), strict=False
            )
        ]
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=name, **{"ProductionVariants": variants, **members}
        )
        return name

    def create(self, config: str, **members: Any) -> str:
        """Create an endpoint and return its name."""
        name = self.jobs.new_name("endpoint")
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config, **members)
        return name

    def deploy(self, *models: str, **members: Any) -> str:
        """Return the name of an endpoint that is in service."""
        name = self.create(self.config(*models, **members))
        self.settle(name)
        assert self.describe(name)["EndpointStatus"] == "InService", self.describe(name)
        return name

    def describe(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.sagemaker.describe_endpoint(EndpointName=name)
        return answer

    def settle(self, name: str) -> dict[str, Any]:
        """Wait until nothing changes any more and describe the endpoint."""
        moving = {"Creating", "Updating", "RollingBack"}
        until(lambda: self.describe(name)["EndpointStatus"] not in moving)
        return self.describe(name)

    def ask(self, name: str, body: bytes = b"a", **members: Any) -> bytes:
        answer: bytes = self.runtime.invoke_endpoint(EndpointName=name, Body=body, **members)[
            "Body"
        ].read()
        return answer

    def answers(self, name: str) -> bool:
        """Return whether an instance answers; the only reason against is that none runs yet."""
        try:
            return self.ask(name) == b"- 1 61"
        except self.runtime.exceptions.ServiceUnavailable:
            return False

    def variant(self, name: str, **members: Any) -> str:
        answer = self.runtime.invoke_endpoint(EndpointName=name, Body=b"a", **members)
        invoked: str = answer["InvokedProductionVariant"]
        return invoked

    def folders(self) -> list[Path]:
        """Return the folders of all containers whose processes run."""
        found = (self.jobs.server.state / "endpoints").glob("*/*/container-*")
        return [path for path in found if (path / "process.json").exists() and processes(path)]

    def delete(self, name: str) -> None:
        self.sagemaker.delete_endpoint(EndpointName=name)
        waiter = self.sagemaker.get_waiter("endpoint_deleted")
        waiter.wait(EndpointName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})

    def close(self) -> None:
        """Delete what is left."""
        for item in self.sagemaker.list_endpoints(MaxResults=100)["Endpoints"]:
            if item["EndpointStatus"] != "Deleting":
                self.settle(item["EndpointName"])
                self.delete(item["EndpointName"])
        self.runtime.close()


@pytest.fixture
def endpoints(jobs: Jobs, session: Any) -> Iterator[Endpoints]:
    caller = Endpoints(jobs, session)
    yield caller
    caller.close()


@pytest.fixture
def mortal_endpoints(mortal: Jobs, session: Any) -> Iterator[Endpoints]:
    caller = Endpoints(mortal, session)
    yield caller
    if mortal.server.is_running:
        caller.close()


def test_an_endpoint_from_creation_to_deletion(endpoints: Endpoints) -> None:
    config = endpoints.config(endpoints.model())
    name = endpoints.create(config, Tags=[{"Key": "k", "Value": "v"}])
    waiter = endpoints.sagemaker.get_waiter("endpoint_in_service")
    waiter.wait(EndpointName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})
    described = endpoints.describe(name)
    assert described["EndpointArn"] == f"{ARN}:endpoint/{name}"
    assert described["EndpointConfigName"] == config
    assert described["EndpointStatus"] == "InService"
    (variant,) = described["ProductionVariants"]
    assert {k: v for k, v in variant.items() if k != "DeployedImages"} == {
        "VariantName": "A",
        "CurrentWeight": 1.0,
        "DesiredWeight": 1.0,
        "CurrentInstanceCount": 1,
        "DesiredInstanceCount": 1,
    }
    assert variant["DeployedImages"][0]["SpecifiedImage"] == IMAGE
    answer = endpoints.runtime.invoke_endpoint(
        EndpointName=name, Body=b"abc", ContentType="text/csv", Accept="application/json"
    )
    assert answer["Body"].read() == b"application/json 3 616263"
    assert answer["InvokedProductionVariant"] == "A"
    endpoints.delete(name)
    assert refusal(endpoints.sagemaker.describe_endpoint, EndpointName=name) == (
        "ValidationException", f'Could not find endpoint "{ARN}:endpoint/{name}".',
    )  # fmt: skip
    code, message = refusal(endpoints.runtime.invoke_endpoint, EndpointName=name, Body=b"a")
    assert (code, message) == (
        "ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.",
    )  # fmt: skip


def test_the_words_for_what_is_taken_or_missing(endpoints: Endpoints) -> None:
    model = endpoints.model()
    config = endpoints.config(model)
    name = endpoints.create(config)
    client = endpoints.sagemaker
    create = {"EndpointName": name, "EndpointConfigName": config}
    taken = f'Cannot create already existing endpoint "{ARN}:endpoint/{name}".'
    assert refusal(client.create_endpoint, **create) == ("ValidationException", taken)
    assert refusal(client.create_endpoint, **{**create, "EndpointName": name.upper()})[1] == taken
    missing = f'Could not find endpoint configuration "{ARN}:endpoint-config/none".'
    for call in (client.create_endpoint, client.update_endpoint):
        assert refusal(call, EndpointName=name, EndpointConfigName="none")[1] == missing
    assert refusal(client.describe_endpoint_config, EndpointConfigName="none")[1] == missing
    assert refusal(client.delete_endpoint_config, EndpointConfigName="none")[1] == missing
    none = f'Could not find endpoint "{ARN}:endpoint/none".'
    update = {"EndpointName": "none", "EndpointConfigName": config}
    assert refusal(client.update_endpoint, **update)[1] == none
    assert refusal(client.delete_endpoint, EndpointName="none")[1] == none
    variants = client.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
    again = {"EndpointConfigName": config, "ProductionVariants": variants}
    assert refusal(client.create_endpoint_config, **again)[1] == (
        f'Cannot create already existing endpoint configuration "{ARN}:endpoint-config/{config}".'
    )


def test_errors_of_the_model(endpoints: Endpoints) -> None:
    name = endpoints.deploy(endpoints.model())
    errors = endpoints.runtime.exceptions
    with pytest.raises(errors.ModelError) as caught:
        endpoints.ask(name, b"bad")
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == ModelError.status
    assert response["OriginalStatusCode"] == 400
    assert response["OriginalMessage"] == "unable to evaluate payload provided"
    group = f"/aws/sagemaker/Endpoints/{name}"
    assert response["LogStreamArn"] == f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{group}"
    assert response["Error"]["Message"] == (
        'Received client error (400) from primary with message "unable to evaluate payload '
        'provided". See https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1'
        f"#logEventViewer:group={group} in account {ACCOUNT} for more information."
    )
    with pytest.raises(errors.ModelError, match=r"Received server error \(500\) from primary"):
        endpoints.ask(name, b"broken")
    with pytest.raises(errors.ValidationError, match="Variant Z not found"):
        endpoints.ask(name, TargetVariant="Z")
    with pytest.raises(errors.ValidationError, match="InvokeEndpoint with TargetModel"):
        endpoints.ask(name, TargetModel="m.tar.gz")
    with pytest.raises(errors.ValidationError, match="is not asynchronous"):
        endpoints.runtime.invoke_endpoint_async(EndpointName=name, InputLocation="s3://b/k")


def test_a_container_that_dies_is_replaced(endpoints: Endpoints, session: Any) -> None:
    name = endpoints.deploy(endpoints.model())
    with pytest.raises(endpoints.runtime.exceptions.ModelError, match=r"server error \(0\)"):
        endpoints.ask(name, b"die")

    def answers() -> bool:
        try:
            return endpoints.answers(name)
        except endpoints.runtime.exceptions.ModelError as error:
            # The dying one still took the connection; whether it saw the request nobody knows.
            if error.response["OriginalStatusCode"] != 0:
                raise
            return False

    until(answers)
    assert endpoints.describe(name)["EndpointStatus"] == "InService"
    # Each instance has a log stream of its own, which stays.
    logs = session.client("logs", endpoint_url=endpoints.jobs.server.endpoint)
    group = f"/aws/sagemaker/Endpoints/{name}"
    streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
    names = [stream["logStreamName"] for stream in streams]
    assert [stream.startswith("A/i-") for stream in names] == [True, True]
    events = [
        event["message"]
        for stream in names
        for event in logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]
    ]
    assert events == ["about to die"]
    logs.close()


def test_traffic_goes_by_weight_or_to_the_variant_asked_for(endpoints: Endpoints) -> None:
    name = endpoints.deploy(endpoints.model(), endpoints.model(), weights=(3.0, 1.0))
    assert Counter(endpoints.variant(name) for _ in range(8)) == {"A": 6, "B": 2}
    assert {endpoints.variant(name, TargetVariant="B") for _ in range(3)} == {"B"}
    endpoints.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=name,
        DesiredWeightsAndCapacities=[
            {"VariantName": "A", "DesiredWeight": 0.0},
            {"VariantName": "B", "DesiredInstanceCount": 2},
        ],
    )
    assert endpoints.describe(name)["EndpointStatus"] == "Updating"
    described = endpoints.settle(name)
    assert [
        (item["CurrentWeight"], item["CurrentInstanceCount"])
        for item in described["ProductionVariants"]
    ] == [(0.0, 1), (1.0, 2)]
    assert {endpoints.variant(name) for _ in range(4)} == {"B"}
    unknown = [{"VariantName": "Z", "DesiredWeight": 1.0}]
    code, message = refusal(
        endpoints.sagemaker.update_endpoint_weights_and_capacities,
        EndpointName=name,
        DesiredWeightsAndCapacities=unknown,
    )
    assert code == "ValidationException"
    assert "no variants Z" in message


def test_an_update_drops_no_request(endpoints: Endpoints) -> None:
    old, new = endpoints.model(NAME="old"), endpoints.model(NAME="new")
    name = endpoints.deploy(old)
    stop = False

    def keep_asking() -> list[str]:
        found = []
        while not stop:
            found.append(
                "new" if b'"NAME": "new"' in endpoints.ask(name, b"environment") else "old"
            )
        return found

    with ThreadPoolExecutor(4) as pool:
        askers = [pool.submit(keep_asking) for _ in range(4)]
        config = endpoints.config(new)
        endpoints.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config)
        pending = endpoints.describe(name)
        described = endpoints.settle(name)
        stop = True
        answers = [asker.result() for asker in askers]
    assert pending["EndpointStatus"] == "Updating"
    assert pending["PendingDeploymentSummary"]["EndpointConfigName"] == config
    assert pending["EndpointConfigName"] != config
    assert described["EndpointStatus"] == "InService"
    assert described["EndpointConfigName"] == config
    assert "PendingDeploymentSummary" not in described
    assert all(found[0] == "old" and sorted(found, reverse=True) == found for found in answers)
    assert b'"NAME": "new"' in endpoints.ask(name, b"environment")
    until(lambda: len(endpoints.folders()) == 1)


def test_a_broken_update_rolls_back(endpoints: Endpoints) -> None:
    name = endpoints.deploy(endpoints.model(NAME="old"))
    before = endpoints.describe(name)
    broken = endpoints.config(endpoints.model({"no-start": ""}))
    endpoints.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=broken)
    update = {"EndpointName": name, "EndpointConfigName": broken}
    busy = f'Cannot update in-progress endpoint "{ARN}:endpoint/{name}".'
    assert refusal(endpoints.sagemaker.update_endpoint, **update) == ("ValidationException", busy)
    assert refusal(endpoints.sagemaker.delete_endpoint, EndpointName=name)[1] == busy
    after = endpoints.settle(name)
    assert after["EndpointStatus"] == "InService"
    assert after["EndpointConfigName"] == before["EndpointConfigName"]
    assert "production variant A did not pass the ping health check" in after["FailureReason"]
    assert "cannot start" in after["FailureReason"]
    assert b'"NAME": "old"' in endpoints.ask(name, b"environment")


def test_an_endpoint_that_cannot_start_fails(endpoints: Endpoints) -> None:
    name = endpoints.create(endpoints.config(endpoints.model({"no-start": ""})))
    waiter = endpoints.sagemaker.get_waiter("endpoint_in_service")
    with pytest.raises(Exception, match="Failed"):
        waiter.wait(EndpointName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})
    assert "did not pass the ping health check" in endpoints.describe(name)["FailureReason"]
    update = {"EndpointName": name, "EndpointConfigName": endpoints.config(endpoints.model())}
    assert refusal(endpoints.sagemaker.update_endpoint, **update)[1] == (
        f'Cannot update endpoint "{ARN}:endpoint/{name}" in status Failed; it can only be deleted.'
    )
    endpoints.delete(name)


def test_configuration_and_model_may_go_once_the_endpoint_is_there(endpoints: Endpoints) -> None:
    model = endpoints.model()
    config = endpoints.config(model)
    name = endpoints.create(config)
    endpoints.sagemaker.delete_endpoint_config(EndpointConfigName=config)
    endpoints.sagemaker.delete_model(ModelName=model)
    assert endpoints.settle(name)["EndpointStatus"] == "InService"
    assert endpoints.ask(name) == b"- 1 61"


def test_a_killed_server_goes_on_where_it_was(mortal_endpoints: Endpoints) -> None:
    endpoints, server = mortal_endpoints, mortal_endpoints.jobs.server
    model = endpoints.model()
    serving, updated, deleted = (endpoints.deploy(model) for _ in range(3))
    created = endpoints.create(endpoints.config(model))
    config = endpoints.config(model)
    endpoints.sagemaker.update_endpoint(EndpointName=updated, EndpointConfigName=config)
    endpoints.sagemaker.delete_endpoint(EndpointName=deleted)
    server.end(signal.SIGKILL)
    server.start()
    assert endpoints.ask(serving) == b"- 1 61"  # at once
    assert endpoints.settle(created)["EndpointStatus"] == "InService"
    assert endpoints.settle(updated)["EndpointConfigName"] == config
    until(lambda: is_gone(lambda: endpoints.describe(deleted)))
    until(lambda: len(endpoints.folders()) == 3)
    assert [endpoints.ask(name) for name in (serving, updated, created)] == [b"- 1 61"] * 3


def test_instances_that_died_with_the_server_are_replaced(mortal_endpoints: Endpoints) -> None:
    endpoints, server = mortal_endpoints, mortal_endpoints.jobs.server
    name = endpoints.deploy(endpoints.model())
    (folder,) = endpoints.folders()
    server.end(signal.SIGKILL)
    for process in processes(folder):
        process.kill()
    server.start()
    until(lambda: endpoints.answers(name))


def test_a_server_that_stops_says_so_to_whom_it_cannot_wait_for(
    mortal_endpoints: Endpoints,
) -> None:
    endpoints, server = mortal_endpoints, mortal_endpoints.jobs.server
    name = endpoints.deploy(endpoints.model())
    (folder,) = endpoints.folders()
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(
            refusal, endpoints.runtime.invoke_endpoint, EndpointName=name, Body=b"hold"
        )
        until((folder / "ml/model/held").exists)
        assert server.end(signal.SIGTERM) == 0
        assert held.result() == (
            "ServiceUnavailable",
            "The server is being stopped; whether the request was carried out is not known.",
        )
    (folder / "ml/model/go").touch()
    # To take down what its end left running.
    server.start()


def is_gone(call: Callable[[], Any]) -> bool:
    try:
        call()
    except ClientError:
        return True
    return False


def test_factorization_machines_answer_in_all_their_content_types(
    endpoints: Endpoints, tmp_path: Path
) -> None:
    linear = numpy.array([1, 2, 3], dtype=numpy.float32)
    model = Model(0.5, linear, linear.reshape(3, 1), "regressor")
    artifact.write(model, tmp_path / "model_algo-1")
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "model_algo-1", "model_algo-1")
    container = {
        "Image": "382416733822.dkr.ecr.us-east-1.amazonaws.com/factorization-machines:1",
        "ModelDataUrl": endpoints.jobs.put("fm.tar.gz", (tmp_path / "model.tar.gz").read_bytes()),
    }
    name = endpoints.jobs.new_name("model")
    endpoints.sagemaker.create_model(
        ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE
    )
    endpoint = endpoints.deploy(name)
    rows = numpy.array([[1.0, 0.0, 1.0]], dtype=numpy.float32)
    score = 0.5 + 1 + 3 + 1 * 3  # bias, two linear terms, the product of their factors
    json_type, recordio_type = "application/json", "application/x-recordio-protobuf"
    body = json.dumps({"instances": [{"features": rows[0].tolist()}]}).encode()
    answer = endpoints.ask(endpoint, body, ContentType=json_type)
    assert json.loads(answer) == {"predictions": [{"score": score}]}
    lines = endpoints.ask(
        endpoint, body, ContentType=json_type, Accept="application/jsonlines; verbose=true"
    )
    assert json.loads(lines) == {"score": score}
    records = endpoints.ask(
        endpoint, recordio.encode(rows), ContentType=recordio_type, Accept=recordio_type
    )
    assert recordio.decode_predictions(records)[0].tolist() == [score]
    errors = endpoints.runtime.exceptions
    with pytest.raises(errors.ModelError, match="unable to evaluate payload provided"):
        endpoints.ask(endpoint, b"[", ContentType=json_type)


def test_lists_and_the_configuration_as_it_was_given(endpoints: Endpoints) -> None:
    config = endpoints.config(endpoints.model())
    described = endpoints.sagemaker.describe_endpoint_config(EndpointConfigName=config)
    assert described["EndpointConfigArn"] == f"{ARN}:endpoint-config/{config}"
    assert described["ProductionVariants"][0]["InitialInstanceCount"] == 1
    names = endpoints.deploy(endpoints.model()), endpoints.create(config)
    endpoints.settle(names[1])
    pages = endpoints.sagemaker.get_paginator("list_endpoints").paginate(
        StatusEquals="InService", NameContains="endpoint-", PaginationConfig={"PageSize": 1}
    )
    listed = [item["EndpointName"] for page in pages for item in page["Endpoints"]]
    assert listed == [names[1], names[0]]  # the newest first
    configs = endpoints.sagemaker.list_endpoint_configs(NameContains=config)["EndpointConfigs"]
    assert [item["EndpointConfigName"] for item in configs] == [config]
    endpoints.sagemaker.delete_endpoint_config(EndpointConfigName=config)
    assert is_gone(lambda: endpoints.sagemaker.describe_endpoint_config(EndpointConfigName=config))


def test_a_pipeline_of_containers(endpoints: Endpoints) -> None:
    name = endpoints.jobs.new_name("model")
    containers = [{"Image": IMAGE}, {"Image": IMAGE, "ContainerHostname": "last"}]
    request = {"ModelName": name, "ExecutionRoleArn": ROLE}
    code, message = refusal(endpoints.sagemaker.create_model, Containers=containers, **request)
    assert (code, "for all" in message) == ("ValidationException", True)
    containers[0]["ContainerHostname"] = "first"
    endpoints.sagemaker.create_model(Containers=containers, **request)
    endpoint = endpoints.deploy(name)
    # The second container is asked what the first one answered.
    first = b"- 1 61"
    assert endpoints.ask(endpoint, Accept="a/b") == b"a/b 6 " + first.hex().encode()
    with pytest.raises(endpoints.runtime.exceptions.ModelError, match=r"\(500\) from first"):
        endpoints.ask(endpoint, b"broken")
    with pytest.raises(endpoints.runtime.exceptions.ValidationError, match="no container last"):
        endpoints.ask(endpoint, TargetContainerHostname="last")


def test_containers_that_are_invoked_directly(endpoints: Endpoints) -> None:
    name = endpoints.jobs.new_name("model")
    endpoints.sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=ROLE,
        InferenceExecutionConfig={"Mode": "Direct"},
        Containers=[
            {"Image": IMAGE, "ContainerHostname": host, "Environment": {"NAME": host}}
            for host in ("one", "two")
        ],
    )
    endpoint = endpoints.deploy(name)
    for host in ("one", "two"):
        answer = endpoints.ask(endpoint, b"environment", TargetContainerHostname=host)
        assert f'"NAME": "{host}"'.encode() in answer
    with pytest.raises(endpoints.runtime.exceptions.ValidationError, match="must name one"):
        endpoints.ask(endpoint)


def test_uncompressed_model_data(endpoints: Endpoints) -> None:
    endpoints.jobs.put("plain/no-start", "")
    name = endpoints.jobs.new_name("model")
    source = {
        "S3Uri": endpoints.jobs.uri("plain/"),
        "S3DataType": "S3Prefix",
        "CompressionType": "None",
    }
    container = {"Image": IMAGE, "ModelDataSource": {"S3DataSource": source}}
    endpoints.sagemaker.create_model(
        ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container
    )
    endpoint = endpoints.create(endpoints.config(name))
    # The file is there, so the model does what it says.
    assert "cannot start" in endpoints.settle(endpoint)["FailureReason"]


def test_a_serverless_variant_takes_so_many_requests_at_once(endpoints: Endpoints) -> None:
    model = endpoints.model({})
    variant = {
        "VariantName": "A",
        "ModelName": model,
        "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1},
    }
    name = endpoints.deploy(ProductionVariants=[variant])
    described = endpoints.describe(name)["ProductionVariants"][0]
    assert described["CurrentServerlessConfig"]["MaxConcurrency"] == 1
    (folder,) = endpoints.folders()

    def asked(body: bytes) -> bytes | None:
        """Return the answer, or None when the variant is at its limit."""
        try:
            return endpoints.ask(name, body)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ThrottlingException":
                raise
            return None

    with ThreadPoolExecutor(1) as pool:
        # It may meet one of the requests below.
        held = pool.submit(until, lambda: asked(b"hold"))
        until(lambda: asked(b"a") is None)
        (folder / "ml/model/go").touch()
        assert held.result() == b"- 4 686f6c64"
    assert endpoints.ask(name) == b"- 1 61"


@pytest.mark.parametrize(
    "routing",
    [
        {"Type": "CANARY", "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 25}},
        {"Type": "LINEAR", "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": 50}},
    ],
)
def test_traffic_shifts_in_steps(endpoints: Endpoints, routing: dict[str, Any]) -> None:
    name = endpoints.deploy(endpoints.model())
    model, config = endpoints.model(), endpoints.jobs.new_name("config")
    variant = {
        "VariantName": "New",
        "ModelName": model,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    endpoints.sagemaker.create_endpoint_config(
        EndpointConfigName=config, ProductionVariants=[variant]
    )
    deployment = {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {**routing, "WaitIntervalInSeconds": 1}
        }
    }
    endpoints.sagemaker.update_endpoint(
        EndpointName=name, EndpointConfigName=config, DeploymentConfig=deployment
    )
    until(lambda: endpoints.variant(name) == "New")
    step = (routing.get("CanarySize") or routing["LinearStepSize"])["Value"]
    seen = Counter(endpoints.variant(name) for _ in range(20))
    assert seen == {"A": 20 - step // 5, "New": step // 5}
    described = endpoints.settle(name)
    assert described["LastDeploymentConfig"] == deployment
    assert {endpoints.variant(name) for _ in range(4)} == {"New"}


def test_what_cannot_run_here_is_refused_by_name(endpoints: Endpoints) -> None:
    model = endpoints.model()
    create = endpoints.sagemaker.create_endpoint_config
    variant = {
        "VariantName": "A",
        "ModelName": model,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }

    def said(changes: Mapping[str, Any], **members: Any) -> str:
        request = {"ProductionVariants": [{**variant, **changes}], **members}
        code, message = refusal(create, EndpointConfigName="refused", **request)
        assert code == "ValidationException"
        return message

    assert said({}, ShadowProductionVariants=[variant]) == (
        "not implemented by matinee: an endpoint configuration with ShadowProductionVariants"
    )
    assert "with CoreDumpConfig" in said({"CoreDumpConfig": {"DestinationS3Uri": "s3://b/k"}})
    assert "with EnableSSMAccess" in said({"EnableSSMAccess": True})
    assert "PREFIX_AWARE" in said({"RoutingConfig": {"RoutingStrategy": "PREFIX_AWARE"}})
    assert said({"ModelName": "none"}) == f'Could not find model "{ARN}:model/none".'
    serverless = {"MemorySizeInMB": 1500, "MaxConcurrency": 1}
    assert "does not take InitialInstanceCount, InstanceType" in said(
        {"ServerlessConfig": serverless}
    )
    assert "must be unique" in said({}, ProductionVariants=[variant, variant])
    _, message = refusal(
        endpoints.sagemaker.create_endpoint,
        EndpointName="refused",
        EndpointConfigName=endpoints.config(model),
        DeploymentConfig={"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "a"}]}},
    )
    assert message == (
        "not implemented by matinee: DeploymentConfig with AutoRollbackConfiguration"
    )


def test_more_instances_than_there_may_be(endpoints: Endpoints) -> None:
    variant = {
        "VariantName": "A",
        "ModelName": endpoints.model(),
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 21,
    }
    endpoints.sagemaker.create_endpoint_config(
        EndpointConfigName="large", ProductionVariants=[variant]
    )
    with pytest.raises(endpoints.sagemaker.exceptions.ResourceLimitExceeded, match="20 Instances"):
        endpoints.sagemaker.create_endpoint(EndpointName="large", EndpointConfigName="large")


def asynchronous(endpoints: Endpoints) -> dict[str, Any]:
    output = {
        "S3OutputPath": endpoints.jobs.uri("answers"),
        "S3FailurePath": endpoints.jobs.uri("failures"),
    }
    return {"AsyncInferenceConfig": {"OutputConfig": output}}


def test_answers_that_come_later(endpoints: Endpoints) -> None:
    name = endpoints.deploy(endpoints.model(), **asynchronous(endpoints))
    described = endpoints.describe(name)["AsyncInferenceConfig"]["OutputConfig"]
    assert described["S3OutputPath"] == endpoints.jobs.uri("answers")
    ask = endpoints.runtime.invoke_endpoint_async
    answer = ask(
        EndpointName=name,
        InputLocation=endpoints.jobs.put("asked", b"abc"),
        ContentType="text/csv",
        Accept="a/b",
        InferenceId="mine",
    )
    assert answer["InferenceId"] == "mine"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    stored = f"answers/{answer['OutputLocation'].rpartition('/')[2]}"
    until(lambda: stored in endpoints.jobs.stored("answers/"))
    assert endpoints.jobs.get(answer["OutputLocation"]) == b"a/b 3 616263"
    failed = ask(EndpointName=name, InputLocation=endpoints.jobs.put("worse", b"broken"))
    until(lambda: endpoints.jobs.stored("failures/"))
    assert b"(500)" in endpoints.jobs.get(failed["FailureLocation"])
    missing = ask(EndpointName=name, InputLocation=endpoints.jobs.uri("nowhere"))
    until(lambda: len(endpoints.jobs.stored("failures/")) == 2)
    assert b"nowhere" in endpoints.jobs.get(missing["FailureLocation"])
    with pytest.raises(endpoints.runtime.exceptions.ValidationError, match="is asynchronous"):
        endpoints.ask(name)
    with pytest.raises(endpoints.runtime.exceptions.ValidationError, match="either"):
        ask(EndpointName=name)


def test_an_accepted_request_is_answered_by_the_next_server(mortal_endpoints: Endpoints) -> None:
    endpoints, server = mortal_endpoints, mortal_endpoints.jobs.server
    name = endpoints.deploy(endpoints.model(), **asynchronous(endpoints))
    (folder,) = endpoints.folders()
    answer = endpoints.runtime.invoke_endpoint_async(
        EndpointName=name, InputLocation=endpoints.jobs.put("asked", b"hold")
    )
    server.end(signal.SIGKILL)
    (folder / "ml/model/go").touch()
    server.start()
    until(lambda: endpoints.jobs.stored("answers/"))
    assert endpoints.jobs.get(answer["OutputLocation"]) == b"- 4 686f6c64"


def test_requests_and_answers_are_captured(endpoints: Endpoints) -> None:
    capture = {
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": endpoints.jobs.uri("captured"),
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
    }
    name = endpoints.deploy(endpoints.model(), DataCaptureConfig=capture)
    described = endpoints.describe(name)["DataCaptureConfig"]
    assert described["CaptureStatus"] == "Started"
    endpoints.ask(name, b"1,2", ContentType="text/csv", InferenceId="mine")
    (key,) = until(lambda: endpoints.jobs.stored(f"captured/{name}/A/"))
    assert len(key.split("/")) == 8  # .. year, month, day, hour, file
    line = json.loads(endpoints.jobs.get(endpoints.jobs.uri(key)))
    assert line["captureData"]["endpointInput"] == {
        "observedContentType": "text/csv", "mode": "INPUT", "data": "1,2", "encoding": "CSV",
    }  # fmt: skip
    assert line["captureData"]["endpointOutput"]["encoding"] == "BASE64"
    assert line["eventMetadata"]["inferenceId"] == "mine"
    assert line["eventVersion"] == "0"


def test_scaling_targets_and_policies_are_kept(endpoints: Endpoints, session: Any) -> None:
    name = endpoints.deploy(endpoints.model())
    client = session.client("application-autoscaling", endpoint_url=endpoints.jobs.server.endpoint)
    variant = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{name}/variant/A",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    client.register_scalable_target(**variant, MinCapacity=1, MaxCapacity=2)
    client.register_scalable_target(**variant, MaxCapacity=3)
    (target,) = client.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 3)
    policy = {
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": 70.0,
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
            },
        },
    }
    client.put_scaling_policy(PolicyName="p", **variant, **policy)
    (kept,) = client.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert kept["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 70.0
    client.delete_scaling_policy(PolicyName="p", **variant)
    with pytest.raises(client.exceptions.ObjectNotFoundException, match="policy name: p"):
        client.delete_scaling_policy(PolicyName="p", **variant)
    client.deregister_scalable_target(**variant)
    with pytest.raises(client.exceptions.ObjectNotFoundException, match="No scalable target"):
        client.put_scaling_policy(PolicyName="p", **variant, **policy)
    with pytest.raises(client.exceptions.ValidationException, match="variant doesn't exist"):
        client.register_scalable_target(
            **{**variant, "ResourceId": f"endpoint/{name}/variant/Z"}, MinCapacity=1, MaxCapacity=2
        )
    client.close()
