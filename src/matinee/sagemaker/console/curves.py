"""Metric curves of training jobs, as figures for plotly: one figure a metric, one line a job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matinee.sagemaker.context import Context
from matinee.sagemaker.monitoring import job_metrics
from matinee.sagemaker.monitoring.metric_search import MetricPoint
from matinee.sagemaker.store import Resource

MOST_POINTS = 500
# A tuning job's trials have their objective under this name too, besides its own.
_SECOND_NAME = "ObjectiveMetric"

Figure = dict[str, Any]


def of_jobs(context: Context, jobs: Sequence[Resource]) -> list[Figure]:
    """Return a figure for each metric that one of the jobs has written.

    A job's k-th value stands at k, so that jobs can be laid over each other however fast they were.

    Parameters
    ----------
    context
        The server's surroundings.
    jobs
        Training jobs, running or ended.

    Raises
    ------
    MetricsError
        Their logs could not be searched.
    """
    series: dict[str, dict[str, list[MetricPoint]]] = {}
    for job in jobs:
        for point in job_metrics.of_job(context, job):
            if point.name != _SECOND_NAME:
                series.setdefault(point.name, {}).setdefault(job.name, []).append(point)
    return [_figure(metric, lines, len(jobs) > 1) for metric, lines in series.items()]


def _figure(metric: str, lines: dict[str, list[MetricPoint]], is_comparison: bool) -> Figure:
    return {
        "title": metric,
        "data": [_line(job, points) for job, points in lines.items()],
        "layout": {
            "xaxis": {"title": {"text": "report"}},
            "showlegend": is_comparison,
        },
    }


def _line(job: str, points: Sequence[MetricPoint]) -> dict[str, Any]:
    # Every n-th value, and the last.
    step = -(-len(points) // MOST_POINTS)
    kept = list(range(0, len(points), step))
    if kept[-1] != len(points) - 1:
        kept.append(len(points) - 1)
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(kept) <= 30 else "lines",
        "name": job,
        "x": [number + 1 for number in kept],
        "y": [points[number].value for number in kept],
    }
