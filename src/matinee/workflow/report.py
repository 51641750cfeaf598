"""The report step: one HTML file that shows what a run came to, the decision first.

Everything is in the file: it needs no network, and its policy forbids it any. It is made of the
run's own documents; what is not there is said to be missing, so that a run that broke off has a
report too. Ids, titles and names are hostile until escaped. Refuses documents that are no JSON.
"""

from __future__ import annotations

import base64
import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import boto3
import numpy as np
import pyarrow.parquet as pq
from botocore.exceptions import ClientError
from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from matinee.workflow import charts
from matinee.workflow.charts import PREDICTORS, Chart
from matinee.workflow.errors import ObjectsError
from matinee.workflow.learning import learning_curves, tuning_trials
from matinee.workflow.objects import Objects
from matinee.workflow.settings import Settings
from matinee.workflow.usage import job_usage

# What is drawn of the metrics that training reports.
_CURVE = "rmse"
_NONE = "\N{EM DASH}"
# Prices are the reader's to fill in: they differ by region and change.
_NO_PRICES: dict[str, Any] = {"date": "", "currency": "USD", "source": "", "per_hour": {}}


class Step(TypedDict):
    """What a step of the run took; None where it is not known."""

    name: str
    seconds: float
    peak_memory_mb: float | None
    instance_type: NotRequired[str | None]
    instance_count: NotRequired[int | None]
    billable_seconds: NotRequired[float | None]


class Reported(TypedDict):
    """Where the report lies."""

    run: str
    report: str


def write_report(settings: Settings, inputs: dict[str, Any]) -> Reported:
    """Write report.html into the run's folder.

    Parameters
    ----------
    settings : Settings
    inputs : dict
        As of `gather`.

    Returns
    -------
    Reported

    Raises
    ------
    ObjectsError
        If a document that is named is missing or no JSON.
    """
    run = inputs["run"]
    uri = f"{settings.folder(run)}/report.html"
    Objects().write_html(render(gather(settings, inputs)), uri)
    return {"run": run, "report": uri}


def gather(settings: Settings, inputs: dict[str, Any]) -> dict[str, Any]:
    """Bring together what the report says, as one JSON document.

    Parameters
    ----------
    settings : Settings
    inputs : dict
        `run`, and if there are any: `summary`, `data_report`, `checks` and `decision`, URIs of
        those documents (the summary names the data report too); `steps`, a list of `Step`; and
        `prices`, an object of `date`, `currency`, `source` and `per_hour` (instance type to the
        price of an hour), to start the table of costs with.

    Returns
    -------
    dict
        What `render` takes.

    Raises
    ------
    ObjectsError
        If a document that is named is missing or no JSON.
    """
    objects = Objects()
    run = inputs["run"]
    document: dict[str, Any] = {"run": run, "settings": settings.to_parameters()}
    for name in ("summary", "checks", "decision"):
        document[name] = objects.read_json(inputs[name]) if inputs.get(name) else None
    summary = document["summary"] or {}
    artifacts = summary.get("artifacts", {})
    data_report = inputs.get("data_report") or artifacts.get("report")
    document["data"] = objects.read_json(data_report) if data_report else None
    document["activity"] = {
        name: _activity(objects, artifacts[name]) for name in ("customers", "videos") if artifacts
    }
    document["steps"] = list(inputs.get("steps") or ())
    document["prices"] = {**_NO_PRICES, **(inputs.get("prices") or {})}
    sagemaker = boto3.client("sagemaker")
    document["usage"] = [*job_usage(run, sagemaker), *_usage_of_steps(document["steps"])]
    training = summary.get("training", {})
    document["curves"] = learning_curves(training["job"], boto3.client("logs")) if training else []
    document["trials"] = _trials(training.get("tuning_job"), sagemaker)
    return document


