"""SageMaker transform jobs: create, describe, list, stop.

What this version cannot do (filters and joins, compressed input, TFRecord, several instances, data
capture) is refused by name when the job is created.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.listing import members, page
from matinee.sagemaker.services import jobs
from matinee.sagemaker.services.models import find_model
from matinee.sagemaker.states import TRANSFORM_JOB, State
from matinee.sagemaker.store import Resource
from matinee.sagemaker.training_requests import (
    check_data_type,
    check_s3_uri,
    find_algorithm,
    refuse,
)

KIND = TRANSFORM_JOB.name
MAX_PAYLOAD_MB = 100


def create_transform_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Keep a transform job and start it. The model is taken as it is now.

    Raises
    ------
    ValidationException
        The job cannot run, or there is no such model.
    ResourceInUse
        The name is taken.
    """
    container, role = _model(context, request["ModelName"])
    _check(request)
    name, now = request["TransformJobName"], context.clock()
    arn = context.arn(f"transform-job/{name}")
    document = {
        **{member: value for member, value in request.items() if member != "Tags"},
        "TransformJobArn": arn,
        "TransformJobStatus": State.IN_PROGRESS.status,
        "ModelClientConfig": {
            "InvocationsTimeoutInSeconds": 600,
            "InvocationsMaxRetries": 3,
            **request.get("ModelClientConfig", {}),
        },
        "TransformInput": {
            "CompressionType": "None",
            "SplitType": "None",
            **request["TransformInput"],
        },
        "TransformOutput": {"AssembleWith": "None", "KmsKeyId": "", **request["TransformOutput"]},
        "DataProcessing": {
            "InputFilter": "$",
            "OutputFilter": "$",
            "JoinSource": "None",
            **request.get("DataProcessing", {}),
        },
        "CreationTime": now,
    }
    private = {
        "folder": context.new_id(),
        "hosts": ["algo-1"],
        "container": container,
        "role": role,
    }
    job = Resource(KIND, name, arn, State.IN_PROGRESS.status, now, now, document, private)
    jobs.create(
        context,
        job,
        request,
        taken="Transform job names must be unique within an AWS account and region, and a "
        f"transform job with this name already exists ({arn})",
    )
    return {"TransformJobArn": arn}


def _model(context: Context, name: str) -> tuple[dict[str, Any], str]:
    document = find_model(context, name).document
    container: dict[str, Any] = (document.get("Containers") or [document["PrimaryContainer"]])[0]
    algorithm = find_algorithm(context, container["Image"])
    if not algorithm.serve:
        raise ValidationException(
            f"The image {container['Image']!r} is registered without a serve command."
        )
    return container, document.get("ExecutionRoleArn", "")


def _check(request: Mapping[str, Any]) -> None:
    refuse("a transform job", request, {"DataCaptureConfig"})
    transform_input, processing = request["TransformInput"], request.get("DataProcessing", {})
    source = transform_input["DataSource"]["S3DataSource"]
    check_data_type("TransformInput", source["S3DataType"])
    check_s3_uri("TransformInput.S3Uri", source["S3Uri"])
    check_s3_uri("TransformOutput.S3OutputPath", request["TransformOutput"]["S3OutputPath"])
    split_type = transform_input.get("SplitType", "None")
    for member, value, supported in (
        ("SplitType", split_type, {"None", "Line", "RecordIO"}),
        ("CompressionType", transform_input.get("CompressionType", "None"), {"None"}),
        ("InputFilter", processing.get("InputFilter", "$"), {"$"}),
        ("OutputFilter", processing.get("OutputFilter", "$"), {"$"}),
        ("JoinSource", processing.get("JoinSource", "None"), {"None"}),
        ("InstanceCount", request["TransformResources"]["InstanceCount"], {1}),
    ):
        if value not in supported:
            allowed = ", ".join(map(str, sorted(supported)))
            raise ValidationException(
                f"not implemented by matinee: a transform job with {member} {value}; use {allowed}"
            )
    if split_type == "None" and request.get("BatchStrategy") == "SingleRecord":
        raise ValidationException("BatchStrategy SingleRecord needs SplitType Line or RecordIO")
    _check_payload(request)


def _check_payload(request: Mapping[str, Any]) -> None:
    payload = request.get("MaxPayloadInMB", 6)
    if payload == 0:
        raise ValidationException(
            "not implemented by matinee: MaxPayloadInMB 0 (streaming a whole object)"
        )
    # 0 leaves the choice to SageMaker.
    concurrency = max(1, request.get("MaxConcurrentTransforms", 1))
    if payload * concurrency > MAX_PAYLOAD_MB:
        raise ValidationException(
            f"MaxPayloadInMB {payload} times MaxConcurrentTransforms {concurrency} is over "
            f"{MAX_PAYLOAD_MB} MB"
        )


def describe_transform_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return all there is to say about a transform job.

    Raises
    ------
    ValidationException
        There is no such job.
    """
    job = context.store.get(KIND, request["TransformJobName"])
    if job is None:
        raise ValidationException(_missing(request["TransformJobName"]))
    return job.document


def list_transform_jobs(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List transform jobs."""
    return page(
        context.store,
        request,
        KIND,
        summary_key="TransformJobSummaries",
        summarise=_summary,
    )


def _summary(job: Resource) -> dict[str, Any]:
    described = members(
        job,
        "TransformJobName",
        "TransformJobArn",
        "CreationTime",
        "TransformEndTime",
        "TransformJobStatus",
        "FailureReason",
    )
    return {**described, "LastModifiedTime": job.modified}


def stop_transform_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Tell a transform job to end without storing anything more.

    Raises
    ------
    ResourceNotFound
        There is no such job.
    ValidationException
        It has ended.
    """
    name = request["TransformJobName"]
    return jobs.stop(context, KIND, name, noun="transform job", missing=_missing(name))


def _missing(name: str) -> str:
    return f"Could not find requested job with name: {name}"


OPERATIONS: Mapping[str, Operation] = {
    "CreateTransformJob": create_transform_job,
    "DescribeTransformJob": describe_transform_job,
    "ListTransformJobs": list_transform_jobs,
    "StopTransformJob": stop_transform_job,
}
