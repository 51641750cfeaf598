"""Training and batch transform on the local SageMaker, with the workflow's own requests."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3
import psutil

from benchmarks.data.meter import Run, spending
from benchmarks.sagemaker import servers
from benchmarks.sagemaker.servers import REGION, ROLE, Place
from matinee.workflow.images import factorization_machines
from matinee.workflow.jobs import require_completed
from matinee.workflow.prepare import Prepared
from matinee.workflow.requests import job_name, training_request, transform_request
from matinee.workflow.settings import Settings

POLL_SECONDS = 0.1


class Jobs:
    """A local SageMaker with the processes of its jobs.

    Parameters
    ----------
    client
        boto3's.
    server
        The server's process.
    """

    def __init__(self, client: Any, server: psutil.Process) -> None:
        self._client = client
        self._server = server
        self._image = factorization_machines(REGION)

    def train(self, settings: Settings, prepared: Prepared) -> Run:
        """Train; the answer is the model's URI."""
        name = job_name(prepared["run"], "train", 1)
        request = training_request(
            settings, prepared, name=name, image=settings.image or self._image
        )

        def job() -> Any:
            self._client.create_training_job(**request)
            return self._ended("TrainingJob", name)["ModelArtifacts"]["S3ModelArtifacts"]

        return self._measured(job)

    def predict(self, settings: Settings, prepared: Prepared, model: str) -> Run:
        """Predict the test ratings."""
        name = job_name(prepared["run"], "predict", 1)
        request = transform_request(
            settings, prepared, name=name, image=settings.image or self._image, model=model
        )

        def job() -> Any:
            self._client.create_model(**request["Model"])
            self._client.create_transform_job(**request["Transform"])
            return self._ended("TransformJob", name)["TransformOutput"]["S3OutputPath"]

        return self._measured(job)

    def _measured(self, job: Callable[[], Any]) -> Run:
        with spending(self._server) as cost:
            answer = job()
            spent = cost()
        return Run(spent, answer, None, os.getloadavg()[0])

    def _ended(self, kind: str, name: str) -> Mapping[str, Any]:
        words = {"TrainingJob": "training_job", "TransformJob": "transform_job"}
        describe = getattr(self._client, f"describe_{words[kind]}")
        while (found := describe(**{f"{kind}Name": name}))[f"{kind}Status"] == "InProgress":
            time.sleep(POLL_SECONDS)
        require_completed(found, kind)
        description: Mapping[str, Any] = found
        return description


@contextmanager
def local_sagemaker(place: Place) -> Iterator[Jobs]:
    """Run a local SageMaker until the block ends."""
    before = set(psutil.Process().children())
    with servers.matinee(place.folder / "sagemaker", place) as started:
        [server] = set(psutil.Process().children()) - before
        session = boto3.Session(
            place.keys.access_key_id, place.keys.secret_access_key, region_name=REGION
        )
        yield Jobs(session.client("sagemaker", endpoint_url=started.target.endpoint), server)


def parameters(ratings: str, output: str) -> dict[str, Any]:
    """Return the parameters of the run: the workflow's defaults, but for where things lie."""
    return {"ratings": ratings, "output": output, "role": ROLE}
