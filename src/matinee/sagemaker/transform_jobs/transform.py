"""Drive a transform job: each object of its input through its model, the answers to S3.

The objects are dealt out to the job's instances in the order of their keys. The answers to an
object are put together in a file, and the files become objects of S3 when all of the input was
tried: an object with a bad record has no output, the good ones have theirs, a job stopped before
stores nothing. A server that takes the job up goes on with the serve processes that still run, and
with the objects not yet answered.
"""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from matinee.sagemaker import failures
from matinee.sagemaker.data.objects import InputObject, Objects, join_uri
from matinee.sagemaker.failures import JobFailedError
from matinee.sagemaker.jobs import Job, StopRequested, work_folder
from matinee.sagemaker.model_serving import serving
from matinee.sagemaker.model_serving.model_server import Pipeline
from matinee.sagemaker.monitoring import log_events
from matinee.sagemaker.states import State
from matinee.sagemaker.transform_jobs import transform_requests
from matinee.sagemaker.transform_jobs.invocations import Invocations, Plan, Watch
from matinee.sagemaker.transform_jobs.transform_requests import DATA_LOG, MAX_PAYLOAD_MB

BATCH_STRATEGIES = {"MultiRecord": "MULTI_RECORD", "SingleRecord": "SINGLE_RECORD"}
# A container may write it either way.
_STRATEGIES = {name: name for name in BATCH_STRATEGIES} | {
    value: name for name, value in BATCH_STRATEGIES.items()
}
_DEFAULTS: Mapping[str, Any] = {
    "MaxConcurrentTransforms": 1,
    "MaxPayloadInMB": 6,
    "BatchStrategy": "MULTI_RECORD",
}
_FAILURES_NAMED = 3
_UPLOADS = 8


def drive(job: Job) -> None:
    """Take a transform job from where it stands to its end."""
    try:
        job.check()
        if "TransformStartTime" not in job.resource.document:
            job.describe(TransformStartTime=job.context.clock())
        _run(job)
    except StopRequested:
        serving.end(job, _processes(job))
        job.move(State.STOPPED)


def _run(job: Job) -> None:
    resource = job.resource
    document, role = resource.document, resource.private["role"]
    source = document["TransformInput"]["DataSource"]["S3DataSource"]
    objects = job.context.objects_for(role)
    with failures.input_failures(source["S3Uri"], region=job.context.region, role=role):
        items = objects.inputs(source["S3DataType"], source["S3Uri"])
    # An instance without an object would start a model for nothing.
    instances = resource.private["instances"][: len(items)]
    pipelines = serving.serving(
        job,
        instances,
        resource.private["containers"],
        _environment(document),
        document["ModelClientConfig"]["InvocationsTimeoutInSeconds"],
    )
    plan = _plan(job, document, pipelines[0].execution_parameters())
    (job.folder / DATA_LOG).mkdir(exist_ok=True)
    outputs = {item: _output_file(job, item) for item in items}
    reasons, broken = _transform(job, instances, pipelines, plan, objects, outputs)
    stored = [item for item in items if outputs[item].exists()]
    _upload(job, objects, stored, outputs)
    for reason in broken:
        _log(job, reason)
    for item, reason in reasons.items():
        _log(job, f"{item.bucket}/{item.key}: {_sentence(reason, item)}")
    failed = [*broken, *(reasons[item] for item in items if item in reasons)]
    if failed:
        raise JobFailedError(_reason(failed, len(items)))
    job.move(State.COMPLETED)


def _processes(job: Job) -> list[str]:
    private = job.resource.private
    count = len(private["containers"])
    return [
        name for instance in private["instances"] for name in serving.processes(instance, count)
    ]


def _environment(document: Mapping[str, Any]) -> dict[str, str]:
    environment = {"SAGEMAKER_BATCH": "true", **document.get("Environment", {})}
    if "MaxPayloadInMB" in document:
        environment["SAGEMAKER_MAX_PAYLOAD_IN_MB"] = str(document["MaxPayloadInMB"])
    if "BatchStrategy" in document:
        environment["SAGEMAKER_BATCH_STRATEGY"] = BATCH_STRATEGIES[document["BatchStrategy"]]
    if "MaxConcurrentTransforms" in document:
        concurrency = document["MaxConcurrentTransforms"]
        environment["SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"] = str(concurrency)
    return environment


