"""What CreateTransformJob takes, and the job it makes.

The model is taken as it is now: a job needs it no more once it is created. What only data can tell
fails the job after its start, as on AWS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matinee.sagemaker import algorithms
from matinee.sagemaker.algorithms import BUILT_IN
from matinee.sagemaker.context import Context
from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.model_serving.serving import processes
from matinee.sagemaker.requests import check_s3_uri, find_algorithm
from matinee.sagemaker.states import TRANSFORM_JOB, State
from matinee.sagemaker.store import Resource
from matinee.sagemaker.transform_jobs.data_processing import Format, Processing, format_of
from matinee.sagemaker.transform_jobs.json_paths import JsonPath, JsonPathError

MAX_INSTANCES = 100
MAX_PAYLOAD_MB = 100
# The stream of what SageMaker itself has to say about the records.
DATA_LOG = "data-log"
_SOURCES = ("ManifestFile", "S3Prefix")


def make(
    context: Context, request: Mapping[str, Any], model: Sequence[Mapping[str, Any]], role: str
) -> Resource:
    """Return the transform job of a request.

    Parameters
    ----------
    context
        The server's surroundings.
    request
        Of CreateTransformJob.
    model
        The model's containers.
    role
        ARN of the model's role; empty: it has none.

    Raises
    ------
    ValidationException
        It can be seen now that the job cannot run here, or not on AWS.
    """
    _check(context, request, model)
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
    count = request["TransformResources"]["InstanceCount"]
    instances = [f"algo-{number}" for number in range(1, count + 1)]
    hosts = [name for instance in instances for name in processes(instance, len(model))]
    private = {
        "folder": context.new_id(),
        "hosts": [*hosts, DATA_LOG],
        "instances": instances,
        "containers": list(model),
        "role": role,
    }
    return Resource(
        TRANSFORM_JOB.name, name, arn, State.IN_PROGRESS.status, now, now, document, private
    )


def _check(
    context: Context, request: Mapping[str, Any], model: Sequence[Mapping[str, Any]]
) -> None:
    _check_model(context, model)
    _check_input(request["TransformInput"])
    output, capture = request["TransformOutput"], request.get("DataCaptureConfig")
    check_s3_uri("TransformOutput.S3OutputPath", output["S3OutputPath"])
    if capture is not None:
        check_s3_uri("DataCaptureConfig.DestinationS3Uri", capture["DestinationS3Uri"])
    for member, value in (
        ("TransformInput.ContentType", request["TransformInput"].get("ContentType", "")),
        ("TransformOutput.Accept", output.get("Accept", "")),
    ):
        if not (value.isascii() and value.isprintable()):
            raise ValidationException(f"{member} {value!r} cannot be the value of a header")
    count = request["TransformResources"]["InstanceCount"]
    if count > MAX_INSTANCES:
        raise ValidationException(
            f"TransformResources.InstanceCount {count} is over {MAX_INSTANCES}"
        )
    split_type = request["TransformInput"].get("SplitType", "None")
    if split_type == "None" and request.get("BatchStrategy") == "SingleRecord":
        raise ValidationException(
            "BatchStrategy SingleRecord needs SplitType Line, RecordIO or TFRecord"
        )
    _check_payload(request, model)
    _check_processing(request)


def _check_model(context: Context, model: Sequence[Mapping[str, Any]]) -> None:
    for container in model:
        if not find_algorithm(context, container["Image"]).serve:
            raise ValidationException(
                f"The image {container['Image']!r} is registered without a serve command."
            )


def _check_input(transform_input: Mapping[str, Any]) -> None:
    source = transform_input["DataSource"]["S3DataSource"]
    if source["S3DataType"] == "AugmentedManifestFile":
        raise ValidationException(
            "TransformInput.DataSource.S3DataSource.S3DataType AugmentedManifestFile is not "
            f"compatible with transform jobs; use {' or '.join(_SOURCES)}"
        )
    if source["S3DataType"] not in _SOURCES:
        raise ValidationException(
            f"not implemented by matinee: TransformInput with S3DataType {source['S3DataType']}; "
            f"use {' or '.join(_SOURCES)}"
        )
    check_s3_uri("TransformInput.S3Uri", source["S3Uri"])


def _check_payload(request: Mapping[str, Any], model: Sequence[Mapping[str, Any]]) -> None:
    payload = request.get("MaxPayloadInMB", 6)
    # 0 leaves the choice to SageMaker.
    concurrency = max(1, request.get("MaxConcurrentTransforms", 1))
    if payload * concurrency > MAX_PAYLOAD_MB:
        raise ValidationException(
            f"MaxPayloadInMB {payload} times MaxConcurrentTransforms {concurrency} is over "
            f"{MAX_PAYLOAD_MB} MB"
        )
    if payload > 0:
        return
    for container in model:
        name = algorithms.repository(container["Image"])
        if name in BUILT_IN:
            raise ValidationException(
                f"MaxPayloadInMB 0 (HTTP chunked encoding) is not supported by the algorithm {name}"
            )
    if len(model) > 1:
        raise ValidationException(
            "not implemented by matinee: MaxPayloadInMB 0 with a model of several containers"
        )
    asked = processing(request)
    if asked.reads_requests or asked.changes_answers:
        raise ValidationException(
            "not implemented by matinee: MaxPayloadInMB 0 with DataProcessing or "
            "GenerateInferenceId"
        )


def _check_processing(request: Mapping[str, Any]) -> None:
    """Refuse filters and joins of what has no records, or other records in than out."""
    asked = processing(request)
    accept = request["TransformOutput"].get("Accept")
    content_type = request["TransformInput"].get("ContentType")
    formats = ", ".join(item.value for item in Format)
    if asked.reads_requests and asked.input_format is None:
        raise ValidationException(
            f"Invalid DataProcessing: ContentType {content_type!r} has no records to filter or "
            f"join; use one of {formats}"
        )
    if asked.changes_answers and accept and asked.output_format is None:
        raise ValidationException(
            f"Invalid DataProcessing: Accept {accept!r} has no records to filter or join; use one "
            f"of {formats}"
        )
    for member, path, chosen in (
        ("InputFilter", asked.input_filter, asked.input_format),
        ("OutputFilter", asked.output_filter, asked.output_format),
    ):
        if chosen is Format.CSV:
            _read(member, path.text, rows=True)
    if asked.is_joined:
        _check_join(request, asked)


def _check_join(request: Mapping[str, Any], asked: Processing) -> None:
    split_type = request["TransformInput"].get("SplitType", "None")
    assemble = request["TransformOutput"].get("AssembleWith", "None")
    if asked.output_format is not asked.input_format:
        raise ValidationException(
            f"Invalid DataProcessing: to join the output with the input, Accept "
            f"{request['TransformOutput'].get('Accept')!r} must be the ContentType "
            f"{request['TransformInput'].get('ContentType')!r}"
        )
    is_csv = asked.input_format is Format.CSV
    if split_type != assemble or (is_csv and split_type != "Line"):
        allowed = "both be Line" if is_csv else "be the same"
        raise ValidationException(
            f"Invalid DataProcessing: to join the output with the input, SplitType {split_type} "
            f"and AssembleWith {assemble} must {allowed}"
        )


def processing(request: Mapping[str, Any]) -> Processing:
    """Return what a request, or the description of a job, says of filters and joins.

    Raises
    ------
    ValidationException
        A filter is no path.
    """
    asked, given = request.get("DataProcessing", {}), request["TransformInput"]
    is_joined = asked.get("JoinSource", "None") == "Input"
    input_format = format_of(given.get("ContentType", ""))
    accept = request["TransformOutput"].get("Accept")
    output_format = format_of(accept) if accept else (input_format if is_joined else None)
    return Processing(
        input_filter=_read("InputFilter", asked.get("InputFilter", "$")),
        output_filter=_read("OutputFilter", asked.get("OutputFilter", "$")),
        is_joined=is_joined,
        input_format=input_format,
        output_format=output_format,
        is_split=given.get("SplitType", "None") != "None",
        is_identified=request.get("DataCaptureConfig", {}).get("GenerateInferenceId", False),
    )


def _read(member: str, text: str, *, rows: bool = False) -> JsonPath:
    try:
        path = JsonPath(text)
        if rows:
            path.refuse_names()
    except JsonPathError as error:
        raise ValidationException(f'Invalid {member}: "{text}". {error}') from error
    return path
