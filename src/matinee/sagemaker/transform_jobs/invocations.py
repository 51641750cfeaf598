"""Take objects through a model: fetched ahead, cut, asked for side by side, answered in order.

One instance of a transform job does all of its share in one go, so that the model has something to
do while objects are fetched and files are written, also where each object is a single request. The
answers to an object come together in a file, which gets its name when it is whole. An object with a
bad record is given up with a reason, and the others go on.
"""

from __future__ import annotations

import math
import mmap
import shutil
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from matinee.sagemaker import failures
from matinee.sagemaker.data.decompression import unzipped
from matinee.sagemaker.data.objects import InputObject, Objects, ObjectsError, UnreachableError
from matinee.sagemaker.failures import JobFailedError
from matinee.sagemaker.jobs import Job
from matinee.sagemaker.model_serving import serving
from matinee.sagemaker.model_serving.model_server import InvocationError, Pipeline
from matinee.sagemaker.transform_jobs.data_processing import InputError, OutputError, Processing
from matinee.sagemaker.transform_jobs.splitting import Body, SplitError, bodies

_FIRST_PAUSE_SECONDS = 0.1
_LOOK_SECONDS = 0.5
# How long the end of a process may take to be known that does not answer any more.
_PATIENCE_SECONDS = 1.0
# Objects that are fetched at a time, and that may wait to be asked for.
_FETCHERS = 4
_AHEAD_BYTES = 256 * 1024**2
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How objects are cut, sent and put together.

    Attributes
    ----------
    split_type, strategy
        As the job says it.
    payload_bytes
        What a request may have at most; infinity: objects are sent in chunks, whatever their size.
    concurrency
        Requests under way at a time.
    retries
        After a request's first try.
    content_type, accept
        Headers of the requests.
    line_breaks
        Whether each answer ends with a line break.
    is_gzip
        Whether the objects are compressed.
    processing
        Filters and joins.
    """

    split_type: str
    strategy: str
    payload_bytes: float
    concurrency: int
    retries: int
    content_type: str | None
    accept: str | None
    line_breaks: bool
    is_gzip: bool
    processing: Processing


@dataclass(slots=True)
class _Object:
    """One object on its way."""

    item: InputObject
    output: Path
    fetched: Future[None]
    file: BinaryIO | None = None
    # Why it has no output, as in failures.py
    reason: str = ""

    @property
    def source(self) -> Path:
        return self.output.with_suffix(".input")

    @property
    def partial(self) -> Path:
        return self.output.with_suffix(".partial")


@dataclass(slots=True)
class _Step:
    """What is due for an object: an answer, or with None its end."""

    of: _Object
    answer: Future[bytes | Path] | None = None


class Watch:
    """Raises what a job's ``check`` raises, and asks only when something has changed.

    Parameters
    ----------
    job
        Which job; a check of it reads the store.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._seen = -1

    def __call__(self) -> None:
        """Raise StopRequested or ServerClosing if nothing should go on; to every thread."""
        changes = self._job.changes
        if changes != self._seen:
            self._job.check()
            self._seen = changes


