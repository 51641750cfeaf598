"""An ensemble as one model: the average of several Factorization Machines.

The mean of what K machines answer is what one machine answers whose constant and linear terms are
their means and whose factors are theirs side by side, divided by the square root of K: exactly, up
to float32. So an ensemble is served, transformed and explained like any model, by SageMaker's own
container too. Members' posterior samples are not carried over. Refuses artifacts that are no
models, models of different widths, and classifiers: a mean of probabilities is no Factorization
Machine's.
"""

from __future__ import annotations

import gzip
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from matinee.fm import artifact
from matinee.fm.averaging import average
from matinee.fm.errors import ArtifactError, DataError
from matinee.fm.model import Model
from matinee.workflow.errors import EvaluationError
from matinee.workflow.objects import Objects


class Averaged(TypedDict):
    """The ensemble's artifact, and how many factors it has."""

    model: str
    num_factors: int


def average_models(models: Sequence[str], uri: str) -> Averaged:
    """Average models into one.

    Parameters
    ----------
    models : sequence of str
        URIs of their model.tar.gz; one at least.
    uri : str
        Where to write the ensemble's model.tar.gz: whole or not at all, the same bytes for the same
        models.

    Raises
    ------
    EvaluationError
        If one is no model or no regressor, or they differ in width.
    ObjectsError
        If one is missing.
    """
    objects = Objects()
    with tempfile.TemporaryDirectory(prefix="matinee-ensemble-") as scratch_name:
        scratch = Path(scratch_name)
        members = [_read(objects, model, scratch / "member") for model in models]
        try:
            ensemble = average(members)
        except DataError as error:
            raise EvaluationError(
                f"the models {', '.join(models)} are no ensemble: {error}"
            ) from error
        artifact.write(ensemble, scratch / artifact.MEMBER)
        archive = scratch / "model.tar.gz"
        _pack(scratch / artifact.MEMBER, archive)
        objects.upload(archive, uri)
    return {"model": uri, "num_factors": ensemble.num_factors}


def _read(objects: Objects, uri: str, path: Path) -> Model:
    objects.download(uri, path)
    try:
        model = artifact.read(path)
    except ArtifactError as error:
        raise EvaluationError(f"{uri} cannot be used: {error}") from error
    if model.predictor_type != "regressor":
        raise EvaluationError(
            f"{uri} is a {model.predictor_type}: only regressors make an ensemble, as a mean of"
            " probabilities is no Factorization Machine's"
        )
    return model


def _pack(path: Path, archive: Path) -> None:
    """Put a file into a .tar.gz, without anything from the clock or the system."""
    with (
        archive.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        path.open("rb") as content,
    ):
        entry = tarfile.TarInfo(path.name)
        entry.size = path.stat().st_size
        tar.addfile(entry, content)
