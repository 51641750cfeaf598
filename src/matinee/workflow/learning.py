"""What a run's training jobs told of themselves: learning curves and a tuning job's trials.

Curves are read off the log lines that the algorithm writes (`#quality_metric: ...`, the same on AWS
and here) through CloudWatch Logs: CloudWatch's own metrics keep one value a minute, which is less
than a point an epoch. A job whose log is gone, or is not written so, has no curves; refuses
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypedDict

from botocore.exceptions import ClientError

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
# Of each epoch the train channel, and validation where there is one; the test channel at the end.
_MEASURED = re.compile(
    r"#quality_metric: host=(?P<host>[^,]+), (?:epoch=(?P<epoch>\d+), (?P<channel>train|validation)"
    r"|(?P<last>test)) (?P<metric>\w+) <loss>=(?P<value>\S+)"
)


class Curve(TypedDict):
    """A metric of a channel on one host, by epoch from 0; of `test` the last epoch alone."""

    host: str
    channel: str
    metric: str
    epochs: list[int]
    values: list[float]


class Trial(TypedDict):
    """A training job of a tuning job; `objective` is None if it has none."""

    job: str
    status: str
    objective: float | None
    hyperparameters: dict[str, float]


class Trials(TypedDict):
    """A tuning job's trials in the order of their creation, and what they were to reach."""

    metric: str
    minimize: bool
    trials: list[Trial]


def learning_curves(training_job: str, logs: Any) -> list[Curve]:
    """Read the curves of a training job.

    Parameters
    ----------
    training_job : str
        Its name.
    logs
        A boto3 CloudWatch Logs client.

    Returns
    -------
    list of Curve
        In the order in which their first lines stand in the log; values that are no finite number
        are left out.
    """
    curves: dict[tuple[str, str, str], Curve] = {}
    epoch = 0
    for line in _lines(training_job, logs):
        found = _MEASURED.search(line)
        if found is None:
            continue
        try:
            value = float(found["value"])
        except ValueError:
            continue
        if not abs(value) < float("inf"):
            continue
        channel = found["channel"] or found["last"]
        if found["epoch"] is not None:
            epoch = int(found["epoch"])
        key = found["host"], channel, found["metric"]
        new: Curve = {
            "host": key[0], "channel": key[1], "metric": key[2], "epochs": [], "values": []
        }  # fmt: skip
        curve = curves.setdefault(key, new)
        curve["epochs"].append(epoch)
        curve["values"].append(value)
    return list(curves.values())


def tuning_trials(tuning_job: str, sagemaker: Any) -> Trials:
    """List the trials of a tuning job.

    Parameters
    ----------
    tuning_job : str
        Its name.
    sagemaker
        A boto3 SageMaker client.
    """
    described = sagemaker.describe_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=tuning_job
    )
    objective = described["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    pages = sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
        HyperParameterTuningJobName=tuning_job, SortBy="CreationTime", SortOrder="Ascending"
    )
    return {
        "metric": objective["MetricName"],
        "minimize": objective["Type"] == "Minimize",
        "trials": [_trial(job) for page in pages for job in page["TrainingJobSummaries"]],
    }


def _trial(job: dict[str, Any]) -> Trial:
    reached = job.get("FinalHyperParameterTuningJobObjectiveMetric")
    numbers = {}
    for name, text in job["TunedHyperParameters"].items():
        try:
            # SageMaker quotes the values of some ranges.
            numbers[name] = float(text.strip('"'))
        except ValueError:
            continue
    return {
        "job": job["TrainingJobName"],
        "status": job["TrainingJobStatus"],
        "objective": None if reached is None else reached["Value"],
        "hyperparameters": numbers,
    }


def _lines(training_job: str, logs: Any) -> Iterator[str]:
    """Yield the lines of all hosts, host by host."""
    try:
        streams = [
            stream["logStreamName"]
            for page in logs.get_paginator("describe_log_streams").paginate(
                logGroupName=LOG_GROUP, logStreamNamePrefix=f"{training_job}/"
            )
            for stream in page["logStreams"]
        ]
        for stream in streams:
            yield from _stream(stream, logs)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise


def _stream(stream: str, logs: Any) -> Iterator[str]:
    token: dict[str, str] = {}
    while True:
        page = logs.get_log_events(
            logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=True, **token
        )
        yield from (event["message"] for event in page["events"])
        # At the end the token that was given comes back.
        if page["nextForwardToken"] == token.get("nextToken"):
            return
        token = {"nextToken": page["nextForwardToken"]}
