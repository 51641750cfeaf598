"""Asynchronous inference: a request taken now, its answer an object of S3 later.

A request that was acknowledged is in the store until its answer, or its error, is in S3; a server
that starts goes on with those it finds, so a model may be asked twice and the object is written
over. What waits is answered in the order it came, so many at a time as the endpoint says.
"""

from __future__ import annotations

import base64
import logging
import mmap
import threading
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinee.sagemaker.data.objects import ObjectsError, UnreachableError, join_uri, parse_uri
from matinee.sagemaker.endpoints.hosting_states import KIND as ENDPOINT
from matinee.sagemaker.endpoints.hosting_traffic import NoEndpointError, NoInstanceError, Ticket
from matinee.sagemaker.errors import ValidationError
from matinee.sagemaker.model_serving.model_server import InvocationError, ModelServer, Pipeline
from matinee.sagemaker.store import Query, Resource

if TYPE_CHECKING:
    from matinee.sagemaker.context import Context
    from matinee.sagemaker.endpoints.hosting import Hosting

log = logging.getLogger(__name__)

KIND = "AsyncInvocation"
PENDING = "Pending"
MAX_BODY_BYTES = 128_000
# The API's own words: 6 hours and 15 minutes.
DEFAULT_TTL_SECONDS, DEFAULT_TIMEOUT_SECONDS = 21_600, 900
# "If no value is provided, SageMaker chooses an optimal value."
DEFAULT_CONCURRENCY = 4
_LOOK_SECONDS = 1.0
# Of an endpoint's requests, how many are read ahead of those that run.
_AHEAD = 16
_PASSED_ON = {
    "ContentType": "Content-Type",
    "Accept": "Accept",
    "CustomAttributes": "X-Amzn-SageMaker-Custom-Attributes",
}


class _FailedError(Exception):
    """The request has no answer; the message is what its error object says."""


