"""The container's `train`: a job's files in, the model file and the log out.

A mistake of the job's author ends it with `ClientError: ...` in output/failure, anything else with
`AlgorithmError: ...`; both with exit status 1. The model file appears whole or not at all. SIGTERM
ends the process without a model. Of several hosts only the first one writes a model and the metrics
of its records held out; when one host fails, all do.
"""

import logging
import re
import secrets
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import numpy

from matinee.fm import artifact, solvers
from matinee.fm.container import inputs, logs, network
from matinee.fm.container.algorithms import ALGORITHMS, Algorithm
from matinee.fm.container.connections import FailedHostError
from matinee.fm.container.inputs import MODEL_CHANNEL, Channel, ChannelSource
from matinee.fm.data import SparseRows
from matinee.fm.errors import FactorizationMachineError, HyperparameterError
from matinee.fm.hosts import Hosts, gather
from matinee.fm.matinee_hyperparameters import MatineeHyperparameters
from matinee.fm.model import Model
from matinee.fm.training import evaluate

LOGGER = logging.getLogger(__name__)

CACHE_VARIABLE = "MATINEE_DATA_CACHE"
# SageMaker shows no more of the failure file.
_FAILURE_SIZE = 1024
_STOPPED = 128 + signal.SIGTERM
_CLIENT, _ALGORITHM = "ClientError: ", "AlgorithmError: "


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
        MATINEE_DATA_CACHE is a folder where jobs share decoded records. MATINEE_HOSTS and
        MATINEE_JOB_SECRET: see `matinee.fm.container.network`.
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
    except Exception as error:
        reason = _reason(error)
        if not reason.startswith(_CLIENT):
            LOGGER.exception("training ended with an error")
        return _fail(base, reason)
    return 0


def _run(base: Path, environment: Mapping[str, str], algorithm: Algorithm) -> None:
    started = time.time()
    hyperparameters = _read_hyperparameters(base, algorithm)
    host, names = inputs.read_hosts(base)
    sources = inputs.read_sources(base, algorithm.channels)
    if hyperparameters.settings.patience is not None and not any(
        source.name == "validation" for source in sources
    ):
        raise HyperparameterError("'patience' needs the channel 'validation' to stop by")
    seed = _seed(environment) if hyperparameters.seed is None else hyperparameters.seed
    with ExitStack() as stack:
        hosts: Hosts | None = None
        if len(names) > 1:
            solvers.check_hosts(hyperparameters, len(names))
            hosts = stack.enter_context(network.join(host, names, environment, _reason))
            seed = gather(hosts, seed)[0]
        LOGGER.info("Random seed: %d", seed)
        LOGGER.info("Checkpoint loading and saving are disabled.")
        # All channels are read before training: a bad test file shouldn't cost hours.
        cache = Path(environment[CACHE_VARIABLE]) if environment.get(CACHE_VARIABLE) else None
        initial, channels, counts = _read(base, sources, hyperparameters, cache, hosts)
        train = channels["train"]
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
        validation = channels.get("validation")
        posterior = solvers.train(
            hyperparameters,
            train.features,
            train.labels,
            numpy.random.default_rng(seed),
            observer=log,
            validation=None if validation is None else (validation.features, validation.labels),
            initial=initial,
            hosts=hosts,
        )
        first = host == names[0]
        if first:
            path = base / "model" / f"model_{host}"
            path.parent.mkdir(parents=True, exist_ok=True)
            artifact.write(posterior.model, path, posterior.samples)
            LOGGER.info("Saved the model to %s", path)
        log.on_finalized()
        for name in ("validation", "test"):
            if name in channels:
                records = channels[name]
                metrics = evaluate(posterior.model, records.features, records.labels, hosts)
                if first:
                    log.on_channel(name, metrics, counts[name])
        if first and "test" not in channels:
            LOGGER.info("Test data is not provided.")
        log.on_end()


def _read(
    base: Path,
    sources: Sequence[ChannelSource],
    hyperparameters: MatineeHyperparameters,
    cache: Path | None,
    hosts: Hosts | None,
) -> tuple[Model | None, dict[str, Channel], dict[str, int]]:
    """Return the model to start from, this host's records, and how many all hosts have."""
    initial = None
    channels = {}
    for source in sources:
        if source.name == MODEL_CHANNEL:
            initial = inputs.read_model(base)
        elif hosts is not None and hosts.rank > 0 and _only_first_measures(source):
            channels[source.name] = Channel.empty(hyperparameters.feature_dim)
        else:
            channels[source.name] = inputs.read_channel(
                base, source, hyperparameters, cache, may_be_empty=hosts is not None
            )
    counts = {name: len(records.labels) for name, records in channels.items()}
    if hosts is not None:
        told = gather(hosts, counts)
        counts = {name: sum(host[name] for host in told) for name in counts}
        for name, count in counts.items():
            if not count:
                raise inputs.InputError(f"channel {name!r} has no records on any host")
    return initial, channels, counts


def _only_first_measures(source: ChannelSource) -> bool:
    """Whether one host measures a channel's records for all, because all have the same."""
    return source.name != "train" and not source.is_sharded


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


def _reason(error: Exception) -> str:
    """Put an error into the words of a failure file."""
    if isinstance(error, FailedHostError):
        kind, _, reason = error.reason.partition(": ")
        if f"{kind}: " in (_CLIENT, _ALGORITHM):
            return f"{kind}: host {error.host!r} has failed: {reason}"
    mistakes = (inputs.InputError, FactorizationMachineError, SeedError)
    kind = _CLIENT if isinstance(error, mistakes) else _ALGORITHM
    return f"{kind}{error} (caused by {_cause(error)})"


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
