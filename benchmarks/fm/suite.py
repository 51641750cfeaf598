"""What is measured: systems in rows, numbers of factors in columns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.fm.workers.task import Task
from matinee.fm.mcmc import McmcSettings
from matinee.fm.sgd import SgdSettings


@dataclass(frozen=True, slots=True)
class Row:
    """One system, trained in one way.

    Attributes
    ----------
    label
        What the tables call it.
    worker
        The module of ``benchmarks.fm.workers`` that runs it.
    method, threads, options
        As in ``Task``.
    epochs
        Number of factors -> epochs of a run.
    against
        Labels of the rows that this one is divided by.
    """

    label: str
    worker: str
    method: str
    epochs: Mapping[int, int]
    threads: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    against: tuple[str, ...] = ()

    def task(self, data: str, num_factors: int, *, seed: int = 0) -> Task:
        return Task(
            data=data,
            method=self.method,
            num_factors=num_factors,
            epochs=self.epochs[num_factors],
            threads=self.threads,
            seed=seed,
            options=dict(self.options),
        )


_TORCH = "PyTorch, SparseAdam, batches of 1000"
_XLEARN, _MYFM = "xLearn, SGD", "myFM, a sweep"
_MEMORY_ADAM, _MEMORY_SGD = "memory ceiling of `adam`", "memory ceiling of `sgd`"
# Such as a user would choose; speed does not depend on them.
_SGD = {"num_models": 1, "learning_rate": 0.02, "regularization": 0.05, "init_sigma": 0.02}
_MANY = {"num_models": 48, "learning_rate": 0.04, "regularization": 0.01, "init_sigma": 0.3}
_XLEARN_SGD = {"lr": 0.02, "lambda": 0.02, "init": 0.05}

SPEED = (
    Row(
        "`adam`, batches of 1000",
        "matinee",
        "adam",
        {8: 10, 64: 10, 512: 3},
        options={"mini_batch_size": 1000},
        against=(_TORCH, _MEMORY_ADAM),
    ),
    Row(
        "`adam`, batches of 200",
        "matinee",
        "adam",
        {8: 10, 64: 10, 512: 3},
        options={"mini_batch_size": 200},
    ),
    Row(_TORCH, "torch", "adam", {8: 1, 64: 1}, options={"learning_rate": 0.002, "batch": 1000}),
    Row(_MEMORY_ADAM, "ceiling", "adam", {8: 5, 64: 3, 512: 1}, options={"batch": 1000}),
    Row(
        "`sgd`",
        "matinee",
        "sgd",
        {8: 12, 64: 12, 512: 4},
        options=_SGD,
        against=(_XLEARN, _MEMORY_SGD),
    ),
    Row(
        "`sgd`, 2 threads",
        "matinee",
        "sgd",
        {8: 12, 64: 12, 512: 4},
        threads=2,
        options=_SGD,
        against=("`sgd`",),
    ),
    Row(_XLEARN, "xlearn", "sgd", {8: 4, 64: 4, 512: 2}, options=_XLEARN_SGD),
    Row("xLearn, SGD, 2 threads", "xlearn", "sgd", {8: 4, 64: 4}, threads=2, options=_XLEARN_SGD),
    Row(_MEMORY_SGD, "ceiling", "sgd", {8: 9, 64: 5, 512: 2}),
    Row(
        "`mcmc`, a sweep",
        "matinee",
        "mcmc",
        {8: 8, 64: 4},
        options={"burn_in": 2},
        against=(_MYFM,),
    ),
    Row(
        "`mcmc`, 2 threads",
        "matinee",
        "mcmc",
        {8: 8, 64: 4},
        threads=2,
        options={"burn_in": 2},
    ),
    Row(_MYFM, "myfm", "mcmc", {8: 4, 64: 2}, options={"kept": 2}),
)
"""On the reference shape; ``epochs`` are few, but enough for a median."""

_MCMC_DEFAULT, _SGD_DEFAULT = McmcSettings(), SgdSettings()
_SWEEPS, _BURN_IN = _MCMC_DEFAULT.epochs, _MCMC_DEFAULT.burn_in

ACCURACY = (
    Row("`mcmc`, by default", "matinee", "mcmc", {_MCMC_DEFAULT.num_factors: _SWEEPS}),
    Row("myFM", "myfm", "mcmc", {8: _SWEEPS}, options={"kept": _SWEEPS - _BURN_IN}),
    Row(
        f"`sgd`, by default: {_SGD_DEFAULT.num_models} models averaged",
        "matinee",
        "sgd",
        {_SGD_DEFAULT.num_factors: _SGD_DEFAULT.epochs},
    ),
    Row(
        f"`sgd`, {_MANY['num_models']} models that fit their noise, averaged",
        "matinee",
        "sgd",
        {14: 8},
        options=_MANY,
    ),
    Row(
        "`adam`, one model",
        "matinee",
        "adam",
        {64: 16},
        options={
            "mini_batch_size": 1000,
            "linear_lr": 0.003,
            "factors_lr": 0.003,
            "bias_init_method": "constant",
            "bias_init_value": 3.5,
            "factors_init_sigma": 0.02,
            "linear_wd": 2e-4,
            "factors_wd": 2e-4,
        },
    ),
    Row(
        "xLearn, AdaGrad",
        "xlearn",
        "adagrad",
        {64: 35},
        options={"lr": 0.02, "lambda": 0.02, "init": 0.1},
    ),
)
"""On splits of MovieLens-100K; every system with settings that suit it."""
