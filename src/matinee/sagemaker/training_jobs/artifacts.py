"""What a training job leaves in S3: its model and its other output, of all its hosts together.

Each host writes into folders of its own; they become one ``model.tar.gz``, or single objects where
the request says so, and one ``output.tar.gz``. Two files of one name are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matinee.sagemaker import containers, failures
from matinee.sagemaker.data import archives, data_hashes
from matinee.sagemaker.data.objects import join_uri
from matinee.sagemaker.failures import JobFailedError
from matinee.sagemaker.jobs import Job, work_folder
from matinee.sagemaker.training_jobs import training_inputs

MODEL, OUTPUT = "model.tar.gz", "output.tar.gz"


def is_packed(output: Mapping[str, Any]) -> bool:
    """Return whether an OutputDataConfig asks for one archive."""
    return bool(output.get("CompressionType", "GZIP") == "GZIP")


def model_uri(output: Mapping[str, Any], job_name: str) -> str:
    """Return where a job of this OutputDataConfig stores its model."""
    name = MODEL if is_packed(output) else "model/"
    return join_uri(output["S3OutputPath"], f"{job_name}/output/{name}")


def store(job: Job, *, even_empty: bool) -> None:
    """Store what the hosts have left.

    Parameters
    ----------
    job
        Its processes have ended.
    even_empty
        Whether there is a model though nobody has written one.

    Raises
    ------
    JobFailedError
        It cannot be packed, or S3 does not take it.
    """
    document, work = job.resource.document, work_folder(job.folder)
    output = document["OutputDataConfig"]
    model = _contents(job, "model")
    uri = document["ModelArtifacts"]["S3ModelArtifacts"]
    if is_packed(output) and (model or even_empty):
        _store_archive(job, model, work / MODEL, uri)
        with failures.object_failures():
            seen = data_hashes.of_object(training_inputs.objects_of(job), uri)
        data_hashes.remember(job, "outputs", {"model": seen})
    elif not is_packed(output):
        objects = training_inputs.objects_of(job)
        for name, path in model.items():
            with failures.object_failures():
                objects.upload(path, join_uri(uri, name))
    if data := _contents(job, "output/data"):
        uri = join_uri(output["S3OutputPath"], f"{job.name}/output/{OUTPUT}")
        _store_archive(job, data, work / OUTPUT, uri)


def _contents(job: Job, folder: str) -> dict[str, Path]:
    names = job.resource.private["hosts"]
    try:
        return archives.contents(
            {name: containers.base_folder(job, name) / folder for name in names}
        )
    except archives.ArchiveError as error:
        raise JobFailedError(f"AlgorithmError: {Path(folder).name}: {error}") from error


def _store_archive(job: Job, files: Mapping[str, Path], archive: Path, uri: str) -> None:
    archives.pack(files, archive)
    with failures.object_failures():
        training_inputs.objects_of(job).upload(archive, uri)