def _plan(job: Job, document: Mapping[str, Any], preferred: Mapping[str, Any]) -> Plan:
    # The request decides, then the container, then the defaults.
    chosen = {name: preferred.get(name) or value for name, value in _DEFAULTS.items()}
    chosen |= {name: document[name] for name in _DEFAULTS if document.get(name)}
    is_streamed = document.get("MaxPayloadInMB") == 0
    try:
        strategy = _STRATEGIES[chosen["BatchStrategy"]]
        payload, concurrency = int(chosen["MaxPayloadInMB"]), int(chosen["MaxConcurrentTransforms"])
        if not 0 < payload <= MAX_PAYLOAD_MB or concurrency < 1:
            raise ValueError("a value is out of range")
    except (KeyError, TypeError, ValueError) as error:
        raise JobFailedError(
            f"AlgorithmError: /execution-parameters: {json.dumps(preferred)[:200]}: "
            f"{type(error).__name__}: {error}"
        ) from error
    # What holds for a request holds for a container that asks for more.
    concurrency = min(concurrency, max(1, MAX_PAYLOAD_MB // payload))
    _log(
        job,
        f"MaxConcurrentTransforms={concurrency}, MaxPayloadInMB={0 if is_streamed else payload}, "
        f"BatchStrategy={BATCH_STRATEGIES[strategy]}",
    )
    transform_input, output = document["TransformInput"], document["TransformOutput"]
    return Plan(
        split_type=transform_input["SplitType"],
        strategy=strategy,
        payload_bytes=math.inf if is_streamed else payload * 1024**2,
        concurrency=concurrency,
        retries=document["ModelClientConfig"]["InvocationsMaxRetries"],
        content_type=transform_input.get("ContentType"),
        accept=output.get("Accept"),
        line_breaks=output["AssembleWith"] == "Line",
        is_gzip=transform_input["CompressionType"] == "Gzip",
        processing=transform_requests.processing(document),
    )


def _transform(
    job: Job,
    instances: Sequence[str],
    pipelines: Sequence[Pipeline],
    plan: Plan,
    objects: Objects,
    outputs: Mapping[InputObject, Path],
) -> tuple[dict[InputObject, str], list[str]]:
    """Take each instance's share through its model.

    Returns
    -------
    tuple
        Why objects have no output, and why instances gave up.
    """
    count = len(job.resource.private["containers"])
    missing = {item: output for item, output in outputs.items() if not output.exists()}
    (work_folder(job.folder) / "output").mkdir(exist_ok=True)
    with ThreadPoolExecutor(len(instances), f"{job.name} instance") as pool:
        shares = []
        for number, (instance, pipeline) in enumerate(zip(instances, pipelines, strict=True)):
            # Of all objects, not of the missing ones: the same whenever a server takes it up.
            mine = list(outputs)[number :: len(instances)]
            names = serving.processes(instance, count)
            share = Invocations(job, names, pipeline, plan, objects, _inference(job))
            shares.append(
                pool.submit(share.run, {item: missing[item] for item in mine if item in missing})
            )
    reasons: dict[InputObject, str] = {}
    broken = []
    for done in shares:
        found, given_up = done.result()
        reasons |= found
        if given_up:
            broken.append(given_up)
    return reasons, broken


def _inference(job: Job) -> Callable[[], tuple[str, str]]:
    start = f"{job.resource.document['TransformStartTime']:%Y-%m-%dT%H:%M:%SZ}"
    return lambda: (str(uuid.UUID(hex=job.context.new_id())), start)


def _output_file(job: Job, item: InputObject) -> Path:
    # A key can be longer than a file's name may be, and a name can be another's folder.
    return work_folder(job.folder) / "output" / hashlib.sha256(item.name.encode()).hexdigest()


def _upload(
    job: Job,
    objects: Objects,
    stored: Sequence[InputObject],
    outputs: Mapping[InputObject, Path],
) -> None:
    document, watch = job.resource.document, Watch(job)
    prefix = document["TransformOutput"]["S3OutputPath"]

    def upload(item: InputObject) -> None:
        watch()
        objects.upload(outputs[item], join_uri(prefix, f"{item.name}.out"))

    with failures.object_failures(), ThreadPoolExecutor(_UPLOADS, f"{job.name} upload") as pool:
        uploads = [pool.submit(upload, item) for item in stored]
        try:
            for done in uploads:
                done.result()
        finally:
            pool.shutdown(cancel_futures=True)
        if stored and "DataCaptureConfig" in document:
            _capture(job, objects, stored)


def _capture(job: Job, objects: Objects, stored: Sequence[InputObject]) -> None:
    """Store lists of the objects that were read and written, as manifests."""
    document = job.resource.document
    hour = f"{document['TransformStartTime']:%Y/%m/%d/%H}"
    first = stored[0]
    sources = first.uri.removesuffix(first.name)
    results = join_uri(document["TransformOutput"]["S3OutputPath"], "")
    destination = document["DataCaptureConfig"]["DestinationS3Uri"]
    names = [item.name for item in stored]
    for folder, prefix, listed in (
        ("input", sources, names),
        ("output", results, [f"{name}.out" for name in names]),
    ):
        path = work_folder(job.folder) / f"captured-{folder}"
        path.write_text(json.dumps([{"prefix": prefix}, *listed]))
        objects.upload(path, join_uri(destination, f"{folder}/{hour}/{job.name}.jsonl"))


def _log(job: Job, text: str) -> None:
    """Write a line to the data log."""
    folder, now = job.folder / DATA_LOG, job.context.clock()
    folder.mkdir(exist_ok=True)
    (folder / log_events.FILE_NAME).touch()
    stamp = f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03}"
    log_events.append(folder, int(now.timestamp() * 1000), f"{stamp}:[sagemaker logs]: {text}")


def _sentence(reason: str, item: InputObject) -> str:
    """Return a reason without its class and without the object, which is said before."""
    return reason.partition(": ")[2].removeprefix(f"{item.uri}: ")


def _reason(failed: Sequence[str], total: int) -> str:
    fault, _, text = failed[0].partition(": ")
    if len(failed) == 1:
        return f"{fault}: {text}"
    named = "; ".join(reason.partition(": ")[2] for reason in failed[:_FAILURES_NAMED])
    return f"{fault}: {len(failed)} of {total} objects failed: {named}"
