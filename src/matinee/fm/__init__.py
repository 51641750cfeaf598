"""Factorization Machines, as SageMaker trains them and better: training, models and artifacts.

A library by itself: it knows neither AWS nor HTTP. ``FactorizationMachine`` trains as SageMaker
does, ``MatineeFM`` better; both have scikit-learn's habits. ``matinee.fm.solvers``,
``.hyperparameters`` and ``.artifact`` are what they are made of.
"""

from matinee.fm.errors import (
    ArtifactError,
    DataError,
    DivergedError,
    FactorizationMachineError,
    HyperparameterError,
)
from matinee.fm.estimator import FactorizationMachine
from matinee.fm.matinee_fm import MatineeFM

__all__ = [
    "ArtifactError",
    "DataError",
    "DivergedError",
    "FactorizationMachine",
    "FactorizationMachineError",
    "HyperparameterError",
    "MatineeFM",
]
