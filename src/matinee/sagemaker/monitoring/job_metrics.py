"""Metrics as SageMaker takes them: numbers that regular expressions find in a job's log lines.

A line that does not match, or whose first group is no number CloudWatch takes, is no point. How
they are found without a caller's expression ever holding up the server: ``metric_search.py``.
"""

from __future__ import annotations

from collections.abc import Iterable

from matinee.sagemaker.context import Context
from matinee.sagemaker.jobs import job_folder, log_streams
from matinee.sagemaker.monitoring.metric_search import MetricPoint
from matinee.sagemaker.store import Resource


def of_job(context: Context, resource: Resource) -> list[MetricPoint]:
    """Return every value a training job has written so far, in the order of time.

    Parameters
    ----------
    context
        The server's surroundings.
    resource
        The job; running or ended.

    Raises
    ------
    MetricsError
        Its logs could not be searched.
    """
    definitions = resource.document["AlgorithmSpecification"].get("MetricDefinitions", ())
    folder = job_folder(context, resource)
    return context.metric_search.points(
        [folder / host for host in log_streams(resource).values()],
        [(item["Name"], item["Regex"]) for item in definitions],
    )


def last(points: Iterable[MetricPoint]) -> list[MetricPoint]:
    """Return the last point of each metric, in the order the metrics first appeared."""
    return list({point.name: point for point in points}.values())