class Invocations:
    """The objects of one instance of a transform job, on their way through its model.

    Parameters
    ----------
    job
        Whose objects they are.
    instance
        The instance's processes.
    pipeline
        Their client.
    plan
        How it is done.
    objects
        S3.
    inference
        Makes an identifier and a time for an answer.
    """

    def __init__(
        self,
        job: Job,
        instance: Sequence[str],
        pipeline: Pipeline,
        plan: Plan,
        objects: Objects,
        inference: Callable[[], tuple[str, str]],
    ) -> None:
        self._job = job
        self._instance = instance
        self._pipeline = pipeline
        self._plan = plan
        headers = {"Content-Type": plan.content_type, "Accept": plan.accept}
        self._headers = {name: value for name, value in headers.items() if value}
        self._objects = objects
        self._inference = inference
        self._watch = Watch(job)
        self._is_over = threading.Event()
        # Answers come in order, so one file is open at a time.
        self._written: _Object | None = None

    def run(self, outputs: dict[InputObject, Path]) -> tuple[dict[InputObject, str], str]:
        """Leave the output of each object in its file.

        Parameters
        ----------
        outputs
            The file for each object's output.

        Returns
        -------
        tuple
            Why objects have no output; and why nothing more was tried, empty if all was: the model
            server ended, or S3 cannot be reached.

        Raises
        ------
        StopRequested, ServerClosing
        """
        reasons: dict[InputObject, str] = {}
        try:
            self._run(outputs, reasons)
        except JobFailedError as error:
            return reasons, str(error)
        finally:
            self._pipeline.close()
        return reasons, ""

    def _run(self, outputs: dict[InputObject, Path], reasons: dict[InputObject, str]) -> None:
        plan = self._plan
        name = f"{self._job.name} {self._instance[0]}"
        with (
            ThreadPoolExecutor(plan.concurrency, f"{name} invocation") as pool,
            ThreadPoolExecutor(_FETCHERS, f"{name} download") as fetchers,
        ):
            under_way: deque[_Step] = deque()
            asked = 0
            try:
                for step in self._steps(outputs, pool, fetchers):
                    under_way.append(step)
                    asked += step.answer is not None
                    # Twice as many as are asked for at a time: none has to wait for the first.
                    while asked >= 2 * plan.concurrency:
                        asked -= under_way[0].answer is not None
                        self._take(under_way.popleft(), reasons)
                for step in under_way:
                    self._take(step, reasons)
            except BaseException:
                # Nobody waits for the other answers, which may take minutes.
                self._is_over.set()
                self._pipeline.abort()
                if self._written is not None:
                    self._close(self._written)
                fetchers.shutdown(wait=False, cancel_futures=True)
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _steps(
        self,
        outputs: dict[InputObject, Path],
        pool: ThreadPoolExecutor,
        fetchers: ThreadPoolExecutor,
    ) -> Iterator[_Step]:
        for one in self._fetched(outputs, fetchers):
            try:
                for body in self._bodies(one):
                    if one.reason:
                        break
                    yield _Step(one, pool.submit(self._answer, one, body))
            except SplitError as error:
                self._give_up(one, f"ClientError: {one.item.uri}: {error}")
            yield _Step(one)

    def _fetched(
        self, outputs: dict[InputObject, Path], fetchers: ThreadPoolExecutor
    ) -> Iterator[_Object]:
        """Yield the objects in order, each when it is there, while the next are being fetched."""
        coming: deque[_Object] = deque()
        for item, output in outputs.items():
            coming.append(_Object(item, output, fetchers.submit(self._fetch, item, output)))
            while len(coming) > _FETCHERS or (coming and self._has_enough(coming)):
                yield self._awaited(coming.popleft())
        while coming:
            yield self._awaited(coming.popleft())

    def _has_enough(self, coming: deque[_Object]) -> bool:
        waiting = [one.source for one in coming if one.fetched.done()]
        return sum(path.stat().st_size for path in waiting if path.exists()) > _AHEAD_BYTES

    def _awaited(self, one: _Object) -> _Object:
        try:
            self._result(one.fetched)
        except UnreachableError as error:
            raise JobFailedError(failures.object_reason(error)) from error
        except ObjectsError as error:
            self._give_up(one, failures.object_reason(error))
        except (EOFError, zlib.error) as error:
            self._give_up(one, f"ClientError: {one.item.uri}: {error}")
        return one

    def _fetch(self, item: InputObject, output: Path) -> None:
        path = output.with_suffix(".input")
        if self._plan.is_gzip:
            chunks = self._objects.chunks(item.bucket, item.key, check=self._check)
            with path.open("wb") as file:
                for piece in unzipped(chunks):
                    file.write(piece)
        else:
            self._objects.download(item.bucket, item.key, path, check=self._check)

    def _bodies(self, one: _Object) -> Iterator[Body]:
        """Cut an object that is there; its file goes, and what is still asked for stays mapped."""
        if one.reason:
            return
        plan = self._plan
        data: mmap.mmap | bytes = b""
        if one.source.stat().st_size:  # nothing cannot be mapped
            with one.source.open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        one.source.unlink()
        # Shows that it is being asked for.
        one.partial.touch()
        yield from bodies(data, plan.split_type, plan.strategy, plan.payload_bytes)

    def _answer(self, one: _Object, body: Body) -> bytes | Path:
        """Ask for one body, and again where it may help."""
        plan = self._plan
        asked = plan.processing.request(body)
        for attempt in range(plan.retries + 1):
            self._check()
            try:
                if math.isinf(plan.payload_bytes) and plan.strategy == "MultiRecord":
                    return self._stream(one, asked)
                answer = self._pipeline.invoke(asked, self._headers)
            except InvocationError as error:
                is_clients = error.status is not None and error.status < 500
                if is_clients or attempt == plan.retries:
                    raise
                serving.refuse_ended(self._job, self._instance)
                self._is_over.wait(_FIRST_PAUSE_SECONDS * 2**attempt)
            else:
                return plan.processing.answer(
                    body, answer.body, answer.content_type, self._inference
                )
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _stream(self, one: _Object, body: Body) -> Path:
        path = one.output.with_suffix(".answer")
        with path.open("wb") as file:
            self._pipeline.invoke(body, self._headers, in_chunks=True, sink=file)
        return path

    def _take(self, step: _Step, reasons: dict[InputObject, str]) -> None:
        one = step.of
        if step.answer is not None:
            if one.reason:
                step.answer.cancel()
                return
            try:
                answer = self._result(step.answer)
            except (InputError, OutputError) as error:
                fault = "ClientError" if isinstance(error, InputError) else "AlgorithmError"
                self._give_up(one, f"{fault}: {one.item.uri}: {error}")
            except InvocationError as error:
                patience = _PATIENCE_SECONDS if error.status is None else 0.0
                serving.refuse_ended(self._job, self._instance, patience)
                is_clients = error.status is not None and 400 <= error.status < 500
                fault = "ClientError" if is_clients else "AlgorithmError"
                self._give_up(one, f"{fault}: {one.item.uri}: {error}")
            else:
                self._write(one, answer)
        elif one.reason:
            reasons[one.item] = one.reason
        else:
            self._file(one)
            self._close(one)
            one.partial.replace(one.output)

    def _write(self, one: _Object, answer: bytes | Path) -> None:
        file = self._file(one)
        if isinstance(answer, Path):
            with answer.open("rb") as source:
                shutil.copyfileobj(source, file, 1024**2)
                source.seek(max(0, source.tell() - 1))
                last = source.read()
            answer.unlink()
        else:
            file.write(answer)
            last = answer[-1:]
        if self._plan.line_breaks and last != b"\n":
            file.write(b"\n")

    def _file(self, one: _Object) -> BinaryIO:
        if one.file is None:
            one.file = one.partial.open("wb")
            self._written = one
        return one.file

    def _give_up(self, one: _Object, reason: str) -> None:
        one.reason = reason
        self._close(one)
        for path in (one.source, one.partial):
            path.unlink(missing_ok=True)

    def _close(self, one: _Object) -> None:
        if one.file is not None:
            one.file.close()

    def _result(self, future: Future[Result]) -> Result:
        while True:
            try:
                return future.result(timeout=_LOOK_SECONDS)
            except TimeoutError:
                if future.done():
                    raise
                self._watch()

    def _check(self) -> None:
        """End what a thread of this instance does for nobody."""
        self._watch()
        if self._is_over.is_set():
            raise JobFailedError("InternalServerError: the instance has given up")
