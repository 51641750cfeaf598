"""Drive a training job: its channels to its hosts, the algorithm's processes, its model to S3.

A server that takes a job up begins its download again, waits on for its processes, or uploads
again: never does an attempt train twice. An attempt that fails by a fault of this machine is
repeated as often as the job's RetryStrategy says, within one budget of time; one that a cluster's
lost machine ends, once in any case. Completed means that the model is in S3.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from matinee.sagemaker import failures, host_processes
from matinee.sagemaker.failures import HostLostError, JobFailedError
from matinee.sagemaker.jobs import Job, StopRequested
from matinee.sagemaker.monitoring import job_metrics
from matinee.sagemaker.monitoring.metric_search import MetricsError
from matinee.sagemaker.states import State
from matinee.sagemaker.training_jobs import artifacts, training_inputs, training_processes

log = logging.getLogger(__name__)

CHECKPOINTS_SECONDS = 3.0
KEYS_SECONDS = 60.0
_RETRYABLE = "InternalServerError"


def drive(job: Job) -> None:
    """Take a training job from the state it is in to its end."""
    while not (state := job.state).is_terminal:
        try:
            _STEPS[state](job)
            if state in _LAST:
                # A job that has ended may be deleted, and its name another job's, from now on.
                return
        except StopRequested:
            continue
        except JobFailedError as error:
            if not _may_retry(job, error):
                raise
            log.warning("training job %s is tried again: %s", job.name, error)
            with contextlib.suppress(StopRequested):
                job.move(State.STARTING, f"Starting the training job again after {error}")


def _may_retry(job: Job, error: JobFailedError) -> bool:
    document = job.resource.document
    retries = document.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0)
    if isinstance(error, HostLostError):
        retries = max(retries, job.context.compute.LOSS_RETRIES)
    starts = [item["Status"] for item in document["SecondaryStatusTransitions"]]
    return (
        str(error).startswith(_RETRYABLE)
        and starts.count(State.STARTING) <= retries
        and training_processes.seconds_left(document) > 0
        and job.state is not State.STOPPING
    )


def _begin(job: Job) -> None:
    # Of an attempt before this one.
    training_processes.clear(job)
    host_processes.place(job, job.resource.private["hosts"])
    started = job.resource.document.get("TrainingStartTime", job.context.clock())
    job.move(State.DOWNLOADING, "Downloading input data", TrainingStartTime=started)


def _download(job: Job) -> None:
    training_inputs.deliver(job)
    job.move(State.TRAINING, "Training image download completed. Training in progress.")


def _train(job: Job) -> None:
    training_processes.start(job)
    # A stop that came before there was a process to stop
    job.check()
    host_processes.wait(job, _Tending(job))
    job.check()
    try:
        training_processes.check_ends(job)
    except JobFailedError:
        _store_checkpoints(job, is_over=True, strict=False)
        raise
    _store_checkpoints(job, is_over=True, strict=True)
    job.move(State.UPLOADING, "Uploading generated training model")


class _Tending:
    """What a running job needs now and then: checkpoints stored, good keys, pipes that are fed."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._store_at = monotonic() + CHECKPOINTS_SECONDS
        self._renew_at = monotonic() + KEYS_SECONDS

    def __call__(self) -> None:
        training_processes.stop_unfed(self._job)
        if monotonic() >= self._store_at:
            _store_checkpoints(self._job, is_over=False, strict=False)
            self._store_at = monotonic() + CHECKPOINTS_SECONDS
        if monotonic() >= self._renew_at:
            training_processes.renew_keys(self._job)
            self._renew_at = monotonic() + KEYS_SECONDS


def _store_checkpoints(job: Job, *, is_over: bool, strict: bool) -> None:
    """Store what is new; a failure fails the job, or else is tried again the next time."""
    for name in job.resource.private["hosts"]:
        checkpoints = training_inputs.checkpoints_of(job, name)
        if checkpoints is None:
            return
        try:
            with failures.object_failures():
                checkpoints.upload(training_inputs.objects_of(job), is_over=is_over)
        except JobFailedError as error:
            if strict:
                raise
            log.warning("training job %s: a checkpoint is not stored: %s", job.name, error)


def _upload(job: Job) -> None:
    exceeded = host_processes.have_timed_out(job)
    artifacts.store(job, even_empty=not exceeded)
    metrics = _final_metrics(job)
    if exceeded:
        message = "Training job runtime exceeded MaxRuntimeInSeconds provided"
        job.move(State.MAX_RUNTIME_EXCEEDED, message, FinalMetricDataList=metrics)
    else:
        job.move(State.COMPLETED, "Training job completed", FinalMetricDataList=metrics)


def _stop(job: Job) -> None:
    host_processes.stop(job)
    host_processes.wait(job)
    training_processes.end_feeders(job)
    if host_processes.have_started(job):
        _store_checkpoints(job, is_over=True, strict=True)
        artifacts.store(job, even_empty=False)
    job.move(State.STOPPED, "Training job stopped", FinalMetricDataList=_final_metrics(job))


def _final_metrics(job: Job) -> list[dict[str, Any]]:
    try:
        points = job_metrics.of_job(job.context, job.resource)
    except MetricsError:
        # The training itself is as good as without.
        log.exception("training job %s ends without metrics", job.name)
        points = []
    return [
        {
            "MetricName": point.name,
            "Value": point.value,
            "Timestamp": datetime.fromtimestamp(point.timestamp_ms / 1000, UTC),
        }
        for point in job_metrics.last(points)
    ]


_LAST = {State.UPLOADING, State.STOPPING}
_STEPS: Mapping[State, Callable[[Job], None]] = {
    State.STARTING: _begin,
    State.DOWNLOADING: _download,
    State.TRAINING: _train,
    State.UPLOADING: _upload,
    State.STOPPING: _stop,
}
