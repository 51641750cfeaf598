"""The container's `train`: a job's files in, the model file and the log out.

A mistake of the job's author ends it with `ClientError: ...` in output/failure, anything else with
`AlgorithmError: ...`; both with exit status 1. The model file appears whole or not at all. SIGTERM
ends the process without a model.
"""

import logging
import re
import secrets
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import numpy

from matinee.fm import artifact, solvers
from matinee.fm.container import inputs, logs
from matinee.fm.container.algorithms import ALGORITHMS, Algorithm
from matinee.fm.container.inputs import MODEL_CHANNEL
from matinee.fm.data import SparseRows
from matinee.fm.errors import FactorizationMachineError, HyperparameterError
from matinee.fm.matinee_hyperparameters import MatineeHyperparameters
from matinee.fm.training import evaluate

LOGGER = logging.getLogger(__name__)

CACHE_VARIABLE = "MATINEE_DATA_CACHE"
# SageMaker shows no more of the failure file.
_FAILURE_SIZE = 1024
_STOPPED = 128 + signal.SIGTERM


class SeedError(ValueError):
    """MATINEE_SEED isn't a natural number."""


def main(base: Path, environment: Mapping[str, str], algorithm: str) -> int:
    """Run a training job.

    Parameters
    ----------
    base : Path
        Folder with `input`, `model` and `output`, as SageMaker lays it out below /opt/ml.
    environment : mapping
        MATINEE_SEED makes the run repeatable: the same seed and data give the same model bytes.
        MATINEE_DATA_CACHE is a folder where jobs share decoded records.
    algorithm : str
        One of `ALGORITHMS`.

    Returns
    -------
    int
        The exit status: 0, or 1 after a failure, whose reason is in output/failure.
    """
    # The first process of a container would ignore SIGTERM if it had no handler.
    signal.signal(signal.SIGTERM, _stop)
    logs.configure()
    try:
        _run(base, environment, ALGORITHMS[algorithm])
    except (inputs.InputError, FactorizationMachineError, SeedError) as error:
        return _fail(base, f"ClientError: {error} (caused by {_cause(error)})")
    except Exception as error:
        LOGGER.exception("training ended with an error")
        return _fail(base, f"AlgorithmError: {error} (caused by {_cause(error)})")
    return 0


def _run(base: Path, environment: Mapping[str, str], algorithm: Algorithm) -> None:
    started = time.time()
    hyperparameters = _read_hyperparameters(base, algorithm)
    host = inputs.read_host(base)
    names = inputs.read_channel_names(base, algorithm.channels)
    if hyperparameters.settings.patience is not None and "validation" not in names:
        raise HyperparameterError("'patience' needs the channel 'validation' to stop by")
    seed = _seed(environment) if hyperparameters.seed is None else hyperparameters.seed
    LOGGER.info("Random seed: %d", seed)
    LOGGER.info("Checkpoint loading and saving are disabled.")
    # All channels are read before training: a bad test file shouldn't cost hours.
    initial = inputs.read_model(base) if MODEL_CHANNEL in names else None
    cache = Path(environment[CACHE_VARIABLE]) if environment.get(CACHE_VARIABLE) else None
    channels = {
        name: inputs.read_channel(base, name, hyperparameters, cache)
        for name in names
        if name != MODEL_CHANNEL
    }
    train, validation = channels["train"], channels.get("validation")
    LOGGER.info(
        "[Sparse network] Building a sparse network."
        if isinstance(train.features, SparseRows)
        else "[Fully symbolic network] Building a fully symbolic network."
    )
    log = logs.TrainingLog(
        host=host,
        algorithm=algorithm.name,
        hyperparameters=hyperparameters,
        records=len(train.labels),
        clock=time.time,
        started=started,
    )
    log.on_initialized()
    posterior = solvers.train(
        hyperparameters,
        train.features,
        train.labels,
        numpy.random.default_rng(seed),
        observer=log,
        validation=None if validation is None else (validation.features, validation.labels),
        initial=initial,
    )
    path = base / "model" / f"model_{host}"
    path.parent.mkdir(parents=True, exist_ok=True)
    artifact.write(posterior.model, path, posterior.samples)
    LOGGER.info("Saved the model to %s", path)
    log.on_finalized()
    for name in ("validation", "test"):
        if name in channels:
            records = channels[name]
            metrics = evaluate(posterior.model, records.features, records.labels)
            log.on_channel(name, metrics, len(records.labels))
    if "test" not in channels:
        LOGGER.info("Test data is not provided.")
    log.on_end()


def _read_hyperparameters(base: Path, algorithm: Algorithm) -> MatineeHyperparameters:
    given = inputs.read_hyperparameters(base)
    defaults = dict(algorithm.defaults(given))
    merged = {**defaults, **given}
    LOGGER.info("Reading default configuration from %s: %s", algorithm.source, defaults)
    LOGGER.info(
        "Merging with provided configuration from %s: %s",
        base / inputs.HYPERPARAMETERS,
        given,
    )
    LOGGER.info("Final configuration: %s", merged)
    return algorithm.parse(merged)


def _seed(environment: Mapping[str, str]) -> int:
    given = environment.get("MATINEE_SEED")
    if given is None:
        return secrets.randbits(63)
    if not re.fullmatch(r"[0-9]{1,39}", given, re.ASCII):
        raise SeedError(f"MATINEE_SEED must be a natural number of at most 39 digits: {given!r}")
    return int(given)


def _fail(base: Path, reason: str) -> int:
    LOGGER.error("%s", reason)
    path = base / "output/failure"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(reason[:_FAILURE_SIZE])
    return 1


def _cause(error: Exception) -> str:
    # The name that SageMaker's own containers give to it, and that people search for.
    return "ValidationError" if isinstance(error, HyperparameterError) else type(error).__name__


def _stop(signal_number: int, frame: object) -> NoReturn:
    del signal_number, frame
    sys.exit(_STOPPED)