def render(document: Mapping[str, Any]) -> str:
    """Return the report as HTML; `document` is as of `gather`."""
    environment = Environment(
        loader=PackageLoader("matinee.workflow"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, cell=_cell, interval=_interval)
    scripts = [get_plotlyjs(), environment.get_template("report.js").render()]
    drawn = _charts(document)
    page: str = environment.get_template("report.html").render(
        **document,
        predictors=PREDICTORS,
        verdict=verdict(document),
        charts=drawn,
        figures={chart.name: chart.figure for chart in drawn.values()},
        style=environment.get_template("report.css").render(),
        scripts=scripts,
        policy=_policy(scripts),
    )
    return page


def verdict(document: Mapping[str, Any]) -> str | None:
    """Say in a sentence whether the model beats the biases; None without metrics."""
    metrics = (document["summary"] or {}).get("metrics")
    if not metrics:
        return None
    model, bias = metrics["model"]["rmse"], metrics["bias"]["rmse"]
    beside = f"RMSE {model:.4f} on {metrics['rows']:,} test ratings, {bias:.4f} of the biases alone"
    bound = metrics.get("intervals", {}).get("differences", {}).get("bias", {}).get("rmse")
    if bound is None:
        return f"{beside}."
    low, high = bound
    difference = f"the difference is between {low:+.4f} and {high:+.4f} (95 % interval)"
    if high < 0:
        return f"The model is better than biases of customers and videos: {beside}; {difference}."
    if low > 0:
        return f"The model is worse than biases of customers and videos: {beside}; {difference}."
    return (
        "The model is not distinguishable from biases of customers and videos:"
        f" {beside}; {difference}."
    )


def _charts(document: Mapping[str, Any]) -> dict[str, Chart]:
    drawn: list[Chart] = []
    data = document["data"]
    if data is not None:
        drawn += [charts.funnel(data["funnel"]), charts.stars(data["stars"])]
    if document["activity"]:
        drawn.append(charts.activity(document["activity"]))
    if any(curve["metric"] == _CURVE for curve in document["curves"]):
        drawn.append(charts.learning(document["curves"], _CURVE))
    trials = document["trials"]
    if trials is not None and any(trial["objective"] is not None for trial in trials["trials"]):
        drawn += [charts.best_so_far(trials), charts.parallel_coordinates(trials)]
    metrics = (document["summary"] or {}).get("metrics")
    if metrics:
        drawn.append(charts.errors(metrics))
        drawn += [
            charts.segments(name, title, metrics["segments"][name], x)
            for name, title, x in (
                (
                    "customers",
                    "RMSE by how well the customer is known",
                    "the customer's training ratings",
                ),
                ("videos", "RMSE by how well the video is known", "the video's training ratings"),
                ("stars", "RMSE by the stars that were given", "stars given"),
            )
        ]
        drawn.append(charts.calibration(metrics["calibration"]))
    if document["steps"]:
        drawn.append(charts.seconds(document["steps"]))
    return {chart.name: chart for chart in drawn}


def _activity(objects: Objects, uri: str) -> list[int]:
    """Count the rows of an index table by their ratings: 1, 2 to 3, 4 to 7 and so on."""
    counts = np.zeros(64, np.int64)
    with tempfile.TemporaryDirectory(prefix="matinee-report-") as scratch:
        path = Path(scratch) / "index.parquet"
        objects.download(uri, path)
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["ratings"]):
                # frexp gives the exponent without rounding: 2^(e-1) <= n < 2^e.
                _, exponents = np.frexp(batch.column("ratings").to_numpy().astype(np.float64))
                counts += np.bincount(exponents - 1, minlength=len(counts))
    return [int(count) for count in counts[: counts.nonzero()[0].max() + 1]]


def _usage_of_steps(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Return what steps that are no training or transform jobs are billed for."""
    return [
        {
            "job": step["name"],
            "kind": "step",
            "status": "",
            "instance_type": step["instance_type"],
            "instance_count": step.get("instance_count") or 1,
            "billable_seconds": step["billable_seconds"],
        }
        for step in steps
        if step.get("billable_seconds") is not None and step.get("instance_type")
    ]


def _trials(tuning_job: str | None, sagemaker: Any) -> Any:
    if tuning_job is None:
        return None
    try:
        return tuning_trials(tuning_job, sagemaker)
    except ClientError as error:
        raise ObjectsError(f"tuning job {tuning_job} cannot be described: {error}") from error


def _policy(scripts: Sequence[str]) -> str:
    """Return a policy that runs these scripts and loads nothing."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )


def _number(value: float | None, places: int = 0) -> str:
    return _NONE if value is None else f"{value:,.{places}f}"


def _cell(value: Any) -> str:
    """Return a table's cell as text: whole numbers with separators, others to four places."""
    if value is None:
        return _NONE
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) >= 1000 else f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _interval(bound: Sequence[float] | None, places: int = 4) -> str:
    return _NONE if bound is None else f"{bound[0]:.{places}f} to {bound[1]:.{places}f}"
