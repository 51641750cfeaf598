"""Artifacts, actions, contexts and associations, and the graph of jobs, asked with boto3."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from matinee.sagemaker.store import Resource
from tests.sagemaker.conftest import NOON, Front
from tests.sagemaker.jobs.conftest import refusal
from tests.sagemaker.services.test_experiments import add_job

ARN = "arn:aws:sagemaker:us-east-1:000000000000"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/factorization-machines:1"
FIT = f"{ARN}:experiment-trial-component/fit-aws-training-job"


@pytest.fixture
def client(front: Front) -> Any:
    return front.client("sagemaker")


def artifact(client: Any, uri: str, type_: str = "DataSet", **changes: Any) -> str:
    request = {"Source": {"SourceUri": uri}, "ArtifactType": type_, **changes}
    arn: str = client.create_artifact(**request)["ArtifactArn"]
    return arn


def action(client: Any, name: str, **changes: Any) -> str:
    request = {
        "ActionName": name,
        "Source": {"SourceUri": "s3://b/a", "SourceType": "t"},
        "ActionType": "Deploy",
        **changes,
    }
    arn: str = client.create_action(**request)["ActionArn"]
    return arn


def context(client: Any, name: str, **changes: Any) -> str:
    request = {
        "ContextName": name,
        "Source": {"SourceUri": "s3://b/c"},
        "ContextType": "Endpoint",
        **changes,
    }
    arn: str = client.create_context(**request)["ContextArn"]
    return arn


def test_an_artifact(client: Any) -> None:
    arn = artifact(
        client,
        "s3://b/data",
        ArtifactName="Data",
        Properties={"rows": "3"},
        MetadataProperties={"CommitId": "c"},
        Tags=[{"Key": "k", "Value": "v"}],
    )
    described = client.describe_artifact(ArtifactArn=arn)
    described.pop("ResponseMetadata")
    assert described == {
        "ArtifactName": "Data",
        "ArtifactArn": arn,
        "Source": {"SourceUri": "s3://b/data"},
        "ArtifactType": "DataSet",
        "Properties": {"rows": "3"},
        "MetadataProperties": {"CommitId": "c"},
        "CreationTime": NOON,
        "CreatedBy": {},
        "LastModifiedTime": NOON,
        "LastModifiedBy": {},
    }
    assert client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "k", "Value": "v"}]
    assert artifact(client, "s3://b/other", ArtifactName="Data") != arn


def test_changes_an_artifact(client: Any, front: Front) -> None:
    arn = artifact(client, "s3://b/data", Properties={"a": "1", "b": "2"})
    front.clock.now = NOON + timedelta(minutes=1)
    client.update_artifact(ArtifactArn=arn, ArtifactName="n", PropertiesToRemove=["a"])
    described = client.describe_artifact(ArtifactArn=arn)
    assert (described["ArtifactName"], described["Properties"]) == ("n", {"b": "2"})
    assert described["LastModifiedTime"] == front.clock.now
    client.update_artifact(ArtifactArn=arn, Properties={"c": "3"})
    assert client.describe_artifact(ArtifactArn=arn)["Properties"] == {"c": "3"}


def test_lists_artifacts(client: Any, front: Front) -> None:
    first = artifact(client, "s3://b/1")
    front.clock.now = NOON + timedelta(minutes=1)
    second = artifact(client, "s3://b/2", "Model")

    def listed(**request: Any) -> list[str]:
        pages = client.get_paginator("list_artifacts").paginate(
            PaginationConfig={"PageSize": 1}, **request
        )
        return [item["ArtifactArn"] for page in pages for item in page["ArtifactSummaries"]]

    assert listed() == [second, first]
    assert listed(SourceUri="s3://b/1") == [first]
    assert listed(ArtifactType="Model") == [second]
    assert listed(CreatedBefore=front.clock.now) == [first]


def test_deletes_an_artifact_by_its_source(client: Any) -> None:
    arn = artifact(client, "s3://b/1")
    assert client.delete_artifact(Source={"SourceUri": "s3://b/1"})["ArtifactArn"] == arn
    with pytest.raises(client.exceptions.ResourceNotFound, match="does not exist"):
        client.delete_artifact(Source={"SourceUri": "s3://b/1"})
    with pytest.raises(client.exceptions.ResourceNotFound):
        client.describe_artifact(ArtifactArn=arn)
    artifact(client, "s3://b/2")
    artifact(client, "s3://b/2")
    code, message = refusal(client.delete_artifact, Source={"SourceUri": "s3://b/2"})
    assert (code, message[:11]) == ("ValidationException", "2 artifacts")
    assert refusal(client.delete_artifact)[0] == "ValidationException"


def test_an_action(client: Any) -> None:
    arn = action(client, "Deploy", Status="InProgress", Properties={"a": "1"})
    assert arn == f"{ARN}:action/deploy"
    client.update_action(ActionName="Deploy", Status="Completed", Description="d")
    described = client.describe_action(ActionName=arn)
    assert (described["Status"], described["Description"]) == ("Completed", "d")
    assert described["Properties"] == {"a": "1"}
    (summary,) = client.list_actions(SourceUri="s3://b/a", SortBy="Name")["ActionSummaries"]
    assert (summary["ActionName"], summary["Status"]) == ("Deploy", "Completed")
    with pytest.raises(client.exceptions.ClientError, match="already exists"):
        action(client, "DEPLOY")
    client.delete_action(ActionName="Deploy")
    with pytest.raises(client.exceptions.ResourceNotFound):
        client.describe_action(ActionName="Deploy")


def test_a_context(client: Any) -> None:
    arn = context(client, "Shop_1", Description="d")
    assert arn == f"{ARN}:context/shop_1"
    client.update_context(ContextName="Shop_1", Properties={"a": "1"})
    described = client.describe_context(ContextName="Shop_1")
    assert (described["Description"], described["Properties"]) == ("d", {"a": "1"})
    (summary,) = client.list_contexts(ContextType="Endpoint")["ContextSummaries"]
    assert summary["ContextArn"] == arn
    assert client.list_contexts(ContextType="Other")["ContextSummaries"] == []
    many = {str(number): "x" for number in range(30)}
    client.update_context(ContextName="Shop_1", Properties=many)
    client.delete_context(ContextName="Shop_1")
    assert client.list_contexts()["ContextSummaries"] == []


def test_associations(client: Any, front: Front) -> None:
    data, model = artifact(client, "s3://b/d"), artifact(client, "s3://b/m", "Model")
    client.create_trial_component(TrialComponentName="Fit")
    fit = f"{ARN}:experiment-trial-component/fit"
    client.add_association(SourceArn=data, DestinationArn=fit, AssociationType="ContributedTo")
    front.clock.now = NOON + timedelta(minutes=1)
    client.add_association(SourceArn=fit, DestinationArn=model, AssociationType="Produced")
    client.add_association(SourceArn=fit, DestinationArn=model, AssociationType="DerivedFrom")

    def listed(**request: Any) -> list[tuple[str, str]]:
        pages = client.get_paginator("list_associations").paginate(
            PaginationConfig={"PageSize": 1}, **request
        )
        return [
            (item["SourceArn"], item["DestinationArn"])
            for page in pages
            for item in page["AssociationSummaries"]
        ]

    assert listed() == [(fit, model), (data, fit)]
    assert listed(SortOrder="Ascending") == [(data, fit), (fit, model)]
    assert listed(SourceArn=fit) == [(fit, model)]
    assert listed(DestinationArn=fit) == [(data, fit)]
    assert listed(SourceArn=fit, DestinationArn=data) == []
    assert listed(DestinationType="Model") == [(fit, model)]
    assert listed(AssociationType="DerivedFrom") == [(fit, model)]
    assert listed(CreatedBefore=front.clock.now) == [(data, fit)]
    assert listed(SortBy="DestinationType", SortOrder="Ascending") == [(fit, model), (data, fit)]
    (row,) = client.list_associations(SourceArn=fit)["AssociationSummaries"]
    assert (row["SourceType"], row["SourceName"]) == ("TrialComponent", "Fit")

    code, message = refusal(client.delete_artifact, ArtifactArn=model)
    assert code == "ValidationException"
    assert "is linked to 1 associations" in message
    client.delete_association(SourceArn=fit, DestinationArn=model)
    with pytest.raises(client.exceptions.ResourceNotFound):
        client.delete_association(SourceArn=fit, DestinationArn=model)
    client.delete_artifact(ArtifactArn=model)
    with pytest.raises(client.exceptions.ResourceNotFound):
        client.add_association(SourceArn=fit, DestinationArn=model)
    with pytest.raises(client.exceptions.ResourceNotFound):
        client.list_associations(SourceArn=model)


def types(found: Iterable[Mapping[str, Any]]) -> list[str]:
    return sorted(vertex["Type"] for vertex in found)


def add_endpoint(front: Front, config: str, containers: list[dict[str, Any]]) -> None:
    name = "Shop"
    arn = front.context.arn(f"endpoint/{name}")
    now = front.clock.now
    document = {"EndpointName": name, "EndpointArn": arn, "EndpointConfigName": config}
    private = {"current": {"variants": [{"name": "v", "containers": containers}]}}
    front.context.store.insert(
        Resource("Endpoint", name, arn, "InService", now, now, document, private)
    )


def test_from_data_to_endpoint(client: Any, front: Front) -> None:
    """The whole way, told by nobody."""
    add_job(front, "TrainingJob", "Fit")
    client.create_model_package_group(ModelPackageGroupName="Stars")
    container = {"Image": IMAGE, "ModelDataUrl": "s3://b/o/model.tar.gz"}
    client.create_model_package(
        ModelPackageGroupName="Stars",
        InferenceSpecification={"Containers": [container]},
        SkipModelValidation="All",
    )
    add_endpoint(front, "one", [container])

    (data,) = client.list_artifacts(SourceUri="s3://b/train")["ArtifactSummaries"]
    assert data["ArtifactType"] == "DataSet"
    down = client.query_lineage(StartArns=[data["ArtifactArn"]], Direction="Descendants")
    assert types(down["Vertices"]) == [
        "Endpoint",
        "Model",
        "Model",
        "ModelDeployment",
        "ModelGroup",
        "SageMakerTrainingJob",
    ]
    (deployed,) = client.list_contexts(SourceUri=f"{ARN}:endpoint/shop")["ContextSummaries"]
    up = client.query_lineage(StartArns=[deployed["ContextArn"]], Direction="Ascendants")
    assert types(up["Vertices"]) == [
        "DataSet",
        "Image",
        "Image",
        "Model",
        "ModelDeployment",
        "SageMakerTrainingJob",
    ]
    assert {"SourceArn": data["ArtifactArn"], "DestinationArn": FIT} in [
        {name: edge[name] for name in ("SourceArn", "DestinationArn")} for edge in up["Edges"]
    ]
    rows = client.list_associations(DestinationArn=FIT)["AssociationSummaries"]
    assert {row["AssociationType"] for row in rows} == {"ContributedTo"}
    assert {row["DestinationType"] for row in rows} == {"SageMakerTrainingJob"}


def test_questions_about_lineage(client: Any, front: Front) -> None:
    add_job(front, "TrainingJob", "Fit")

    def ask(**request: Any) -> Any:
        return client.query_lineage(StartArns=[FIT], **request)

    assert types(ask()["Vertices"]) == ["DataSet", "Image", "Model"]
    assert ask(IncludeEdges=False)["Vertices"] == ask()["Vertices"]
    assert "Edges" not in ask(IncludeEdges=False)
    assert types(ask(Direction="Ascendants")["Vertices"]) == ["DataSet", "Image"]
    assert types(ask(Filters={"Types": ["Model"]})["Vertices"]) == ["Model"]
    assert ask(Filters={"LineageTypes": ["Context"]})["Vertices"] == []
    assert ask(Filters={"Properties": {"no": "x"}})["Vertices"] == []
    assert len(ask(Filters={"CreatedAfter": NOON - timedelta(1)})["Vertices"]) == 3
    assert ask(Filters={"ModifiedAfter": NOON})["Vertices"] == []
    first = ask(MaxResults=2)
    rest = ask(MaxResults=2, NextToken=first["NextToken"])
    assert len(first["Vertices"]) + len(rest["Vertices"]) == 3
    (model,) = client.list_artifacts(ArtifactType="Model")["ArtifactSummaries"]
    one = client.query_lineage(StartArns=[model["ArtifactArn"]], MaxDepth=1)
    assert types(one["Vertices"]) == ["SageMakerTrainingJob"]
    with pytest.raises(client.exceptions.ResourceNotFound):
        client.query_lineage(StartArns=[f"{ARN}:artifact/none"])
    assert refusal(client.query_lineage)[0] == "ValidationException"


def test_only_what_has_ended_and_worked_produced_something(client: Any, front: Front) -> None:
    changes = {"TrainingJobStatus": "InProgress", "SecondaryStatus": "Training"}
    add_job(front, "TrainingJob", "Fit", **changes)
    assert client.list_associations()["AssociationSummaries"] == []
    add_job(front, "TrainingJob", "bad", TrainingJobStatus="Failed", SecondaryStatus="Failed")
    rows = client.list_associations()["AssociationSummaries"]
    assert {row["AssociationType"] for row in rows} == {"ContributedTo"}


def test_data_of_another_hash_is_another_artifact(client: Any, front: Front) -> None:
    for name, digest in (("a", "1"), ("b", "1"), ("c", "2")):
        add_job(front, "TrainingJob", name)
        seen = {"train": {"IdType": "Custom", "Id": digest, "Objects": "1"}}

        def change(job: Resource, seen: Any = seen) -> Resource:
            return dataclasses.replace(job, private={**job.private, "inputs": seen})

        front.context.store.update("TrainingJob", name, change)
    found = client.list_artifacts(SourceUri="s3://b/train", SortOrder="Ascending")
    hashes = {
        item["ArtifactArn"]: [known["Value"] for known in item["Source"]["SourceTypes"]]
        for item in found["ArtifactSummaries"]
    }
    assert sorted(hashes.values()) == [[], ["1"], ["2"]]
    rows = client.list_associations(AssociationType="SameAs")["AssociationSummaries"]
    assert {(*hashes[row["SourceArn"]], *hashes[row["DestinationArn"]]) for row in rows} == {
        ("1",),
        ("2",),
    }


def test_what_one_job_writes_another_reads(client: Any, front: Front) -> None:
    outputs = {"Outputs": [{"OutputName": "o", "S3Output": {"S3Uri": "s3://b/train"}}]}
    add_job(front, "ProcessingJob", "p", ProcessingOutputConfig=outputs)
    job = add_job(front, "TrainingJob", "Fit")
    seen = {"train": {"IdType": "S3ETag", "Id": "1"}}

    def change(job: Resource) -> Resource:
        return dataclasses.replace(job, private={**job.private, "inputs": seen})

    front.context.store.update("TrainingJob", job.name, change)
    up = client.query_lineage(StartArns=[FIT], Direction="Ascendants")
    assert types(up["Vertices"]) == [
        "DataSet",
        "DataSet",
        "DataSet",
        "Image",
        "Image",
        "SageMakerProcessingJob",
    ]


def test_what_a_user_deletes_stays_deleted(client: Any, front: Front) -> None:
    add_job(front, "TrainingJob", "Fit")
    (model,) = client.list_artifacts(ArtifactType="Model")["ArtifactSummaries"]
    client.delete_association(SourceArn=FIT, DestinationArn=model["ArtifactArn"])
    client.delete_artifact(ArtifactArn=model["ArtifactArn"])
    add_job(front, "ProcessingJob", "p")
    add_job(front, "TransformJob", "t", TransformJobStatus="Completed")
    assert client.list_artifacts(ArtifactType="Model")["ArtifactSummaries"] == []
    uris = {item["Source"]["SourceUri"] for item in client.list_artifacts()["ArtifactSummaries"]}
    assert {"s3://b/raw", "s3://b/clean", "s3://b/in", "s3://b/out"} <= uris


def test_a_transform_job_used_the_package_of_its_model(client: Any, front: Front) -> None:
    package = f"{ARN}:model-package/stars/1"
    document = {"PrimaryContainer": {"ModelPackageName": package}}
    model = Resource("Model", "m", f"{ARN}:model/m", "", NOON, NOON, document, {})
    front.context.store.insert(model)
    add_job(front, "TransformJob", "t", TransformJobStatus="Completed")
    component = f"{ARN}:experiment-trial-component/t-aws-transform-job"
    rows = client.list_associations(DestinationArn=component, SourceType="Model")
    (row,) = rows["AssociationSummaries"]
    described = client.describe_artifact(ArtifactArn=row["SourceArn"])
    assert described["Source"]["SourceUri"] == package


def test_an_experiment_is_an_end_and_no_vertex(client: Any) -> None:
    experiment = client.create_experiment(ExperimentName="Stars")["ExperimentArn"]
    data = artifact(client, "s3://b/d")
    client.add_association(SourceArn=data, DestinationArn=experiment)
    (row,) = client.list_associations(DestinationArn=experiment)["AssociationSummaries"]
    assert (row["DestinationName"], row["DestinationType"]) == ("Stars", "Experiment")
    assert client.query_lineage(StartArns=[data])["Vertices"] == []
