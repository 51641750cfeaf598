"""The workflow's steps as the container of a SageMaker processing job: `python -m
matinee.workflow.job data | choose | publish | clean-up --parameters URI --run NAME`.

A job does all steps between two of SageMaker's own jobs, since each takes minutes to start on AWS.
What they hand on lies beside the parameters, each document written whole: `data.json`,
`chosen.json`, `published.json`, `cleaned_up.json`, and `requests.json`, which holds what the state
machine asks SageMaker for next and the branch that it takes. Refuses what only Airflow can do, and
whatever the steps refuse; the reason is the job's exit message.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import boto3

from matinee.workflow import requests
from matinee.workflow.candidates import select
from matinee.workflow.checks import check
from matinee.workflow.clean_up import clean_up
from matinee.workflow.decision import decision_uri
from matinee.workflow.deploy import deploy, reject
from matinee.workflow.drift import is_due
from matinee.workflow.endpoint import role_arn
from matinee.workflow.errors import WorkflowError
from matinee.workflow.gate import gate
from matinee.workflow.images import image_of
from matinee.workflow.jobs import require_completed
from matinee.workflow.objects import Objects
from matinee.workflow.prepare import group_parts, prepare
from matinee.workflow.recommend import recommend_all
from matinee.workflow.register import register
from matinee.workflow.report import Step, write_report
from matinee.workflow.settings import Settings
from matinee.workflow.stages import (
    evaluate_and_remember,
    find_trained,
    preprocess_or_reuse,
    training,
)
from matinee.workflow.steps import in_order, measured

logger = logging.getLogger(__name__)

# SageMaker's limit for the exit message of a processing job.
_LONGEST_MESSAGE = 1024
_BASE = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


@dataclass(frozen=True, slots=True)
class Job:
    """One job of a run.

    Attributes
    ----------
    parameters
        URI of the run's parameters; what jobs hand on lies beside it.
    run
        The run's name.
    steps
        What was done so far, for the report.
    """

    parameters: str
    run: str
    objects: Objects = field(default_factory=Objects)
    steps: list[Step] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        """The run's settings; the role is an ARN, as the requests need it.

        Raises
        ------
        SettingsError
            Naming everything that is wrong, or needs Airflow.
        """
        return settings_of(self.objects.read_json(self.parameters))

    def step(self, name: str) -> AbstractContextManager[None]:
        """Do a step, and keep what it took."""
        return measured(name, self.steps.append)

    def uri(self, document: str) -> str:
        """Return where a document lies that the jobs hand on."""
        return f"{self.parameters.rpartition('/')[0]}/{document}.json"

    def read(self, document: str) -> Any:
        """Read what an earlier job handed on."""
        return self.objects.read_json(self.uri(document))

    def write(self, document: str, value: Mapping[str, Any]) -> None:
        """Hand on a document."""
        self.objects.write_json(value, self.uri(document))


def settings_of(parameters: Mapping[str, Any]) -> Settings:
    """Read a run's parameters.

    Raises
    ------
    SettingsError
        Naming everything that is wrong, or needs Airflow.
    """
    settings = Settings.from_parameters(parameters)
    settings.refuse_local_files()
    settings.refuse_what_is_airflows()
    return replace(settings, role=role_arn(settings.role))


def data(job: Job) -> None:
    """From the ratings to records, and what SageMaker is asked for then."""
    settings = job.settings
    image = image_of(settings)
    with job.step("preprocess"):
        preprocessed, trained_by = preprocess_or_reuse(settings, job.run, image)
    with job.step("check"):
        checked = check(settings, {"preprocessed": preprocessed})
    with job.step("drift"):
        due = is_due(settings, preprocessed)
    if not due:
        job.write("requests", {"next": "end"})
        return
    with job.step("prepare"):
        workers = min(len(group_parts(settings, preprocessed)), os.cpu_count() or 1)
        prepared = prepare(settings, {**preprocessed}, workers=workers)
    handed = {
        "image": image,
        "preprocessed": preprocessed,
        "trained_by": trained_by,
        "prepared": prepared,
        "checks": checked["checks"],
        "steps": job.steps,
    }
    job.write("data", handed)
    reused = find_trained(settings, job.run, trained_by)
    if reused is None:
        job.write("requests", _training_requests(settings, handed))
    else:
        _hand_on(job, settings, handed, reused, [])


def choose(job: Job) -> None:
    """The run's model, of the jobs that `trained.json` names, and what predicts with it."""
    settings, handed, trained = job.settings, job.read("data"), job.read("trained")
    sagemaker = boto3.client("sagemaker")
    with job.step("choose"):
        model = select(settings, {"run": job.run, **trained})
    if (tuning_job := trained.get("tuning_job")) is not None:
        described = sagemaker.describe_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=tuning_job
        )
        job.steps.append(_took("tune", described, "HyperParameterTuningEndTime"))
    for name in trained.get("training_jobs", ()):
        described = sagemaker.describe_training_job(TrainingJobName=name)
        kind = "train_each" if settings.configurations else "train"
        job.steps.append(_took(kind, described, "TrainingEndTime"))
    _hand_on(job, settings, handed, model, job.steps)


