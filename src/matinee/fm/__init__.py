"""Factorization Machines as SageMaker trains them: hyperparameters, training, model and artifact.

A library by itself: it knows neither AWS nor HTTP. ``FactorizationMachine`` has scikit-learn's
habits; ``matinee.fm.training``, ``.hyperparameters`` and ``.artifact`` are what it is made of.
"""

from matinee.fm.errors import (
    ArtifactError,
    DataError,
    DivergedError,
    FactorizationMachineError,
    HyperparameterError,
)
from matinee.fm.estimator import FactorizationMachine

__all__ = [
    "ArtifactError",
    "DataError",
    "DivergedError",
    "FactorizationMachine",
    "FactorizationMachineError",
    "HyperparameterError",
]
