"""The training images this server can run: repository name -> how to train, how to serve.

The server knows no algorithm by itself, only the SageMaker container contract. SageMaker's
Factorization Machines and matinee's own are the first entries; a user's own algorithms stand in
``algorithms.json`` of the state folder. An image whose repository is not registered is refused by
name.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE_NAME = "algorithms.json"
_IMAGE = re.compile(
    r"(?:(?P<registry>[^/]+[.:][^/]*|localhost)/)?(?P<repository>[^:@]+)(?::[^/:@]+)?(?:@.+)?"
)


class AlgorithmsFileError(ValueError):
    """``algorithms.json`` is not what this module's documentation says."""


class UnknownImageError(ValueError):
    """No algorithm is registered for the image's repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """How to run one training image on this machine.

    Attributes
    ----------
    train, serve
        The commands of ``docker run <image> train`` and ``serve``; empty where the image cannot.
        They find ``/opt/ml`` in the environment variable ``SAGEMAKER_BASE_DIR``, and ``serve``
        its host and port in ``MATINEE_BIND_HOST`` and ``SAGEMAKER_BIND_TO_PORT``.
    metric_definitions
        ``{"Name": .., "Regex": ..}`` as DescribeTrainingJob shows them; empty when each training
        job brings its own.
    objectives
        Metrics that a tuning job may optimise, each with its direction; None: any defined metric.
    tunable
        Hyperparameters that a tuning job may vary; None: any.
    """

    train: tuple[str, ...]
    serve: tuple[str, ...]
    metric_definitions: tuple[Mapping[str, str], ...] = ()
    objectives: Mapping[str, str] | None = None
    tunable: frozenset[str] | None = None


def repository(image: str) -> str:
    """Return the repository name of an image URI, without registry, tag and digest."""
    found = _IMAGE.fullmatch(image)
    return found["repository"] if found else image


def find(algorithms: Mapping[str, Algorithm], image: str) -> Algorithm:
    """Return the algorithm of an image, whatever account and region its URI names.

    Raises
    ------
    UnknownImageError
        Its repository is not registered.
    """
    name = repository(image)
    if name not in algorithms:
        raise UnknownImageError(
            f"Cannot find repository: {name} of image {image!r}. "
            f"matinee can run: {', '.join(sorted(algorithms))}"
        )
    return algorithms[name]


def registry(folder: Path) -> dict[str, Algorithm]:
    """Return the built-in algorithms and those of ``folder / "algorithms.json"``, if it is there.

    The file maps repository names to commands (lists of words)::

        {"my-algorithm": {"train": ["/opt/mine/run", "train"], "serve": ["/opt/mine/run", "serve"]}}

    Raises
    ------
    AlgorithmsFileError
        The file has another form.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return dict(BUILT_IN)
    try:
        entries = json.loads(path.read_text())
    except ValueError as error:
        raise AlgorithmsFileError(f"{path} is not JSON: {error}") from error
    if not isinstance(entries, dict):
        raise AlgorithmsFileError(f"{path} must hold an object: repository name -> commands")
    return {**BUILT_IN, **{name: _own(path, name, entry) for name, entry in entries.items()}}


def _own(path: Path, name: str, entry: Any) -> Algorithm:
    if not isinstance(entry, dict) or not entry or not entry.keys() <= {"train", "serve"}:
        raise AlgorithmsFileError(
            f'{path}: {name!r} must be an object with the commands "train", "serve" or both'
        )
    for verb, command in entry.items():
        if not isinstance(command, list) or not command or not all(map(_is_word, command)):
            raise AlgorithmsFileError(
                f"{path}: {verb!r} of {name!r} must be a list of words, not {command!r}"
            )
    return Algorithm(train=tuple(entry.get("train", ())), serve=tuple(entry.get("serve", ())))


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _definition(name: str, pattern: str) -> dict[str, str]:
    return {"Name": name, "Regex": f"#{pattern}"}


# Of each metric: its name, its name in the log, and the mark of its kind there.
_QUALITY = (
    ("rmse", "rmse", "loss"),
    ("mse", "mse", "loss"),
    ("absolute_loss", "absolute_loss", "loss"),
    ("binary_classification_accuracy", "binary_classification_accuracy", "score"),
    ("binary_classification_cross_entropy", "binary_classification_cross_entropy", "loss"),
    ("binary_f_beta", r"binary_f_1.000", "score"),
)
_BETTER = {
    "rmse": "Minimize",
    "binary_classification_accuracy": "Maximize",
    "binary_classification_cross_entropy": "Minimize",
    "binary_f_beta": "Maximize",
}


def _quality(metric: str, logged: str, mark: str) -> list[dict[str, str]]:
    host, value = "quality_metric: host=\\S+,", f"{logged} <{mark}>=(\\S+)"
    return [
        _definition(f"test:{metric}", f"{host} test {value}"),
        _definition(f"train:{metric}", f"{host} train {value}"),
        _definition(f"train:{metric}:epoch", f"{host} epoch=\\S+, train {value}"),
        _definition(f"train:{metric}:batch", f"{host} epoch=\\S+, batch=\\S+ train {value}"),
    ]


def _validation_quality(metric: str, logged: str, mark: str) -> list[dict[str, str]]:
    host, value = "quality_metric: host=\\S+,", f"{logged} <{mark}>=(\\S+)"
    return [
        _definition(f"validation:{metric}", f"{host} validation {value}"),
        _definition(f"validation:{metric}:epoch", f"{host} epoch=\\S+, validation {value}"),
    ]


# SageMaker Developer Guide, "Tune a Factorization Machines Model", and the definitions that
# DescribeTrainingJob answers for jobs of this algorithm.
FACTORIZATION_MACHINES = Algorithm(
    train=(sys.executable, "-m", "matinee.fm.container", "train"),
    serve=(sys.executable, "-m", "matinee.fm.container", "serve"),
    metric_definitions=(
        *(definition for metric in _QUALITY for definition in _quality(*metric)),
        _definition("train:progress", r"progress_metric: host=\S+, completed (\S+) %"),
        _definition(
            "train:throughput",
            r"throughput_metric: host=\S+, train throughput=(\S+) records/second",
        ),
    ),
    objectives={f"test:{metric}": direction for metric, direction in _BETTER.items()},
    tunable=frozenset(
        ["epochs", "mini_batch_size"]
        + [
            f"{group}_{what}"
            for group in ("bias", "linear", "factors")
            for what in ("lr", "wd", "init_scale", "init_sigma", "init_value")
        ]
    ),
)

# The same with more solvers: what they are tuned by, and a channel to tune and stop early by.
MATINEE_FM = Algorithm(
    train=(sys.executable, "-m", "matinee.fm.container", "--algorithm", "matinee-fm", "train"),
    serve=FACTORIZATION_MACHINES.serve,
    metric_definitions=(
        *FACTORIZATION_MACHINES.metric_definitions,
        *(definition for metric in _QUALITY for definition in _validation_quality(*metric)),
    ),
    objectives={
        f"{channel}:{metric}": direction
        for channel in ("test", "validation")
        for metric, direction in _BETTER.items()
    },
    tunable=(FACTORIZATION_MACHINES.tunable or frozenset())
    | {
        "artifact_factors",
        "burn_in",
        "init_sigma",
        "learning_rate",
        "num_factors",
        "num_models",
        "patience",
        "regularization",
    },
)

BUILT_IN: Mapping[str, Algorithm] = {
    "factorization-machines": FACTORIZATION_MACHINES,
    "matinee-fm": MATINEE_FM,
}