def publish(job: Job, transform_job: str) -> None:
    """What the model is worth, and into service with it if it is worth it.

    Parameters
    ----------
    job : Job
    transform_job : str
        Name of the batch transform job that predicted the test split.
    """
    settings, handed, chosen = job.settings, job.read("data"), job.read("chosen")
    described = boto3.client("sagemaker").describe_transform_job(TransformJobName=transform_job)
    require_completed(described, "TransformJob")
    job.steps.append(_took("predict", described, "TransformEndTime"))
    inputs = {
        "preprocessed": handed["preprocessed"],
        "prepared": handed["prepared"],
        "trained": chosen["model"],
        "predictions": described["TransformOutput"]["S3OutputPath"],
    }
    with job.step("evaluate"):
        evaluated = evaluate_and_remember(settings, inputs, handed["trained_by"])
    published: dict[str, Any] = {"evaluated": evaluated, "decision": None, "reported": None}
    try:
        if settings.recommendations:
            with job.step("recommend"):
                recommend_all(settings, inputs, count=settings.recommendations)
        if settings.publish:
            more = {**inputs, "evaluated": evaluated, "image": handed["image"]}
            published["decision"] = _decide(job, settings, more)
    finally:
        # A run that was evaluated has a report, whatever becomes of its model.
        decision = decision_uri(settings, job.run)
        told: dict[str, list[Step]] = {}
        for step in [*handed["steps"], *chosen["steps"], *job.steps]:
            told.setdefault(step["name"], []).append(step)
        reported = write_report(
            settings,
            {
                "run": job.run,
                "summary": evaluated["summary"],
                "checks": handed["checks"],
                "decision": decision if job.objects.exists(decision) else None,
                "steps": in_order(told),
            },
        )
        published["reported"] = reported
        job.write("published", published)


def clean(job: Job) -> None:
    """What the run leaves behind that nobody needs."""
    job.write("cleaned_up", clean_up(job.settings, {"run": job.run}))


def _decide(job: Job, settings: Settings, inputs: dict[str, Any]) -> str:
    """Register the model, and deploy or reject it; return where the decision stands."""
    with job.step("register"):
        registered = register(settings, inputs)
    with job.step("gate"):
        gated = gate(settings, {**inputs, "registered": registered})
    if gated["verdict"] == "approved":
        with job.step("deploy"):
            deploy(settings, {**inputs, "gated": gated, "answer": None})
    else:
        with job.step("reject"):
            reject(gated, None)
    return gated["decision"]


def _training_requests(settings: Settings, handed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the branch that the settings choose, and its requests."""
    prepared, image = handed["prepared"], handed["image"]
    branch = training(settings)
    if branch == "configure":
        of_each = [
            requests.configuration_request(settings, prepared, number, attempt=1, image=image)
            for number in range(len(settings.configurations))
        ]
        return {"next": branch, branch: of_each}
    build = {"train": requests.training_request, "tune": requests.tuning_request}[branch]
    name = requests.job_name(prepared["run"], branch, 1)
    return {"next": branch, branch: build(settings, prepared, name=name, image=image)}


def _hand_on(
    job: Job,
    settings: Settings,
    handed: Mapping[str, Any],
    model: Mapping[str, Any],
    steps: Sequence[Step],
) -> None:
    """Hand on the run's model, and the requests that predict with it."""
    job.write("chosen", {"model": model, "steps": steps})
    predict = requests.transform_request(
        settings,
        handed["prepared"],
        name=requests.job_name(job.run, "predict", 1),
        image=handed["image"],
        model=model["model"],
    )
    job.write("requests", {"next": "predict", "predict": predict})


def _took(name: str, described: Mapping[str, Any], end: str) -> Step:
    """Return what a job of SageMaker's took as a step of the run."""
    seconds = (described[end] - described["CreationTime"]).total_seconds()
    return {"name": name, "seconds": seconds, "peak_memory_mb": None}


def _arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m matinee.workflow.job")
    parser.add_argument("step", choices=("data", "choose", "publish", "clean-up"))
    parser.add_argument("--parameters", required=True, metavar="URI", help="of parameters.json")
    parser.add_argument("--run", required=True, metavar="NAME", help="the run's name")
    parser.add_argument("--transform-job", metavar="NAME", help="what predicted; for publish")
    arguments = parser.parse_args(words)
    if (arguments.step == "publish") != bool(arguments.transform_job):
        parser.error("--transform-job is what publish needs, and publish alone")
    return arguments


def _tell(error: Exception) -> None:
    """Leave the reason where SageMaker looks for the job's exit message."""
    if _BASE.is_dir():
        folder = _BASE / "output"
        folder.mkdir(exist_ok=True)
        text = f"{type(error).__name__}: {error}".encode()[:_LONGEST_MESSAGE]
        (folder / "message").write_text(text.decode(errors="ignore"))


def main(words: list[str]) -> int:
    """Do one job; return its exit code."""
    arguments = _arguments(words)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    # SageMaker tells a container its region by a name that boto3 does not read.
    if "AWS_REGION" in os.environ:
        os.environ.setdefault("AWS_DEFAULT_REGION", os.environ["AWS_REGION"])
    job = Job(arguments.parameters, arguments.run)
    do: dict[str, Callable[[], None]] = {
        "data": lambda: data(job),
        "choose": lambda: choose(job),
        "publish": lambda: publish(job, arguments.transform_job),
        "clean-up": lambda: clean(job),
    }
    try:
        do[arguments.step]()
    except WorkflowError as error:
        print(error, file=sys.stderr)
        _tell(error)
        return 1
    except Exception as error:
        _tell(error)
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
