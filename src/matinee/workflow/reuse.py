"""What an earlier run has done already: a step whose inputs, settings and code are the same has the
same outputs, so a later run takes those.

A step's key is the hash of all that decides its outputs. When it is done its outputs are recorded
under `<output>/steps/<step>/<key>.json` with a digest of every object they name; a later run with
the same key takes them if each of these objects is still there, unchanged, and does the step
otherwise: so whoever deletes a run costs time and never correctness. What is taken stays in the
folder of the run that made it. `prepare` is not among the steps: clean_up deletes what it made, and
a run whose predictions are there needs none of it. The run parameter `reuse` turns all of it off.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import matinee
from matinee.workflow.errors import ObjectsError
from matinee.workflow.objects import Objects
from matinee.workflow.settings import Settings
from matinee.workflow.sources import Sources, is_local

logger = logging.getLogger(__name__)

# The parameters that decide what preprocess makes of the ratings.
OF_PREPROCESS = (
    "columns", "until", "side_columns", "features", "max_malformed_fraction",
    "min_ratings_per_customer", "min_ratings_per_video",
    "train_fraction", "validate_fraction", "test_fraction", "seed", "engine",
)  # fmt: skip
# The parameters that decide the model, once preprocess is decided; the machines' too, as a solver's
# result may depend on the number of its threads.
OF_TRAINING = (
    "hyperparameters", "tune", "tuning_ranges", "tuning_jobs", "tuning_parallel_jobs",
    "configurations", "ensemble_size", "training_instance_type", "training_instance_count", "seed",
)  # fmt: skip
# The wings whose code does.
_CODE = ("recordio", "fm", "workflow")
_BLOCK_BYTES = 2**20


class Reused(TypedDict):
    """What an earlier run's step returned, as if this run had done it."""

    run: str
    outputs: dict[str, Any]


def reusing(
    settings: Settings, run: str, step: str, key: str, make: Callable[[], Mapping[str, Any]]
) -> dict[str, Any]:
    """Return a step's outputs: an earlier run's if they are still there, else freshly made.

    Parameters
    ----------
    settings : Settings
    run : str
        This run's name.
    step : str
        "preprocess", for example.
    key : str
        As of `preprocess_key`, `training_key` or `prediction_key`.
    make : callable
        Does the step.

    Returns
    -------
    dict
        The step's outputs, with this run's name; `reused_from`, the other run's, if they are its.
    """
    found = find(settings, run, step, key)
    if found is not None:
        return {**found["outputs"], "reused_from": found["run"]}
    outputs = dict(make())
    remember(settings, run, step, key, outputs)
    return outputs


def find(settings: Settings, run: str, step: str, key: str) -> Reused | None:
    """Return what an earlier run's step returned, None if there is none or it is not whole.

    Raises
    ------
    ObjectsError
        If the output folder cannot be read.
    """
    if not settings.reuse:
        return None
    objects = Objects()
    uri = _record(settings, step, key)
    if not objects.exists(uri):
        logger.info("%s: no earlier run did the same", step)
        return None
    record = objects.read_json(uri)
    if record["digest"] != _digest(objects, settings, record["outputs"]):
        logger.info("%s: run %s did the same, but not all of it is left", step, record["run"])
        return None
    outputs = {**record["outputs"], **({"run": run} if "run" in record["outputs"] else {})}
    logger.info(
        "%s: reused from run %s, as nothing that decides it has changed", step, record["run"]
    )
    return {"run": record["run"], "outputs": outputs}


def remember(settings: Settings, run: str, step: str, key: str, outputs: Mapping[str, Any]) -> None:
    """Record what a step returned, for later runs; whole or not at all.

    Raises
    ------
    ObjectsError
        If an object that it names is not there.
    """
    if settings.reuse:
        objects = Objects()
        document = {
            "run": run,
            "step": step,
            "outputs": dict(outputs),
            "digest": _digest(objects, settings, outputs, complete=True),
        }
        objects.write_json(document, _record(settings, step, key))


def preprocess_key(settings: Settings) -> str:
    """Return the key of `preprocess`: the ratings as they are now, the settings and the code.

    Raises
    ------
    ObjectsError
        If there are no ratings.
    """
    objects = Objects()
    given = (
        [_file(path) for path in Sources(objects).find(settings.ratings)]
        if is_local(settings.ratings)
        else objects.stat(settings.ratings)
    )
    return _key("preprocess", given, _chosen(settings, OF_PREPROCESS))


def training_key(settings: Settings, preprocessed_by: str, image: str) -> str:
    """Return the key of the run's model, from the key of its `preprocess` and the image's URI."""
    return _key("train", preprocessed_by, image, _chosen(settings, OF_TRAINING))


def prediction_key(trained_by: str) -> str:
    """Return the key of the predictions for the test split, from the key of the model."""
    return _key("predict", trained_by)


def _chosen(settings: Settings, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in names}


@functools.cache
def code_digest() -> str:
    """Return a hash of the code that decides a run's outputs, here and in matinee's own image."""
    package = Path(matinee.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(path for wing in _CODE for path in (package / wing).rglob("*.py")):
        digest.update(f"{path.relative_to(package)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _key(*parts: Any) -> str:
    text = json.dumps([code_digest(), *parts], sort_keys=True, default=dict)
    return hashlib.sha256(text.encode()).hexdigest()


def _record(settings: Settings, step: str, key: str) -> str:
    return f"{settings.output}/steps/{step}/{key}.json"


def _digest(
    objects: Objects, settings: Settings, outputs: Any, *, complete: bool = False
) -> str | None:
    """Hash name, size and ETag of all objects that outputs name; None if one is gone."""
    try:
        found = [
            stat for uri in sorted(set(_uris(settings, outputs))) for stat in objects.stat(uri)
        ]
    except ObjectsError:
        if complete:
            raise
        return None
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def _uris(settings: Settings, value: Any) -> Iterator[str]:
    """Yield every URI below the output folder that stands anywhere in a document."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _uris(settings, item)
    elif isinstance(value, list):
        for item in value:
            yield from _uris(settings, item)
    elif isinstance(value, str) and value.startswith(f"{settings.output}/"):
        yield value


def _file(path: str) -> list[Any]:
    digest = hashlib.sha256()
    size = 0
    with Path(path).open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    return [path, size, digest.hexdigest()]
