"""The images this server can run: repository name -> how to train, how to serve, how to process.

The server knows no algorithm by itself, only the SageMaker container contract. SageMaker's
Factorization Machines, matinee's own and plain Python images are the first entries; a user's own
stand in ``algorithms.json`` of the state folder (``algorithms_file.py``). An image whose repository
is not registered is refused by name, and so is what a registered one cannot do.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matinee.sagemaker.machine import commands, engines
from matinee.sagemaker.machine.commands import Command

_IMAGE = re.compile(
    r"(?:(?P<registry>[^/]+[.:][^/]*|localhost)/)?(?P<repository>[^:@]+)(?::[^/:@]+)?(?:@.+)?"
)


class UnknownImageError(ValueError):
    """No algorithm is registered for the image's repository, or this machine cannot run it."""


class NoCommandError(ValueError):
    """The image has nothing to run for what is asked of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """How to run one image on this machine.

    Attributes
    ----------
    train, serve, process
        The commands of ``docker run <image> train``, ``serve`` and, for processing jobs, of the
        image alone; false where the image cannot. They find ``/opt/ml`` in the environment variable
        ``SAGEMAKER_BASE_DIR``, and ``serve`` its host and port in ``MATINEE_BIND_HOST`` and
        ``SAGEMAKER_BIND_TO_PORT``.
    entrypoint
        How the ContainerEntrypoint of a training or processing job is run; false: jobs may not
        bring one.
    metric_definitions
        ``{"Name": .., "Regex": ..}`` as DescribeTrainingJob shows them; empty when each training
        job brings its own.
    objectives
        Metrics that a tuning job may optimise, each with its direction; None: any defined metric.
    tunable
        Hyperparameters that a tuning job may vary; None: any.
    """

    train: Command = commands.NONE
    serve: Command = commands.NONE
    process: Command = commands.NONE
    entrypoint: Command | None = None
    metric_definitions: tuple[Mapping[str, str], ...] = ()
    objectives: Mapping[str, str] | None = None
    tunable: frozenset[str] | None = None

    def command(
        self, verb: str, entrypoint: Sequence[str] = (), arguments: Sequence[str] = ()
    ) -> Command:
        """Return what a job runs.

        Parameters
        ----------
        verb
            ``train``, ``serve`` or ``process``.
        entrypoint, arguments
            The job's own ContainerEntrypoint and ContainerArguments.

        Raises
        ------
        NoCommandError
            The image cannot do that; the message goes on after the image's name.
        """
        if entrypoint:
            if self.entrypoint is None:
                raise NoCommandError("takes no ContainerEntrypoint")
            return self.entrypoint.running(entrypoint, arguments)
        own: Command = {"train": self.train, "serve": self.serve, "process": self.process}[verb]
        if not own:
            needs = "; give the job a ContainerEntrypoint" if self.entrypoint is not None else ""
            raise NoCommandError(f"is registered without a {verb} command{needs}")
        return own.with_arguments(arguments)


def repository(image: str) -> str:
    """Return the repository name of an image URI, without registry, tag and digest."""
    found = _IMAGE.fullmatch(image)
    return found["repository"] if found else image


def find(algorithms: Mapping[str, Algorithm], image: str) -> Algorithm:
    """Return the algorithm of an image, whatever account and region its URI names.

    Raises
    ------
    UnknownImageError
        Its repository is not registered, or it needs a container engine and none answers.
    """
    name = repository(image)
    if name not in algorithms:
        raise UnknownImageError(
            f"Cannot find repository: {name} of image {image!r}. "
            f"matinee can run: {', '.join(sorted(algorithms))}"
        )
    found = algorithms[name]
    if found.process.image:
        try:
            engines.find()
        except engines.NoEngineError as error:
            raise UnknownImageError(
                f"The image {image!r} needs a container engine: {error}"
            ) from error
    return found


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
    train=Command((sys.executable, "-m", "matinee.fm.container", "train")),
    serve=Command((sys.executable, "-m", "matinee.fm.container", "serve")),
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
    train=Command(
        (sys.executable, "-m", "matinee.fm.container", "--algorithm", "matinee-fm", "train")
    ),
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

# AWS's scikit-learn processing image runs ``python3 script.py``; so does this interpreter, with the
# packages that it has.
PYTHON = Algorithm(
    entrypoint=Command(in_place=True, search_path=str(Path(sys.executable).parent)),
)

BUILT_IN: Mapping[str, Algorithm] = {
    "factorization-machines": FACTORIZATION_MACHINES,
    "matinee-fm": MATINEE_FM,
    "matinee-python": PYTHON,
    "sagemaker-scikit-learn": PYTHON,
}