def accept(
    context: Context, request: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Take a request; when this returns it is stored.

    Parameters
    ----------
    context
        The server's surroundings.
    request
        InvokeEndpointAsync's.
    settings
        The endpoint's: its AsyncInferenceConfig, and the role that may read and write in S3.

    Raises
    ------
    ValidationError
        It has not exactly one of InputLocation and Body, or a body that is too large.
    """
    body: bytes = request.get("Body", b"")
    if ("InputLocation" in request) == bool(body):
        raise ValidationError("InvokeEndpointAsync takes either an InputLocation or a Body.")
    if len(body) > MAX_BODY_BYTES:
        raise ValidationError(
            f"The Body has {len(body)} bytes, and may have {MAX_BODY_BYTES}; use an InputLocation."
        )
    if "InputLocation" in request:
        try:
            parse_uri(request["InputLocation"])
        except ValueError as error:
            raise ValidationError(f"InputLocation: {error}") from error
    name, now = context.new_id(), context.clock()
    config = settings["AsyncInferenceConfig"]
    output = config["OutputConfig"]
    folder = request.get("S3OutputPathExtension", "").strip("/")
    if ".." in folder.split("/"):
        raise ValidationError(f"S3OutputPathExtension {folder!r} must not climb out by '..'.")
    file = request.get("Filename", f"{name}.out")
    answer = {
        "InferenceId": request.get("InferenceId", name),
        "OutputLocation": join_uri(output["S3OutputPath"], f"{folder}/{file}" if folder else file),
    }
    if "S3FailurePath" in output:
        answer["FailureLocation"] = join_uri(output["S3FailurePath"], f"{name}-error.out")
    kept = {member: value for member, value in request.items() if member != "Body"}
    private = {
        "request": kept,
        "body": base64.b64encode(body).decode(),
        "answer": answer,
        "role": settings["role"],
        "concurrency": config.get("ClientConfig", {}).get(
            "MaxConcurrentInvocationsPerInstance", DEFAULT_CONCURRENCY
        ),
    }
    endpoint_arn = context.arn(f"endpoint/{request['EndpointName']}")
    arn = f"{endpoint_arn}/async-invocation/{name}"
    context.store.insert(Resource(KIND, name, arn, PENDING, now, now, {}, private, endpoint_arn))
    context.hosting.queue.wake()
    return answer


def forget(context: Context, endpoint_arn: str) -> None:
    """Drop what an endpoint that is deleted did not answer."""
    for record in context.store.find(KIND, parent=endpoint_arn):
        context.store.delete(KIND, record.name)


class Queue:
    """Answers what waits, in threads of its own.

    Parameters
    ----------
    hosting
        Whose endpoints are asked.
    """

    def __init__(self, hosting: Hosting) -> None:
        self._hosting = hosting
        self._woken = threading.Event()
        self._lock = threading.Lock()
        self._running: dict[str, str] = {}

    def wake(self) -> None:
        """Look at what waits now."""
        self._woken.set()

    def run(self, context: Context) -> None:
        """Answer requests until this server ends."""
        while not self._hosting.closing.is_set():
            self._woken.clear()
            try:
                is_waiting = self._start(context)
            except Exception:
                # The database may be away, say; it is tried again.
                log.exception("the queue of asynchronous invocations")
                is_waiting = True
            self._woken.wait(_LOOK_SECONDS if is_waiting else None)

    def _start(self, context: Context) -> bool:
        """Start what may run; return whether more waits."""
        is_waiting = False
        for endpoint in context.store.find(ENDPOINT):
            # Before the store is read: one that ends meanwhile is not there any more.
            with self._lock:
                running = {name for name, arn in self._running.items() if arn == endpoint.arn}
            query = Query(kind=KIND, parent=endpoint.arn, status=PENDING, order="created")
            # Not all of them: thousands may wait, each with a body.
            found = context.store.page(query, len(running) + _AHEAD)
            ready = [record for record in found if record.name not in running]
            for busy, record in enumerate(ready, len(running)):
                if busy >= record.private["concurrency"]:
                    break
                with self._lock:
                    self._running[record.name] = endpoint.arn
                # Daemons: an answer may take an hour, and the server's end must not wait for it.
                threading.Thread(target=self._answer, args=(context, record), daemon=True).start()
                # There may be more than were read.
                self.wake()
            is_waiting = is_waiting or bool(found)
        return is_waiting

    def _answer(self, context: Context, record: Resource) -> None:
        try:
            if _answered(context, record):
                context.store.delete(KIND, record.name)
        except Exception:
            if not self._hosting.closing.is_set():
                log.exception("asynchronous invocation %s; it is tried again", record.name)
                self._hosting.closing.wait(_LOOK_SECONDS)
        finally:
            with self._lock:
                del self._running[record.name]
            self.wake()


def _answered(context: Context, record: Resource) -> bool:
    """Answer a request, with an object or an error object; return False to try again later."""
    request, answer = record.private["request"], record.private["answer"]
    traffic = context.hosting.traffic
    seconds = request.get("RequestTTLSeconds", DEFAULT_TTL_SECONDS)
    folder = context.folder / "async"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    asked, answered = (folder / f"{record.name}.{suffix}" for suffix in ("asked", "answered"))
    try:
        if context.clock() - record.created > timedelta(seconds=seconds):
            raise _FailedError(f"The request was not processed within {seconds} seconds.")
        ticket = traffic.take(request["EndpointName"])
        try:
            _invoke(context, ticket, record, asked, answered)
        finally:
            traffic.give_back(ticket)
        context.objects_for(record.private["role"]).upload(answered, answer["OutputLocation"])
    except (NoEndpointError, NoInstanceError):
        context.hosting.closing.wait(_LOOK_SECONDS)
        return False
    except UnreachableError as error:
        log.warning("asynchronous invocation %s waits for S3: %s", record.name, error)
        context.hosting.closing.wait(_LOOK_SECONDS)
        return False
    except (_FailedError, ObjectsError) as error:
        return _store_failure(context, record, answered, str(error))
    finally:
        for path in (asked, answered):
            path.unlink(missing_ok=True)
    return True


def _invoke(
    context: Context, ticket: Ticket, record: Resource, asked: Path, answered: Path
) -> None:
    """Leave the answer in a file."""
    request = record.private["request"]
    timeout = request.get("InvocationTimeoutSeconds", DEFAULT_TIMEOUT_SECONDS)
    headers = {name: request[member] for member, name in _PASSED_ON.items() if member in request}
    headers["X-Amzn-SageMaker-Inference-Id"] = record.private["answer"]["InferenceId"]
    pipeline = Pipeline(
        [
            ModelServer(port, timeout, f"container {host}")
            for host, port in ticket.instance.containers
        ]
    )
    try:
        with answered.open("wb") as sink:
            pipeline.invoke(_input(context, record, asked), headers, sink=sink)
    except InvocationError as error:
        raise _FailedError(str(error)) from error
    finally:
        pipeline.close()


def _input(context: Context, record: Resource, path: Path) -> bytes | memoryview:
    location = record.private["request"].get("InputLocation")
    if location is None:
        return base64.b64decode(record.private["body"])
    context.objects_for(record.private["role"]).download(*parse_uri(location), path)
    if path.stat().st_size == 0:  # which cannot be mapped
        return b""
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _store_failure(context: Context, record: Resource, path: Path, reason: str) -> bool:
    log.warning("asynchronous invocation %s failed: %s", record.name, reason)
    target = record.private["answer"].get("FailureLocation")
    if target is not None:
        path.write_text(reason)
        try:
            context.objects_for(record.private["role"]).upload(path, target)
        except UnreachableError:
            context.hosting.closing.wait(_LOOK_SECONDS)
            return False
        except ObjectsError as error:
            log.warning("asynchronous invocation %s: %s", record.name, error)
    return True
