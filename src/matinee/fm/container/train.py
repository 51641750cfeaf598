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
import scipy.sparse

from matinee.fm import artifact
from matinee.fm.container import inputs, logs
from matinee.fm.errors import FactorizationMachineError, HyperparameterError
from matinee.fm.hyperparameters import DEFAULT_CONFIGURATION, Hyperparameters
from matinee.fm.training import evaluate
from matinee.fm.training import train as train_model

LOGGER = logging.getLogger(__name__)

# SageMaker shows no more of the failure file.
_FAILURE_SIZE = 1024
_STOPPED = 128 + signal.SIGTERM


class SeedError(ValueError):
    """MATINEE_SEED isn't a natural number."""


def main(base: Path, environment: Mapping[str, str]) -> int:
    """Run a training job.

    Parameters
    ----------
    base : Path
        Folder with `input`, `model` and `output`, as SageMaker lays it out below /opt/ml.
    environment : mapping
        MATINEE_SEED makes the run repeatable: the same seed and data give the same model bytes.

    Returns
    -------
    int
        The exit status: 0, or 1 after a failure, whose reason is in output/failure.
    """
    # The first process of a container would ignore SIGTERM if it had no handler.
    signal.signal(signal.SIGTERM, _stop)
    logs.configure()
    try:
        _run(base, environment)
    except (inputs.InputError, FactorizationMachineError, SeedError) as error:
        return _fail(base, f"ClientError: {error} (caused by {_cause(error)})")
    except Exception as error:
        LOGGER.exception("training ended with an error")
        return _fail(base, f"AlgorithmError: {error} (caused by {_cause(error)})")
    return 0


def _run(base: Path, environment: Mapping[str, str]) -> None:
    started = time.time()
    given = inputs.read_hyperparameters(base)
    merged = {**DEFAULT_CONFIGURATION, **given}
    LOGGER.info(
        "Reading default configuration from %s: %s",
        Hyperparameters.__module__,
        dict(DEFAULT_CONFIGURATION),
    )
    LOGGER.info(
        "Merging with provided configuration from %s: %s",
        base / inputs.HYPERPARAMETERS,
        given,
    )
    LOGGER.info("Final configuration: %s", merged)
    hyperparameters = Hyperparameters.parse(merged)
    host = inputs.read_host(base)
    names = inputs.read_channel_names(base)
    seed = _seed(environment)
    LOGGER.info("Random seed: %d", seed)
    LOGGER.info("Checkpoint loading and saving are disabled.")
    # All channels are read before training: a bad test file shouldn't cost hours.
    channels = {name: inputs.read_channel(base, name, hyperparameters) for name in names}
    train, test = channels["train"], channels.get("test")
    sparse = scipy.sparse.issparse(train.features)
    LOGGER.info(
        "[Sparse network] Building a sparse network."
        if sparse
        else "[Fully symbolic network] Building a fully symbolic network."
    )
    log = logs.TrainingLog(host, hyperparameters, len(train.labels), time.time, started)
    log.on_initialized()
    rng = numpy.random.default_rng(seed)
    model = train_model(hyperparameters, train.features, train.labels, rng, log)
    path = base / "model" / f"model_{host}"
    path.parent.mkdir(parents=True, exist_ok=True)
    artifact.write(model, path)
    LOGGER.info("Saved the model to %s", path)
    log.on_finalized()
    if test is None:
        LOGGER.info("Test data is not provided.")
    else:
        log.on_test(evaluate(model, test.features, test.labels), len(test.labels))
    log.on_end()


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
