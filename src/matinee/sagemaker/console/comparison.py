"""Training jobs side by side: curves, final metrics, hyperparameters; and the curves of one job."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from matinee.sagemaker.console import curves, kinds, texts
from matinee.sagemaker.console.frame import Frame, href
from matinee.sagemaker.context import Context
from matinee.sagemaker.monitoring.metric_search import MetricsError
from matinee.sagemaker.states import TRAINING_JOB, state_of
from matinee.sagemaker.store import Resource

MOST_JOBS = 8


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that is said of every job; empty for one that it is not known of."""

    label: str
    values: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether it is not the same of all."""
        return len(set(self.values)) > 1


def routes(context: Context, frame: Frame) -> list[Route]:
    """Return the routes of the comparison and of curves."""

    def show(request: Request) -> Response:
        jobs, missing = _jobs(context, request)
        is_short = request.query_params.get("only") == "differences"
        names = [job.name for job in jobs]
        tables = [
            (title, rows)
            for title, found in _tables(jobs)
            if (rows := [row for row in found if row.differs or not is_short])
        ]
        return frame.render(
            request,
            "compare.html",
            title="Compare training jobs",
            jobs=jobs,
            missing=missing,
            most=MOST_JOBS,
            tables=tables,
            is_short=is_short,
            charts=f"{href('compare', 'curves')}?{_query(names)}",
            all_rows=f"?{_query(names)}",
            differences=f"?{_query(names)}&only=differences",
            is_live=any(not state_of(job).is_terminal for job in jobs),
        )

    def draw(request: Request) -> Response:
        jobs, _ = _jobs(context, request)
        is_live = any(not state_of(job).is_terminal for job in jobs)
        try:
            figures = curves.of_jobs(context, jobs)
        except MetricsError as error:
            raise HTTPException(503, str(error)) from error
        return JSONResponse({"figures": figures, "is_live": is_live})

    return [Route("/compare", show), Route("/compare/curves", draw)]


def curves_href(job: Resource) -> str:
    """Return where a job's curves are."""
    return f"{href('compare', 'curves')}?{_query([job.name])}"


def _query(names: Sequence[str]) -> str:
    return urlencode([("job", name) for name in names])


def _jobs(context: Context, request: Request) -> tuple[list[Resource], list[str]]:
    """Return the jobs that a request names, and the names that are of none."""
    names = list(dict.fromkeys(request.query_params.getlist("job")))
    if len(names) > MOST_JOBS:
        raise HTTPException(400, f"{len(names)} jobs are too many to compare: at most {MOST_JOBS}")
    found = {name: context.store.get(TRAINING_JOB.name, name) for name in names}
    return (
        [job for job in found.values() if job is not None],
        [name for name, job in found.items() if job is None],
    )


def _tables(jobs: Sequence[Resource]) -> list[tuple[str, list[Row]]]:
    def rows(read: Callable[[Resource], Mapping[str, str]]) -> list[Row]:
        known = [read(job) for job in jobs]
        labels = sorted({label for values in known for label in values})
        return [Row(label, tuple(values.get(label, "") for values in known)) for label in labels]

    return [
        ("Jobs", _outcome(jobs)),
        ("Final metrics", rows(_metrics)),
        ("Hyperparameters", rows(lambda job: job.document["HyperParameters"])),
        ("Inputs", rows(_inputs)),
    ]


def _outcome(jobs: Sequence[Resource]) -> list[Row]:
    readers: dict[str, Callable[[Resource], str]] = {
        "Status": lambda job: job.status,
        "Created (UTC)": lambda job: texts.moment(job.created),
        "Took": lambda job: texts.duration(kinds.seconds(job)),
        "Image": lambda job: str(job.document["AlgorithmSpecification"]["TrainingImage"]),
    }
    return [Row(label, tuple(read(job) for job in jobs)) for label, read in readers.items()]


def _metrics(job: Resource) -> dict[str, str]:
    finals: list[dict[str, Any]] = job.document.get("FinalMetricDataList", [])
    return {item["MetricName"]: texts.number(item["Value"]) for item in finals}


def _inputs(job: Resource) -> dict[str, str]:
    found = {}
    for channel in job.document.get("InputDataConfig", ()):
        source = channel["DataSource"].get("S3DataSource", channel["DataSource"])
        found[channel["ChannelName"]] = str(source.get("S3Uri", ""))
    return found
