"""One way to train with any solver: hyperparameters and records in, a posterior out.

A solver without a posterior answers with its model and no samples. Training may start from a model
that was trained before, by whatever solver: its factors are compressed or filled up to the number
that the solver trains. A model of other features or another predictor type is refused.
"""

import os

import numpy as np
from numpy.typing import ArrayLike

from matinee.fm.adam import AdamSettings, train_adam
from matinee.fm.averaging import compress
from matinee.fm.data import Features, check_features
from matinee.fm.errors import DataError, HyperparameterError
from matinee.fm.hosts import Hosts
from matinee.fm.matinee_hyperparameters import MatineeHyperparameters, Settings
from matinee.fm.mcmc import McmcSettings, train_mcmc
from matinee.fm.model import Model
from matinee.fm.posterior import Posterior
from matinee.fm.sgd import train_sgd
from matinee.fm.training import Observer

# Of factors that a model to start from lacks: small beside trained ones.
_MISSING_SIGMA = np.float32(0.01)


def train(
    hyperparameters: MatineeHyperparameters,
    features: Features,
    labels: ArrayLike | None,
    rng: np.random.Generator,
    *,
    observer: Observer | None = None,
    validation: tuple[Features, ArrayLike] | None = None,
    initial: Model | None = None,
    hosts: Hosts | None = None,
) -> Posterior:
    """Train with the solver that the hyperparameters choose.

    Parameters
    ----------
    hyperparameters
        Checked hyperparameters.
    features
        CSR matrix (n, at most feature_dim) or dense array (n, feature_dim).
    labels
        (n,), 0 or 1 for a binary_classifier.
    rng
        All randomness.
    observer
        Told of epochs.
    validation
        Features and labels by which to keep the best epoch and to stop early.
    initial
        Where to start instead of at random.
    hosts
        Of the job, if there are several, each of which calls this with records of its own and
        otherwise the same arguments; only the solver ``adam`` trains so.

    Raises
    ------
    HyperparameterError, DataError, DivergedError
        See ``matinee.fm.errors``.
    HostsError
        If a host is lost or has failed.
    """
    settings, threads = hyperparameters.settings, hyperparameters.threads
    check_hosts(hyperparameters, 1 if hosts is None else hosts.count)
    width = hyperparameters.feature_dim
    rows = check_features(features, width)
    if initial is not None:
        initial = _with_factors(initial, width, settings, rng)
    if isinstance(settings, AdamSettings):
        model = train_adam(
            settings,
            rows,
            labels,
            rng,
            observer=observer,
            validation=validation,
            initial=initial,
            hosts=hosts,
        )
        return Posterior(model, ())
    if isinstance(settings, McmcSettings):
        return train_mcmc(
            settings,
            rows,
            labels,
            rng,
            # Its results are the same for any number, so all cores may help.
            threads=len(os.sched_getaffinity(0)) if threads is None else threads,
            observer=observer,
            validation=validation,
            initial=initial,
        )
    model = train_sgd(
        settings,
        rows,
        labels,
        rng,
        # Its results depend on the number, and should not on the machine.
        threads=1 if threads is None else threads,
        observer=observer,
        validation=validation,
        initial=initial,
    )
    return Posterior(model, ())


def check_hosts(hyperparameters: MatineeHyperparameters, count: int) -> None:
    """Check that so many hosts can train together.

    Raises
    ------
    HyperparameterError
        If there are several and the solver trains on one only.
    """
    if count > 1 and not isinstance(hyperparameters.settings, AdamSettings):
        raise HyperparameterError(
            f"only the solver 'adam' trains on several hosts: InstanceCount must be 1, not {count}"
        )


def _with_factors(
    model: Model, feature_dim: int, settings: Settings, rng: np.random.Generator
) -> Model:
    if (model.feature_dim, model.predictor_type) != (feature_dim, settings.predictor_type):
        raise DataError(
            f"the model to start from is a {model.predictor_type} of {model.feature_dim} features, "
            f"not a {settings.predictor_type} of {feature_dim}"
        )
    missing = settings.num_factors - model.num_factors
    if missing <= 0:
        return compress(model, settings.num_factors)
    # Factors of all zeros would never move: their gradients are zero too.
    more = rng.standard_normal((feature_dim, missing), dtype=np.float32) * _MISSING_SIGMA
    factors = np.concatenate([model.factors, more], axis=1)
    return Model(model.bias, model.linear, factors, model.predictor_type)
