"""Runs that are there to recommend from: the one in service, one by its name, the latest.

The model package that an endpoint serves names the run that made it (CustomerMetadataProperties
`run` and `summary`), and a run's summary.json all that the run wrote. Refuses runs that have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from matinee.workflow.errors import ObjectsError
from matinee.workflow.objects import Objects
from matinee.workflow.parameters import PARAMETERS
from matinee.workflow.parts import Preprocessed

ENDPOINT = str(PARAMETERS["endpoint"].default)
OUTPUT = str(PARAMETERS["output"].default)
_MOST_LISTED = 10
_SUMMARY = "summary.json"
# What an endpoint is that never came into service, or goes; one that changes serves meanwhile.
_NOT_IN_SERVICE = ("Creating", "Failed", "Deleting")


@dataclass(frozen=True, slots=True)
class Run:
    """A run and what its summary says.

    Attributes
    ----------
    summary
        The document, as `evaluate` wrote it.
    found
        How it was found, for people.
    endpoint
        The endpoint that serves its model, if it was found by that.
    """

    summary: dict[str, Any]
    found: str
    endpoint: str | None = None

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self.summary["run"])

    @property
    def model(self) -> str:
        """URI of its model.tar.gz."""
        return str(self.summary["artifacts"]["model"])

    @property
    def preprocessed(self) -> Preprocessed:
        """What its preprocess step returned."""
        artifacts, left = self.summary["artifacts"], self.summary["funnel"][-1]
        ratings = artifacts["ratings"]
        preprocessed: Preprocessed = {
            "run": self.name,
            "ratings": ratings,
            "customers": artifacts["customers"],
            "videos": artifacts["videos"],
            "report": artifacts["report"],
            "customer_count": left["customers"],
            "video_count": left["videos"],
            "rating_counts": {
                split: sum(part["rows"] for part in parts) for split, parts in ratings.items()
            },
        }
        if "features" in artifacts:
            preprocessed["features"] = artifacts["features"]
        return preprocessed


def in_service(objects: Objects, sagemaker: Any, endpoint: str) -> Run | None:
    """Return the run whose model an endpoint serves; None if no such endpoint is in service.

    Parameters
    ----------
    objects : Objects
    sagemaker
        A boto3 SageMaker client.
    endpoint : str

    Raises
    ------
    ObjectsError
        If the endpoint serves what is not of a run, or the run's summary is gone.
    """
    try:
        described = sagemaker.describe_endpoint(EndpointName=endpoint)
    except ClientError as error:
        if error.response["Error"]["Message"].startswith("Could not find endpoint"):
            return None
        raise
    if described["EndpointStatus"] in _NOT_IN_SERVICE:
        return None
    config = sagemaker.describe_endpoint_config(EndpointConfigName=described["EndpointConfigName"])
    model = sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    package = model.get("PrimaryContainer", {}).get("ModelPackageName")
    about = {}
    if package is not None:
        described_package = sagemaker.describe_model_package(ModelPackageName=package)
        about = described_package.get("CustomerMetadataProperties", {})
    if "summary" not in about:
        raise ObjectsError(
            f"endpoint {endpoint} serves model {model['ModelName']}, which is not of a model"
            " package that names a run and its summary"
        )
    found = f"in service at endpoint {endpoint}"
    return Run(objects.read_json(about["summary"]), found, endpoint)


def by_name(objects: Objects, run: str, output: str = OUTPUT) -> Run:
    """Return a run by its name, or by the URI of its folder.

    Raises
    ------
    ObjectsError
        If there is no such run, or it was not evaluated; the message names some that were.
    """
    folder = run.rstrip("/") if run.startswith("s3://") else f"{output}/{run}"
    summary = f"{folder}/{_SUMMARY}"
    if objects.modified(summary) is None:
        names = [
            known.rpartition("/")[2] for known in _evaluated(objects, folder.rpartition("/")[0])
        ]
        listed = ", ".join(names[:_MOST_LISTED]) or "none"
        more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
        raise ObjectsError(
            f"there is no {summary}; runs with one, the latest first: {listed}{more}"
        )
    return Run(objects.read_json(summary), "asked for by name")


def latest(objects: Objects, output: str = OUTPUT) -> Run:
    """Return the run whose summary was written last.

    Raises
    ------
    ObjectsError
        If there is none.
    """
    runs = _evaluated(objects, output)
    if not runs:
        raise ObjectsError(
            f"there is no run with a {_SUMMARY} in {output}: `matinee run` makes one"
        )
    return Run(objects.read_json(f"{runs[0]}/{_SUMMARY}"), f"the latest run in {output}")


def _evaluated(objects: Objects, output: str) -> list[str]:
    """Return the folders of runs that have a summary, the latest first, ties by name."""
    written = {
        folder: objects.modified(f"{folder}/{_SUMMARY}") for folder in objects.folders(output)
    }
    found = {folder: when for folder, when in written.items() if when is not None}
    return sorted(sorted(found), key=lambda folder: found[folder], reverse=True)
