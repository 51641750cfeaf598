"""Drive a transform job: each object of its input through its model, the answers to S3.

The answers to an object are put together in a file, and the files become objects of S3 when all of
the input was tried: an object with a bad record has no output, the good ones have theirs, a job
stopped before stores nothing. A server that takes the job up goes on with the serve process that
still runs, and with the objects not yet answered.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matinee.sagemaker import failures, serving
from matinee.sagemaker.failures import JobFailedError
from matinee.sagemaker.jobs import Job, ServerClosing, StopRequested, work_folder
from matinee.sagemaker.model_server import InvocationError, ModelServer
from matinee.sagemaker.objects import InputObject, ObjectsError, UnreachableError, join_uri
from matinee.sagemaker.splitting import SplitError, bodies
from matinee.sagemaker.states import State

BATCH_STRATEGIES = {"MultiRecord": "MULTI_RECORD", "SingleRecord": "SINGLE_RECORD"}
_DEFAULTS: Mapping[str, Any] = {
    "MaxConcurrentTransforms": 1,
    "MaxPayloadInMB": 6,
    "BatchStrategy": "MULTI_RECORD",
}
_FAILURES_NAMED = 3
_FIRST_PAUSE_SECONDS = 0.1


class _ObjectFailedError(Exception):
    """An object of the input has no output; the message is a reason as in failures.py."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """How the objects are cut, sent and put together."""

    split_type: str
    strategy: str
    payload_bytes: int
    concurrency: int
    retries: int
    headers: Mapping[str, str]
    line_breaks: bool


def drive(job: Job) -> None:
    """Take a transform job from where it stands to its end."""
    try:
        job.check()
        if "TransformStartTime" not in job.resource.document:
            job.describe(TransformStartTime=job.context.clock())
        _run(job)
    except StopRequested:
        serving.end(job)
        job.move(State.STOPPED)


def _run(job: Job) -> None:
    resource = job.resource
    document, role = resource.document, resource.private["role"]
    source = document["TransformInput"]["DataSource"]["S3DataSource"]
    with failures.input_failures(source["S3Uri"], region=job.context.region, role=role):
        items = job.context.objects.inputs(source["S3DataType"], source["S3Uri"])
    client = document["ModelClientConfig"]
    server = serving.serving(
        job,
        resource.private["container"],
        _environment(document),
        client["InvocationsTimeoutInSeconds"],
    )
    plan = _plan(document, server.execution_parameters())
    failed: list[str] = []
    for item in items:
        job.check()
        try:
            _transform(job, server, plan, item)
        except _ObjectFailedError as error:
            failed.append(str(error))
        except JobFailedError as error:
            # Without a model server there is no use in the rest; what is done is kept.
            failed.insert(0, str(error))
            break
    _upload(job, items)
    if failed:
        raise JobFailedError(_reason(failed, len(items)))
    job.move(State.COMPLETED)


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


def _plan(document: Mapping[str, Any], preferred: Mapping[str, Any]) -> _Plan:
    # The request decides, then the container, then the defaults.
    chosen = {name: preferred.get(name) or value for name, value in _DEFAULTS.items()}
    chosen |= {name: document[name] for name in _DEFAULTS if document.get(name)}
    transform_input, output = document["TransformInput"], document["TransformOutput"]
    headers = {"Content-Type": transform_input.get("ContentType")}
    headers["Accept"] = output.get("Accept")
    is_single = chosen["BatchStrategy"] in {"SingleRecord", "SINGLE_RECORD"}
    return _Plan(
        split_type=transform_input["SplitType"],
        strategy="SingleRecord" if is_single else "MultiRecord",
        payload_bytes=int(chosen["MaxPayloadInMB"]) * 1024**2,
        concurrency=int(chosen["MaxConcurrentTransforms"]),
        retries=document["ModelClientConfig"]["InvocationsMaxRetries"],
        headers={name: value for name, value in headers.items() if value},
        line_breaks=output["AssembleWith"] == "Line",
    )


def _transform(job: Job, server: ModelServer, plan: _Plan, item: InputObject) -> None:
    """Leave the whole output of an object in its file, if it is not there yet."""
    output = _output_file(job, item)
    if output.exists():
        return
    source, partial = output.with_suffix(".input"), output.with_suffix(".partial")
    output.parent.mkdir(exist_ok=True)
    try:
        job.context.objects.download(item.bucket, item.key, source, check=job.check)
        with _mapped(source) as data, partial.open("wb") as file:
            for answer in _answers(job, server, plan, data):
                file.write(answer)
                if plan.line_breaks and not answer.endswith(b"\n"):
                    file.write(b"\n")
    except UnreachableError as error:
        raise JobFailedError(failures.object_reason(error)) from error
    except ObjectsError as error:
        raise _ObjectFailedError(failures.object_reason(error)) from error
    except SplitError as error:
        raise _ObjectFailedError(f"ClientError: {item.uri}: {error}") from error
    except InvocationError as error:
        serving.refuse_ended(job)
        is_clients = error.status is not None and 400 <= error.status < 500
        fault = "ClientError" if is_clients else "AlgorithmError"
        raise _ObjectFailedError(f"{fault}: {item.uri}: {error}") from error
    finally:
        source.unlink(missing_ok=True)
    partial.replace(output)


def _output_file(job: Job, item: InputObject) -> Path:
    # A key can be longer than a file's name may be, and a name can be another's folder.
    return work_folder(job.folder) / "output" / hashlib.sha256(item.name.encode()).hexdigest()


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap | bytes]:
    if path.stat().st_size == 0:  # which cannot be mapped
        yield b""
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def _answers(
    job: Job, server: ModelServer, plan: _Plan, data: mmap.mmap | bytes
) -> Iterator[bytes]:
    """Yield the answers in the order of the records, several requests under way at a time."""
    under_way: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(plan.concurrency, f"{job.name} invocation") as pool:
        try:
            cut = bodies(data, plan.split_type, plan.strategy, plan.payload_bytes)
            for body in cut:
                under_way.append(pool.submit(_invoke, job, server, plan, body))
                if len(under_way) >= plan.concurrency:
                    yield _result(job, under_way.popleft())
            while under_way:
                yield _result(job, under_way.popleft())
        except (StopRequested, ServerClosing):
            # Nobody waits for the other answers, which may take minutes.
            server.abort()
            raise


def _result(job: Job, answer: Future[bytes]) -> bytes:
    while True:
        with contextlib.suppress(TimeoutError):
            return answer.result(timeout=1.0)
        job.check()


def _invoke(job: Job, server: ModelServer, plan: _Plan, body: bytes) -> bytes:
    for attempt in range(plan.retries + 1):
        job.check()
        try:
            return server.invoke(body, plan.headers)
        except InvocationError as error:
            is_clients = error.status is not None and error.status < 500
            if is_clients or attempt == plan.retries:
                raise
            serving.refuse_ended(job)
            job.wait_for_change(job.changes, _FIRST_PAUSE_SECONDS * 2**attempt)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _upload(job: Job, items: list[InputObject]) -> None:
    prefix = job.resource.document["TransformOutput"]["S3OutputPath"]
    for item in items:
        output = _output_file(job, item)
        if output.exists():
            job.check()
            with failures.object_failures():
                job.context.objects.upload(output, join_uri(prefix, f"{item.name}.out"))


def _reason(failed: list[str], total: int) -> str:
    fault, _, text = failed[0].partition(": ")
    if len(failed) == 1:
        return f"{fault}: {text}"
    named = "; ".join(reason.partition(": ")[2] for reason in failed[:_FAILURES_NAMED])
    return f"{fault}: {len(failed)} of {total} objects failed: {named}"
